"""Masks change the loss and nothing else of what is drawn."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from data_utils.arrays import ImageArrays
from data_utils.config import DataConfig
from models.classifier import ResidualClassifier
from models.initialisation import stream
from models.segmentation import SegmentationTask
from study.training.batches import ImageBatches
from study.training.masks import MaskLearning

CPU = torch.device("cpu")
ROWS = np.arange(12)


@pytest.fixture
def batches(small_arrays: ImageArrays, small_data: DataConfig) -> ImageBatches:
    return ImageBatches(small_arrays, small_data.model_copy(update={"image_size": 16}), CPU)


def draws() -> torch.Generator:
    return stream(0, "crops")


def test_without_a_head_crops_and_loss_are_those_of_the_labels_alone(batches: ImageBatches) -> None:
    plain = MaskLearning(batches, None, 1.0)
    images, masks = plain.crops(ROWS, draws())
    assert masks is None and torch.equal(images, batches.crops(ROWS, draws()))
    loss = torch.tensor(2.0)
    assert plain.add_loss(loss, masks) is loss
    assert plain.parameters() == [] and plain.state() == {}
    plain.load({})


def test_a_head_adds_its_weighted_loss_to_the_same_crops(batches: ImageBatches) -> None:
    classifier = ResidualClassifier(5, 8)
    task = SegmentationTask(classifier)
    learning = MaskLearning(batches, task, 0.25)
    images, masks = learning.crops(ROWS, draws())
    assert torch.equal(images, batches.crops(ROWS, draws()))
    assert masks is not None and masks.positions.tolist() == np.flatnonzero(batches.arrays.masked[ROWS]).tolist()
    classifier(images)
    found = learning.add_loss(torch.tensor(2.0), masks)
    classifier(images)
    assert torch.equal(found, 2.0 + 0.25 * task.loss(masks.positions, masks.shares))
    assert len(learning.parameters()) == len(list(task.head.parameters()))


def test_the_head_is_part_of_a_checkpoint(batches: ImageBatches) -> None:
    first, second = (SegmentationTask(ResidualClassifier(5, 8), stream(seed, "head")) for seed in (1, 2))
    saved, loaded = MaskLearning(batches, first, 1.0), MaskLearning(batches, second, 1.0)
    loaded.load(saved.state())
    for name, tensor in first.head.state_dict().items():
        assert torch.equal(second.head.state_dict()[name], tensor)
    with pytest.raises(KeyError):
        loaded.load({})
