import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from data_utils.splits import join_units, set_aside


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
