"""Identical images: kept on one side, dropped or fatal."""

import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from data_utils.cache import prepare
from data_utils.config import DataConfig
from data_utils.errors import DataError
from tests.data_utils.conftest import counts, with_settings


def test_an_image_in_train_and_val_is_dropped_from_train_and_listed(config: DataConfig, root: Path) -> None:
    data = root / "wbc" / "val" / "data" / "Monocyte" / "0.png"
    shutil.copy(data, root / "wbc" / "train" / "data" / "Monocyte" / "leak.png")
    arrays = prepare(config, "wbc")
    assert arrays.dropped == [("train/data/Monocyte/leak.png", "train", "val/data/Monocyte/0.png")]
    assert "train/data/Monocyte/leak.png" not in arrays.paths
    assert arrays.duplicates == [["train/data/Monocyte/leak.png", "val/data/Monocyte/0.png"]]


def test_leaks_can_be_fatal(config: DataConfig, root: Path) -> None:
    data = root / "wbc" / "val" / "data" / "Monocyte" / "0.png"
    shutil.copy(data, root / "wbc" / "train" / "data" / "Monocyte" / "leak.png")
    with pytest.raises(DataError, match=r"val/data/Monocyte/0\.png and train/data/Monocyte/leak\.png are the same"):
        prepare(with_settings(config, leaks="fatal"), "wbc")


def test_duplicates_in_train_are_kept_on_one_side(config: DataConfig, root: Path) -> None:
    for path in sorted((root / "wbc" / "train" / "data" / "Monocyte").iterdir()):
        shutil.copy(path, path.with_name(f"twin{path.name}"))
    arrays = prepare(with_settings(config, leaks="fatal"), "wbc")
    assert len(arrays.duplicates) == 10
    assert not arrays.dropped
    assert counts(arrays, "test")[3] == 4


def test_background_tiles_in_both_splits_are_dropped_even_when_leaks_are_fatal(config: DataConfig, root: Path) -> None:
    (root / "prcc").mkdir()
    for i in range(5):
        pixels = np.full((20, 40, 3), 255, np.uint8)
        pixels[:, :20] = i
        Image.fromarray(pixels).save(root / "prcc" / f"{i}.png")
    arrays = prepare(with_settings(config, tile_size=20, leaks="fatal"), "prcc")
    assert len(arrays.indices("val")) == 2
    assert len(arrays.indices("train")) == 4
    assert len(arrays.dropped) == 4
