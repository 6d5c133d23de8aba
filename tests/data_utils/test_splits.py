import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from data_utils.cache import prepare
from data_utils.config import DataConfig
from data_utils.errors import DataError
from data_utils.splits import join_units, set_aside
from tests.data_utils.conftest import counts, with_settings

Write = Callable[..., Path]
CopySubset = Callable[[str, int], Path]


def no_subsets(count: int) -> np.ndarray:
    return np.zeros((count, 0), np.bool_)


def test_groups_and_identical_images_are_joined() -> None:
    units = join_units(np.array(["a", "", "a", "", "b", ""]), np.array(["1", "2", "3", "2", "3", "4"]))
    # a and b share the content 3, the second and the fourth image the content 2.
    assert units.tolist() == [0, 1, 0, 1, 0, 5]


def test_a_fifth_of_every_class_is_set_aside() -> None:
    labels = np.repeat([0, 1, 2], [100, 50, 6])
    hashes = np.array([f"{(7919 * i) % 1000:04d}" for i in range(156)])
    aside = set_aside(labels, np.arange(156), hashes, no_subsets(156))
    assert np.bincount(labels[aside]).tolist() == [20, 10, 1]
    # The order is that of the hashes.
    assert max(hashes[aside & (labels == 0)].tolist()) < min(hashes[~aside & (labels == 0)].tolist())


def test_the_choice_depends_on_content_not_on_the_order_of_files() -> None:
    rng = np.random.default_rng(0)
    labels = rng.integers(0, 4, 200)
    hashes = np.array([f"{i:04d}" for i in rng.permutation(200)])
    order = rng.permutation(200)
    first = set_aside(labels, np.arange(200), hashes, no_subsets(200))
    second = set_aside(labels[order], np.arange(200), hashes[order], no_subsets(200))
    assert set(hashes[first]) == set(hashes[order][second])


def test_every_ready_made_subset_gives_its_share() -> None:
    """The class sizes of the coursework, with its nested subsets of 50, 10 and 1 %."""
    sizes = np.array([176, 618, 2015, 466, 5172])
    labels = np.repeat(np.arange(5), sizes)
    number = np.concatenate([np.arange(size) for size in sizes])
    subsets = np.stack([number < np.maximum(1, share * sizes[labels]) for share in (0.01, 0.1, 0.5)], axis=1)
    hashes = np.array([f"{i:05d}" for i in np.random.default_rng(0).permutation(len(labels))])
    aside = set_aside(labels, np.arange(len(labels)), hashes, subsets)
    for members in [*subsets.T, np.ones(len(labels), bool)]:
        for label in range(5):
            of_class = members & (labels == label)
            assert aside[of_class].sum() == round(0.2 * of_class.sum())


def test_subsets_that_are_not_nested_give_about_their_share() -> None:
    rng = np.random.default_rng(0)
    subsets = rng.random((500, 2)) < [0.3, 0.5]
    hashes = np.array([f"{i:03d}" for i in rng.permutation(500)])
    aside = set_aside(np.zeros(500, np.int64), np.arange(500), hashes, subsets)
    assert aside.sum() == 100
    assert np.all(np.abs(aside[:, None][subsets[:, 0]].mean() - 0.2) < 0.01)
    assert np.abs(aside[subsets[:, 1]].mean() - 0.2) < 0.01


def test_groups_that_straddle_a_subset_are_still_set_aside() -> None:
    groups = np.repeat(np.arange(40), 5)
    subset = np.arange(200) % 5 < 2
    hashes = np.array([f"{i:03d}" for i in np.random.default_rng(1).permutation(200)])
    aside = set_aside(np.zeros(200, np.int64), 5 * groups, hashes, subset[:, None])
    assert aside.sum() == 40
    assert aside[subset].sum() == 16


def test_of_two_large_groups_one_is_set_aside() -> None:
    aside = set_aside(
        np.full(20, -1), np.repeat([0, 10], 10), np.array([f"{i:02d}" for i in range(20)]), no_subsets(20)
    )
    assert aside.sum() == 10


@settings(max_examples=60, deadline=None)
@given(st.lists(st.tuples(st.integers(0, 3), st.integers(0, 8), st.integers(0, 2)), min_size=1, max_size=60))
def test_units_stay_whole_and_no_class_is_used_up(rows: list[tuple[int, int, int]]) -> None:
    labels = np.array([label for label, _, _ in rows])
    groups = np.array([f"g{group}" if group else "" for _, group, _ in rows])
    subsets = np.array([[depth > 1, depth > 0] for _, _, depth in rows])
    hashes = np.array([f"{i:03d}" for i in range(len(rows))])
    units = join_units(groups, hashes)
    aside = set_aside(labels, units, hashes, subsets)
    assert not set(units[aside]) & set(units[~aside])
    for members in [*subsets.T, np.ones(len(rows), bool)]:
        assert set(labels[members & ~aside]) == set(labels[members])


# --- splits of a prepared domain ---


def test_a_fifth_of_train_is_set_aside_for_testing(config: DataConfig) -> None:
    arrays = prepare(config, "wbc")
    assert (counts(arrays, "train"), counts(arrays, "val"), counts(arrays, "test")) == ([8] * 5, [2] * 5, [2] * 5)
    assert (arrays.validation_origin, arrays.test_origin) == ("folder", "set aside")


def test_the_test_split_does_not_depend_on_names_or_stored_size(config: DataConfig, root: Path) -> None:
    before = prepare(config, "wbc")
    folder = root / "wbc" / "train" / "data" / "Monocyte"
    for path in sorted(folder.iterdir()):
        path.rename(folder / f"renamed{9 - int(path.stem)}.png")
    shutil.rmtree(root / "wbc" / "train" / "mask")
    after = prepare(with_settings(config, stored_size=10), "wbc")
    assert set(before.hashes[before.indices("test")]) == set(after.hashes[after.indices("test")])


def test_without_test_images_nothing_is_set_aside(config: DataConfig) -> None:
    arrays = prepare(with_settings(config, test="none"), "wbc")
    assert counts(arrays, "train") == [10] * 5
    assert arrays.test_origin == "none"


def test_a_test_folder_is_used_or_left_out(config: DataConfig, root: Path) -> None:
    (root / "wbc" / "val").rename(root / "wbc" / "test")
    arrays = prepare(config, "wbc")
    # Validation is now what is missing.
    assert (arrays.validation_origin, arrays.test_origin) == ("set aside", "folder")
    assert (counts(arrays, "train"), counts(arrays, "val"), counts(arrays, "test")) == ([8] * 5, [2] * 5, [2] * 5)
    assert len(prepare(with_settings(config, test="none"), "wbc").indices("test")) == 0


def test_groups_are_not_divided_by_the_test_split(config: DataConfig, root: Path, tmp_path: Path) -> None:
    paths = sorted((root / "wbc" / "train" / "data").rglob("*.png"))
    rows = [f"{path.relative_to(root / 'wbc').as_posix()},patient {int(path.stem) % 5}" for path in paths]
    (tmp_path / "groups.csv").write_text("path,group\n" + "\n".join(rows))
    arrays = prepare(with_settings(config, groups=tmp_path / "groups.csv"), "wbc")
    test, train = (set(arrays.groups[arrays.indices(split)].tolist()) for split in ("test", "train"))
    assert len(test) == 1
    assert len(train) == 4
    assert not test & train


def test_ready_made_subsets_keep_their_share_when_images_are_set_aside(
    config: DataConfig, root: Path, copy_subset: CopySubset
) -> None:
    copy_subset("50", 5)
    shutil.rmtree(root / "wbc" / "val")
    arrays = prepare(config, "wbc")
    assert [counts(arrays, split) for split in ("train", "val", "test")] == [[6] * 5, [2] * 5, [2] * 5]
    assert np.bincount(arrays.labels[arrays.subsets[0.5]]).tolist() == [3] * 5
    assert set(arrays.splits[arrays.subsets[0.5]]) == {"train"}
    for split in ("val", "test"):
        # One of each class comes from the subset (0 to 4), one from the rest.
        inside = [int(Path(path).stem) < 5 for path in arrays.paths[arrays.indices(split)].tolist()]
        assert sum(inside) == 5


def test_whole_unlabelled_images_are_set_aside_for_validation(config: DataConfig, root: Path, write: Write) -> None:
    for i in range(5):
        write(root / "prcc" / f"{i}.png", i, (40, 40))
    arrays = prepare(with_settings(config, tile_size=20), "prcc")
    assert len(arrays) == 20
    assert len(arrays.indices("val")) == 4
    assert len(set(arrays.groups[arrays.indices("val")].tolist())) == 1
    assert arrays.labels.tolist() == [-1] * 20
    assert (arrays.validation_origin, arrays.test_origin) == ("set aside", "none")


# --- splits that are not as needed ---


@pytest.mark.parametrize("split", ["train", "val", "test"])
def test_a_split_that_lacks_a_class_is_named(config: DataConfig, root: Path, split: str) -> None:
    shutil.copytree(root / "wbc" / "val", root / "wbc" / "test")
    for path in (root / "wbc" / "test").rglob("*.png"):
        Image.open(path).transpose(Image.Transpose.ROTATE_90).save(path)
    folder = root / "wbc" / split / "data" / "Monocyte"
    bad = [path.write_bytes(b"no image") for path in folder.iterdir()]
    expected = (
        rf"wbc: {split} has no image of Monocyte \({len(bad)} files could not be read.*Add images of it to {split}"
    )
    with pytest.raises(DataError, match=expected):
        prepare(with_settings(config, unreadable="skip"), "wbc")


def test_a_class_too_small_to_set_aside_is_named(config: DataConfig, root: Path) -> None:
    for path in (root / "wbc" / "train" / "data" / "Monocyte").glob("[2-9].png"):
        path.unlink()
    assert counts(prepare(config, "wbc"), "test") == [2, 2, 2, 1, 2]
    (root / "wbc" / "val").rename(root / "val")
    with pytest.raises(DataError, match=r"wbc: val has no image of Monocyte.*to train, or a folder named val"):
        prepare(config, "wbc")
    # Without test images two are enough.
    assert counts(prepare(with_settings(config, test="none"), "wbc"), "val") == [2, 2, 2, 1, 2]
    (root / "val").rename(root / "wbc" / "val")
    (root / "wbc" / "train" / "data" / "Monocyte" / "1.png").unlink()
    (root / "wbc" / "train" / "mask" / "Monocyte" / "1.png").unlink()
    with pytest.raises(DataError, match=r"wbc: test has no image of Monocyte.*or set data\.test: none"):
        prepare(config, "wbc")


@pytest.mark.parametrize("tile_size", [20, 40])
def test_one_unlabelled_image_is_too_few_in_one_tile_and_in_several(
    config: DataConfig, root: Path, write: Write, tile_size: int
) -> None:
    write(root / "prcc" / "only.png", 1, (40, 40))
    with pytest.raises(DataError, match=r"prcc: val has no image.*two image files are needed"):
        prepare(with_settings(config, tile_size=tile_size), "prcc")
    write(root / "prcc" / "another.png", 2, (40, 40))
    assert len(prepare(with_settings(config, tile_size=tile_size), "prcc").indices("val")) == (40 // tile_size) ** 2


def test_unlabelled_images_in_val_alone_are_too_few(config: DataConfig, root: Path, write: Write) -> None:
    write(root / "prcc" / "val" / "a.png", 1)
    write(root / "prcc" / "val" / "b.png", 2)
    with pytest.raises(DataError, match="prcc: train has no image, of 2 in all"):
        prepare(config, "prcc")
