"""Labelled folders of other data sets."""

from __future__ import annotations

from pathlib import Path

import pytest
from PIL import Image

from data_utils.errors import DataError
from data_utils.sources.labelled_files import find_labelled

CLASSES = ("Basophil", "Monocyte")


def save(path: Path) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", (4, 4)).save(path)
    return path


@pytest.mark.parametrize("home", ["", "data", "test/data"])
def test_layouts_and_spellings_of_class_folders(tmp_path: Path, home: str) -> None:
    files = [save(tmp_path / home / name) for name in ("basophils/2.png", "basophils/deep/1.png", "MONOCYTE/3.png")]
    (tmp_path / home / "notes").mkdir()
    assert sorted(find_labelled(tmp_path, CLASSES)) == sorted(zip(files, [0, 0, 1], strict=True))


def test_all_splits_count_and_masks_do_not(tmp_path: Path) -> None:
    files = [save(tmp_path / split / "data" / "Basophil" / "1.png") for split in ("train", "val")]
    save(tmp_path / "train" / "mask" / "Basophil" / "1.png")
    assert find_labelled(tmp_path, CLASSES) == [(path, 0) for path in files]


def test_a_folder_of_something_else_is_refused_by_name(tmp_path: Path) -> None:
    save(tmp_path / "Basophil" / "1.png")
    save(tmp_path / "Platelet" / "1.png")
    with pytest.raises(DataError, match="Platelet: holds images, but is no class"):
        find_labelled(tmp_path, CLASSES)


def test_nothing_to_evaluate_is_refused_with_the_layout(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="does not exist"):
        find_labelled(tmp_path / "missing", CLASSES)
    (tmp_path / "Basophil").mkdir()
    with pytest.raises(DataError, match=r"no image of any class.*<split>/data/<Class>/"):
        find_labelled(tmp_path, CLASSES)
