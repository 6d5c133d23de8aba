"""Batches hold the right images at the right size."""

import numpy as np
import pytest
import torch
from PIL import Image

from data_utils.cache import prepare
from data_utils.config import DataConfig
from models.initialisation import stream
from study.training.batches import ImageBatches

CLASSES = ("Basophil", "Eosinophil", "Lymphocyte", "Monocyte", "Neutrophil")


@pytest.fixture
def open_batches(tmp_path):
    """Images of three sizes, every class in both splits."""
    rng = np.random.default_rng(0)
    for split, count in (("train", 3), ("val", 3), ("test", 1)):
        for name in CLASSES:
            for i in range(count):
                path = tmp_path / "data" / "wbc" / split / "data" / name / f"{i}.png"
                path.parent.mkdir(parents=True, exist_ok=True)
                size = ((20, 24), (24, 24), (30, 18))[i]
                Image.fromarray(rng.integers(0, 256, (*size, 3), dtype=np.uint8)).save(path)

    def make(**settings):
        config = DataConfig(
            source="folder", root=tmp_path / "data", cache_dir=tmp_path / "cache", image_size=16, **settings
        )
        return ImageBatches(prepare(config, "wbc"), config, torch.device("cpu"))

    return make


def test_original_size_leaves_pixels_as_they_are(open_batches):
    batches = open_batches(validation_size="original")
    rows = batches.arrays.indices("val")
    seen = set()
    for chunk, images in batches.whole(rows):
        for position, image in zip(chunk, images, strict=True):
            pixels = batches.arrays.image(rows[position])
            assert torch.allclose(image, torch.from_numpy(pixels.copy()).permute(2, 0, 1) / 255, atol=1e-6)
            seen.add(int(position))
    assert seen == set(range(len(rows)))


@pytest.mark.parametrize(("setting", "side"), [("crop", 16), (12, 12)])
def test_fixed_size_takes_whole_images(open_batches, setting, side):
    batches = open_batches(validation_size=setting)
    shapes = [images.shape for _, images in batches.whole(batches.arrays.indices("val"))]
    assert shapes == [(15, 3, side, side)]


def test_second_pass_gives_the_same_numbers(open_batches):
    batches = open_batches(validation_size="original")
    rows = batches.arrays.indices("val")
    for (_, first), (_, second) in zip(batches.whole(rows), batches.whole(rows), strict=True):
        assert torch.equal(first, second)


def test_large_splits_are_not_kept_in_memory_and_come_out_the_same(open_batches, monkeypatch):
    batches = open_batches()
    rows = batches.arrays.indices("val")
    kept = [images for _, images in batches.whole(rows)]
    monkeypatch.setattr("study.training.batches._KEEP_BYTES", 0)
    fresh = open_batches()
    assert all(torch.equal(a, b) for a, (_, b) in zip(kept, fresh.whole(rows), strict=True))
    assert fresh._kept == {}


def test_masks_are_cropped_and_flipped_with_their_images(open_batches, tmp_path):
    # The image is drawn in the colours of its mask: one crop must show the other.
    colours = {0: (255, 0, 0), 128: (0, 255, 0), 255: (0, 0, 255)}
    for name in CLASSES:
        for i, size in enumerate(((40, 48), (48, 48), (60, 36))):
            mask = np.random.default_rng(i).choice(np.array([0, 128, 255], dtype=np.uint8), (5, 4))
            mask = np.asarray(Image.fromarray(mask).resize(size[::-1], Image.Resampling.NEAREST))
            painted = np.zeros((*size, 3), dtype=np.uint8)
            for value, colour in colours.items():
                painted[mask == value] = colour
            # Every image differs in one corner pixel: identical ones would count as duplicates.
            painted[0, 0, 0] = 40 * CLASSES.index(name) + i
            for part, pixels in (("data", painted), ("mask", mask)):
                path = tmp_path / "data" / "wbc" / "train" / part / name / f"{i}.png"
                path.parent.mkdir(parents=True, exist_ok=True)
                if part == "data" or i > 0:
                    Image.fromarray(pixels).save(path)
    batches = open_batches(leaks="drop")
    rows = batches.arrays.indices("train")
    crops, masked, shares = batches.crops_and_masks(rows, stream(0, "crops", 1), 4)
    assert torch.equal(crops, batches.crops(rows, stream(0, "crops", 1)))
    assert masked.tolist() == np.flatnonzero(batches.arrays.masked[rows]).tolist()
    assert len(masked) == 10
    assert shares.shape == (10, 3, 4, 4)
    assert torch.allclose(shares.sum(dim=1), torch.ones(10, 4, 4), atol=1e-5)
    whole = batches.crops_and_masks(rows, stream(0, "crops", 1), 1)[2]
    # Red, green and blue are background, cytoplasm and nucleus, but for the one corner pixel.
    difference = (whole - crops[masked]).abs().amax(dim=1).flatten(1)
    assert (difference > 1e-4).float().mean() < 0.05


def test_a_batch_without_masks_has_none(open_batches):
    batches = open_batches()
    rows = batches.arrays.indices("train")
    crops, masked, shares = batches.crops_and_masks(rows, stream(0, "crops", 1), 4)
    assert torch.equal(crops, batches.crops(rows, stream(0, "crops", 1)))
    assert (len(masked), shares.shape) == (0, (0, 3, 4, 4))


@pytest.mark.parametrize("settings", [{}, {"stored_size": 18}, {"validation_size": "original"}])
def test_images_that_lie_on_the_device_give_the_same_batches(open_batches, settings):
    mapped = open_batches(**settings)
    resident = ImageBatches(mapped.arrays, mapped._config, torch.device("cpu"), memory_budget=10**9)
    rows = mapped.arrays.indices("train")[::-1].copy()
    # Frames of several sizes are padded to the largest of all, not of the batch: sums are added in another order.
    crops = [batches.crops(rows, stream(0, "crops", 1)) for batches in (mapped, resident)]
    torch.testing.assert_close(*crops, rtol=0, atol=1e-6)
    rows = mapped.arrays.indices("val")
    for (chunk, images), (other, same) in zip(mapped.whole(rows), resident.whole(rows), strict=True):
        assert chunk.tolist() == other.tolist()
        torch.testing.assert_close(images, same, rtol=0, atol=1e-6)
    assert resident._resident is not None and mapped._resident is None


def test_images_that_do_not_fit_on_the_device_are_copied_batch_by_batch(open_batches):
    mapped = open_batches()
    cramped = ImageBatches(mapped.arrays, mapped._config, torch.device("cpu"), memory_budget=1000)
    rows = mapped.arrays.indices("train")
    assert torch.equal(*(batches.crops(rows, stream(0, "crops", 1)) for batches in (mapped, cramped)))
    assert cramped._resident is None


def test_crops_follow_the_generator_alone(open_batches):
    batches = open_batches()
    rows = batches.arrays.indices("train")
    first, again = (batches.crops(rows, stream(0, "crops", 1)) for _ in range(2))
    assert first.shape == (15, 3, 16, 16)
    assert torch.equal(first, again)
    assert not torch.equal(first, batches.crops(rows, stream(0, "crops", 2)))
    assert first.min() >= 0
    assert first.max() <= 1
