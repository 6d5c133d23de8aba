import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from data_utils.splits import join_units, set_aside


def test_groups_and_identical_images_are_joined() -> None:
    units = join_units(np.array(["a", "", "a", "", "b", ""]), np.array(["1", "2", "3", "2", "3", "4"]))
    # a and b share the content 3, the second and the fourth image the content 2.
    assert units.tolist() == [0, 1, 0, 1, 0, 5]


def test_a_fifth_of_every_class_is_set_aside() -> None:
    labels = np.repeat([0, 1, 2], [100, 50, 6])
    hashes = np.array([f"{(7919 * i) % 1000:04d}" for i in range(156)])
    aside = set_aside(labels, np.arange(156), hashes, np.zeros(156, np.int64))
    assert np.bincount(labels[aside]).tolist() == [20, 10, 1]
    # The order is that of the hashes.
    assert max(hashes[aside & (labels == 0)].tolist()) < min(hashes[~aside & (labels == 0)].tolist())


def test_the_choice_depends_on_content_not_on_the_order_of_files() -> None:
    rng = np.random.default_rng(0)
    labels = rng.integers(0, 4, 200)
    hashes = np.array([f"{i:04d}" for i in rng.permutation(200)])
    order = rng.permutation(200)
    zeros = np.zeros(200, np.int64)
    first = set_aside(labels, np.arange(200), hashes, zeros)
    second = set_aside(labels[order], np.arange(200), hashes[order], zeros)
    assert set(hashes[first]) == set(hashes[order][second])


def test_images_to_avoid_come_last() -> None:
    avoid = np.repeat([1, 0], [8, 2])
    aside = set_aside(np.zeros(10, np.int64), np.arange(10), np.array([str(i) for i in range(10)]), avoid)
    assert np.flatnonzero(aside).tolist() == [8, 9]


def test_of_two_large_groups_one_is_set_aside() -> None:
    aside = set_aside(
        np.full(20, -1), np.repeat([0, 10], 10), np.array([f"{i:02d}" for i in range(20)]), np.zeros(20, int)
    )
    assert aside.sum() == 10


@settings(max_examples=60, deadline=None)
@given(st.lists(st.tuples(st.integers(0, 3), st.integers(0, 8)), min_size=1, max_size=60))
def test_units_stay_whole_and_no_class_is_used_up(rows: list[tuple[int, int]]) -> None:
    labels = np.array([label for label, _ in rows])
    groups = np.array([f"g{group}" if group else "" for _, group in rows])
    hashes = np.array([f"{i:03d}" for i in range(len(rows))])
    units = join_units(groups, hashes)
    aside = set_aside(labels, units, hashes, np.zeros(len(rows), np.int64))
    assert not set(units[aside]) & set(units[~aside])
    assert set(labels[~aside]) == set(labels)
