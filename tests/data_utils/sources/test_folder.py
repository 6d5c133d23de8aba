import errno
import os
import re
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from data_utils.config import DataConfig
from data_utils.errors import DataError, UnreadableImage
from data_utils.sources.folder import FolderSource

Write = Callable[..., Path]
CopySubset = Callable[[str, int], Path]


def opened(root: Path, domain: str = "wbc", **settings: object) -> FolderSource:
    return FolderSource(DataConfig.model_validate({"source": "folder", "root": root, **settings}), domain)


def test_items_images_and_masks_of_the_coursework_layout(root: Path) -> None:
    source = opened(root)
    assert len(source.items) == 60
    first = source.items[0]
    assert (first.path, first.split, first.label, first.group) == ("train/data/Basophil/0.png", "train", 0, "")
    assert source.read(0).shape == (20, 24, 3)
    assert sum(source.has_mask(i) for i in range(60)) == 10
    mask = source.read_mask(0)
    assert mask is not None
    assert mask.shape == (20, 24)
    assert source.read_mask(5) is None
    assert {(item.split, item.label) for item in source.items} == {(s, c) for s in ("train", "val") for c in range(5)}


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


def test_unreadable_image_is_named_when_read(root: Path) -> None:
    (root / "wbc" / "train" / "data" / "Basophil" / "0.png").write_bytes(b"no image")
    with pytest.raises(UnreadableImage, match=r"Basophil/0\.png"):
        opened(root).read(0)


def test_identity_follows_files_but_not_the_place(root: Path, tmp_path: Path, write: Write) -> None:
    before = opened(root).identity
    assert opened(root).identity == before
    root.rename(tmp_path / "moved")
    assert opened(tmp_path / "moved").identity == before
    write(tmp_path / "moved" / "wbc" / "train" / "data" / "Basophil" / "new.png", 99)
    changed = opened(tmp_path / "moved").identity
    assert changed != before
    (tmp_path / "moved" / "wbc" / "train" / "mask" / "Basophil" / "1.png").unlink()
    assert opened(tmp_path / "moved").identity != changed


# --- what the system refuses ---


def deny(monkeypatch: pytest.MonkeyPatch, function: str, denied: Path) -> None:
    """Let a function of os refuse one path, as it does for lack of permission (whoever runs the tests may be root)."""
    allowed = getattr(os, function)

    def refuse(path: object = ".", *more: object, **options: object) -> object:
        if path in (denied, str(denied)):
            raise PermissionError(errno.EACCES, "Permission denied", str(path))
        return allowed(path, *more, **options)

    monkeypatch.setattr(os, function, refuse)


@pytest.mark.parametrize("place", ["", "wbc", "wbc/val/data", "wbc/train/data/Monocyte", "wbc/train/mask/Monocyte"])
def test_a_folder_that_may_not_be_listed_is_named(root: Path, monkeypatch: pytest.MonkeyPatch, place: str) -> None:
    for function in ("listdir", "scandir"):  # which of them pathlib calls depends on the version of Python
        deny(monkeypatch, function, root / place)
    with pytest.raises(DataError, match=re.escape(f"{root / place}: cannot be read (Permission denied)")):
        opened(root)


def test_an_unlabelled_folder_that_may_not_be_listed_is_named(
    tmp_path: Path, write: Write, monkeypatch: pytest.MonkeyPatch
) -> None:
    write(tmp_path / "prcc" / "a.png", 1)
    write(tmp_path / "prcc" / "closed" / "b.png", 2)
    deny(monkeypatch, "scandir", tmp_path / "prcc" / "closed")
    with pytest.raises(DataError, match=r"closed: cannot be read \(Permission denied\)"):
        opened(tmp_path, "prcc")


def test_a_file_that_vanishes_before_it_is_stored_is_named(root: Path) -> None:
    source = opened(root)
    (root / "wbc" / "train" / "data" / "Basophil" / "0.png").unlink()
    with pytest.raises(DataError, match=r"Basophil/0\.png: cannot be read \(No such file"):
        _ = source.identity


def test_a_root_that_the_system_refuses_is_named() -> None:
    with pytest.raises(DataError, match="longlong"):
        opened(Path("long" * 1000))


# --- groups ---


def test_groups_are_read_from_a_table(root: Path, tmp_path: Path) -> None:
    table = tmp_path / "groups.csv"
    table.write_text("patient,path\nP1,train/data/Basophil/0.png\nP1,.\\train\\data\\Basophil\\1.png\n")
    source = opened(root, groups=table, group_column="patient")
    assert [item.group for item in source.items[:3]] == ["P1", "P1", ""]
    assert sum(bool(item.group) for item in source.items) == 2


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("path,smear\na,b\n", "no column 'group'"),
        ("path,group\nnowhere.png,b\n", "no path in .* names an image"),
        ("path,group\ntrain/data/Basophil/0.png,a\ntrain/data/Basophil/0.png,b\n", "two groups"),
        ("", "no columns"),
        (None, "cannot be read"),
    ],
)
def test_mistakes_in_the_table_of_groups(root: Path, tmp_path: Path, text: str | None, message: str) -> None:
    table = tmp_path / "groups.csv"
    if text is not None:
        table.write_text(text)
    with pytest.raises(DataError, match=message):
        opened(root, groups=table)


# --- ready-made subsets ---


def test_ready_made_subsets_are_found(root: Path, copy_subset: CopySubset) -> None:
    copy_subset("10", 1)
    copy_subset("50", 5)
    subsets = opened(root).subsets
    assert {fraction: len(members) for fraction, members in subsets.items()} == {0.1: 5, 0.5: 25}
    assert subsets[0.1] < subsets[0.5]
    assert "train/data/Basophil/0.png" in subsets[0.1]


def test_renamed_and_reencoded_subset_images_are_matched_by_content(root: Path, copy_subset: CopySubset) -> None:
    folder = copy_subset("10", 2) / "Basophil"
    (folder / "0.png").rename(folder / "renamed.png")
    Image.open(folder / "1.png").save(folder / "other.bmp")
    (folder / "1.png").unlink()
    members = opened(root).subsets[0.1]
    assert {path for path in members if "Basophil" in path} == {
        "train/data/Basophil/0.png",
        "train/data/Basophil/1.png",
    }


def test_subset_images_of_other_content_fall_back_on_their_name(
    root: Path, write: Write, copy_subset: CopySubset
) -> None:
    write(copy_subset("10", 1) / "Basophil" / "0.png", 4711)
    assert "train/data/Basophil/0.png" in opened(root).subsets[0.1]


def test_a_subset_image_that_is_not_in_the_full_set_is_named(root: Path, write: Write, copy_subset: CopySubset) -> None:
    write(copy_subset("10", 1) / "Basophil" / "stranger.png", 4711)
    with pytest.raises(DataError, match=r"stranger\.png.*not among the training images"):
        _ = opened(root).subsets


def test_without_subsets_there_are_none(root: Path) -> None:
    (root / "WBC_notes").mkdir()
    assert opened(root).subsets == {}


# --- other domains ---


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


def test_unlabelled_images_are_cut_into_tiles_that_cover_them(tmp_path: Path, write: Write) -> None:
    path = write(tmp_path / "pRCC" / "slides" / "a.png", 1, (100, 70))
    write(tmp_path / "pRCC" / "small.png", 2, (30, 30))
    source = opened(tmp_path, "prcc", tile_size=40)
    assert [item.path for item in source.items] == [
        *(f"slides/a.png#{row}-{column}" for row in range(3) for column in range(2)),
        "small.png",
    ]
    assert {item.group for item in source.items} == {"slides/a.png", "small.png"}
    assert {item.label for item in source.items} == {-1}
    whole = np.asarray(Image.open(path))
    tiles = [source.read(i) for i in range(6)]
    assert {tile.shape for tile in tiles} == {(34, 35, 3)}
    assert np.array_equal(tiles[0], whole[:34, :35])
    assert np.array_equal(tiles[5], whole[66:, 35:])
    assert np.array_equal(tiles[2], whole[33:67, :35])
    assert source.read(6).shape == (30, 30, 3)


def test_an_unlabelled_file_that_cannot_be_read_is_named_when_read(tmp_path: Path) -> None:
    (tmp_path / "prcc").mkdir()
    (tmp_path / "prcc" / "bad.png").write_bytes(b"no image")
    source = opened(tmp_path, "prcc")
    with pytest.raises(UnreadableImage, match=r"bad\.png"):
        source.read(0)


def test_an_empty_unlabelled_folder_is_described(tmp_path: Path) -> None:
    (tmp_path / "prcc").mkdir()
    with pytest.raises(DataError, match="no image was found"):
        opened(tmp_path, "prcc")


# --- real data ---


def test_real_counts(real_data: Path) -> None:
    """The counts are those of the data set's description."""
    source = opened(real_data)
    counts = np.zeros((2, 5), int)
    for item in source.items:
        counts[("train", "val").index(item.split), item.label] += 1
    assert counts.tolist() == [[44, 154, 504, 116, 1293], [9, 31, 103, 24, 265]]
    assert source.read(0).shape == (363, 360, 3)
    assert len(opened(real_data, "prcc", tile_size=250).items) == 6 * 16
