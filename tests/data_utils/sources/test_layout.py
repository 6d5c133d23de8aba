"""Folders are found by split and class, or it is said what is there."""

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from data_utils.errors import DataError
from tests.data_utils.sources.conftest import opened

Write = Callable[..., Path]


@pytest.mark.parametrize("name", ["WBC", "Wbc_100", "WBC_100"])
def test_names_are_matched_without_case_and_simple_plurals(root: Path, name: str) -> None:
    (root / "wbc").rename(root / name)
    (root / name / "train" / "data" / "Neutrophil").rename(root / name / "train" / "data" / "neutrophils")
    (root / name / "train" / "mask" / "Neutrophil").rename(root / name / "train" / "mask" / "NEUTROPHIL")
    source = opened(root)
    assert len(source.items) == 60
    assert sum(source.has_mask(i) for i in range(60)) == 10


def test_a_folder_without_splits_is_all_training(root: Path) -> None:
    for part in ("data", "mask"):
        (root / "wbc" / "train" / part).rename(root / "wbc" / part)
    shutil.rmtree(root / "wbc" / "train")
    shutil.rmtree(root / "wbc" / "val")
    source = opened(root)
    assert {item.split for item in source.items} == {"train"}
    assert source.items[0].path == "data/Basophil/0.png"
    assert source.has_mask(0)


def test_files_that_are_no_images_are_ignored(root: Path) -> None:
    folder = root / "wbc" / "train" / "data" / "Basophil"
    for name in (".DS_Store", "._0.png", "notes.txt"):
        (folder / name).write_text("x")
    assert len(opened(root).items) == 60


@pytest.mark.parametrize(
    ("change", "parts"),
    [
        (shutil.rmtree, ["data.root", "does not exist"]),
        (lambda r: (r / "wbc").rename(r / "cells"), ["no folder named wbc or WBC_100", "cells/"]),
        (
            lambda r: (r / "wbc" / "train").rename(r / "wbc" / "training"),
            ["no train/data", "training/", "Expected layout"],
        ),
        (lambda r: shutil.rmtree(r / "wbc" / "train" / "data" / "Monocyte"), ["no folder for class Monocyte", "train"]),
        (lambda r: shutil.rmtree(r / "wbc" / "val" / "data" / "Monocyte"), ["no folder for class Monocyte", "val"]),
        (
            lambda r: [path.unlink() for path in (r / "wbc" / "train" / "data" / "Monocyte").iterdir()],
            ["class Monocyte has no image", "it is empty"],
        ),
        (
            lambda r: (r / "wbc" / "train" / "mask" / "Monocyte" / "0.png").rename(
                r / "wbc" / "train" / "mask" / "Monocyte" / "lost.png"
            ),
            ["lost.png", "no image of the same name"],
        ),
        (
            lambda r: shutil.copytree(r / "wbc" / "val" / "data" / "Monocyte", r / "wbc" / "val" / "data" / "Platelet"),
            ["Platelet", "not known"],
        ),
    ],
)
def test_a_folder_that_is_not_as_expected_is_described(
    root: Path, change: Callable[[Path], object], parts: list[str]
) -> None:
    change(root)
    with pytest.raises(DataError) as caught:
        opened(root)
    for part in parts:
        assert part in str(caught.value)


def test_root_that_points_at_the_data_set_itself_gets_a_hint(root: Path) -> None:
    with pytest.raises(DataError, match="set it to the folder above"):
        opened(root / "wbc")


def test_root_that_is_a_file(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(DataError, match="is a file"):
        opened(tmp_path / "file")


def test_cam16_is_found_by_the_start_of_its_name(tmp_path: Path, write: Write) -> None:
    for split in ("train", "test"):
        for name in ("normal", "tumor"):
            write(tmp_path / "CAM16_100" / split / "data" / name / "a.png", 1)
    source = opened(tmp_path, "cam16")
    assert [(item.split, item.label) for item in source.items] == [("train", 0), ("train", 1), ("test", 0), ("test", 1)]


def test_two_candidates_are_refused(tmp_path: Path) -> None:
    for name in ("cam16_a", "cam16_b"):
        (tmp_path / name).mkdir()
    with pytest.raises(DataError, match="cam16_a, cam16_b"):
        opened(tmp_path, "cam16")
