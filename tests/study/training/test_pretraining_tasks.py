"""What pretraining learns, and what it shows of it."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from PIL import Image

from study.storage.local_images import open_images
from study.training.batches import ImageBatches
from study.training.pretraining_tasks import RECONSTRUCTIONS, TASKS, PretrainingTask

CPU = torch.device("cpu")


@pytest.fixture
def open_task(configure):
    """Makes the task of an encoder on the tiny study's images, with its batches."""

    def make(encoder: str) -> tuple[PretrainingTask, ImageBatches]:
        config = configure(data={"validation_size": "crop"})
        batches = ImageBatches(open_images(config.data, encoder), config.data, CPU)
        return TASKS[encoder](config, encoder, batches, CPU), batches

    return make


def test_tiles_stand_above_what_the_autoencoder_makes_of_them(open_task, tmp_path):
    task, batches = open_task("prcc")
    (picture,) = task.leave_pictures(tmp_path)
    assert picture == tmp_path / RECONSTRUCTIONS
    pixels = np.asarray(Image.open(picture))
    # Four validation tiles of 16 px, enlarged to 96 px.
    assert pixels.shape == (2 * 96, 4 * 96, 3)
    (_, images), *_ = batches.whole(batches.arrays.indices("val"))
    with torch.no_grad():
        rebuilt = task.network(images)
    for row, shown in enumerate((images, rebuilt)):
        expected = (shown.permute(2, 0, 3, 1).reshape(16, 4 * 16, 3) * 255).round().byte().numpy()
        assert np.array_equal(pixels[row * 96 : (row + 1) * 96 : 6, ::6], expected)


def test_an_autoencoder_has_a_squared_error_and_no_answers(open_task):
    task, batches = open_task("prcc")
    rows = batches.arrays.indices("train")[:3]
    images = batches.crops(rows, torch.Generator().manual_seed(0))
    score = task.score(images, rows)
    assert score.correct is None
    torch.testing.assert_close(score.loss, (task.network(images) - images).square().mean())


def test_a_classifier_sees_normalised_patches_and_counts_correct_answers(open_task, tmp_path):
    task, batches = open_task("cam16")
    rows = batches.arrays.indices("val")
    (chunk, images), *_ = batches.whole(rows)
    task.network.eval()
    score = task.score(images, rows[chunk])
    logits = task.network(2 * images - 1)
    labels = torch.from_numpy(batches.arrays.labels[rows[chunk]])
    torch.testing.assert_close(score.loss, torch.nn.functional.cross_entropy(logits, labels))
    assert int(score.correct) == int((logits.argmax(dim=1) == labels).sum())
    assert task.leave_pictures(tmp_path) == [] and not list(tmp_path.iterdir())
