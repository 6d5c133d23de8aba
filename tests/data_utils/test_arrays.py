import pickle
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from data_utils.arrays import open_arrays
from data_utils.cache import prepare
from data_utils.config import DataConfig
from data_utils.errors import DataError
from data_utils.sources.opening import open_source


def test_stored_pixels_and_masks_are_those_of_the_source(config: DataConfig) -> None:
    source = open_source(config, "wbc")
    arrays = prepare(config, "wbc")
    row_of = {path: i for i, path in enumerate(arrays.paths.tolist())}
    assert len(arrays) == len(source.items) == 60
    for i, item in enumerate(source.items):
        row = row_of[item.path]
        assert np.array_equal(arrays.image(row), source.read(i))
        assert arrays.labels[row] == item.label
        stored, mask = arrays.mask(row), source.read_mask(i)
        assert arrays.has_mask(row) == source.has_mask(i)
        assert (stored is None) == (mask is None)
        if stored is not None and mask is not None:
            assert np.array_equal(stored, mask)


def test_batch_of_one_size(config: DataConfig) -> None:
    arrays = prepare(config, "wbc")
    images, sizes = arrays.batch([5, 0, 5])
    assert images.shape == (3, 20, 24, 3)
    assert sizes.tolist() == [[20, 24]] * 3
    for row, i in enumerate([5, 0, 5]):
        assert np.array_equal(images[row], arrays.image(i))


def test_batch_of_several_sizes_is_padded_with_zeros(
    config: DataConfig, root: Path, write: Callable[..., Path]
) -> None:
    write(root / "wbc" / "train" / "data" / "Basophil" / "tall.png", 77, (40, 10))
    arrays = prepare(config, "wbc")
    tall = next(i for i, path in enumerate(arrays.paths.tolist()) if "tall" in path)
    images, sizes = arrays.batch(np.array([tall, 0]))
    assert images.shape == (2, 40, 24, 3)
    assert sizes.tolist() == [[40, 10], [20, 24]]
    assert np.array_equal(images[0, :, :10], arrays.image(tall))
    assert not images[0, :, 10:].any()
    assert np.array_equal(images[1, :20], arrays.image(0))
    assert not images[1, 20:].any()


def test_images_cannot_be_written(config: DataConfig) -> None:
    arrays = prepare(config, "wbc")
    with pytest.raises(ValueError, match="read-only"):
        arrays.image(0)[0, 0, 0] = 1


def test_an_empty_batch(config: DataConfig) -> None:
    images, sizes = prepare(config, "wbc").batch([])
    assert len(images) == 0
    assert sizes.shape == (0, 2)


def test_pickling_passes_the_folder_not_the_pixels(config: DataConfig) -> None:
    arrays = prepare(config, "wbc")
    data = pickle.dumps(arrays)
    assert len(data) < 1000
    assert np.array_equal(pickle.loads(data).image(3), arrays.image(3))


@pytest.mark.parametrize("name", ["pixels.bin", "masks.bin", "index.npz", "cache.json"])
def test_a_damaged_cache_is_not_opened_and_is_built_anew(config: DataConfig, name: str) -> None:
    arrays = prepare(config, "wbc")
    file = arrays.folder / name
    file.write_bytes(file.read_bytes()[:-1])
    with pytest.raises(DataError, match="Remove it"):
        open_arrays(arrays.folder)
    again = prepare(config, "wbc")
    assert again.folder == arrays.folder
    assert again.fingerprint == arrays.fingerprint
    assert not list(arrays.folder.parent.glob(".*"))


def test_a_folder_that_is_no_cache(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="not a complete image cache"):
        open_arrays(tmp_path)
