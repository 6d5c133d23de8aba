import errno
import os
import re
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from data_utils.errors import DataError, UnreadableImage
from tests.data_utils.sources.conftest import opened

Write = Callable[..., Path]


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
