"""Images of ready-made fractions are found among those of the full set."""

from collections.abc import Callable
from pathlib import Path

import pytest
from PIL import Image

from data_utils.errors import DataError
from tests.data_utils.sources.conftest import opened

Write = Callable[..., Path]
CopySubset = Callable[[str, int], Path]


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
