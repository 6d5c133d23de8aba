from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from data_utils.cache import prepare
from data_utils.config import DataConfig
from data_utils.errors import DataError
from data_utils.fractions import draw_fraction, select_fraction

NAMES = ("a", "b", "c")
PUBLISHED = {"full": (176, 618, 2015, 466, 5172), 0.5: (88, 309, 1007, 233, 2586), 0.1: (17, 61, 201, 46, 517)}


def ungrouped(labels: np.ndarray) -> np.ndarray:
    return np.full(len(labels), "")


@pytest.mark.parametrize(
    ("fraction", "expected"), [(0.5, PUBLISHED[0.5]), (0.1, PUBLISHED[0.1]), (0.01, (1, 6, 20, 4, 51))]
)
def test_published_class_counts_are_met_within_one(fraction: float, expected: tuple[int, ...]) -> None:
    labels = np.repeat(np.arange(5), PUBLISHED["full"])
    chosen = draw_fraction(labels, ungrouped(labels), tuple("abcde"), fraction=fraction, seed=0)
    assert np.abs(np.bincount(labels[chosen]) - expected).max() <= 1


class_counts = st.lists(st.integers(1, 40), min_size=3, max_size=3)
fractions = st.lists(st.floats(0.001, 1), min_size=2, max_size=5).map(sorted)


@settings(max_examples=60, deadline=None)
@given(class_counts, fractions, st.integers(0, 1000))
def test_fractions_are_nested_stratified_and_cover_every_class(
    counts: list[int], shares: list[float], seed: int
) -> None:
    labels = np.random.default_rng(seed).permutation(np.repeat([0, 1, 2], counts))
    smaller: set[int] = set()
    for share in [*shares, 1.0]:
        chosen = draw_fraction(labels, ungrouped(labels), NAMES, fraction=share, seed=seed)
        assert chosen.tolist() == sorted(set(chosen.tolist()))
        assert smaller <= set(chosen.tolist())
        found = np.bincount(labels[chosen], minlength=3)
        assert np.all(found >= 1)
        assert np.all(np.abs(found - share * np.array(counts)) <= 1)
        smaller = set(chosen.tolist())
    assert len(smaller) == len(labels)


@settings(max_examples=60, deadline=None)
@given(
    st.lists(st.tuples(st.integers(0, 2), st.integers(0, 12)), min_size=3, max_size=80), fractions, st.integers(0, 99)
)
def test_groups_are_never_split_and_still_nested(rows: list[tuple[int, int]], shares: list[float], seed: int) -> None:
    labels = np.array([0, 1, 2, *(label for label, _ in rows)])
    groups = np.array(["g1", "g2", "", *(f"g{group}" if group else "" for _, group in rows)])
    smaller: set[int] = set()
    for share in [*shares, 1.0]:
        chosen = draw_fraction(labels, groups, NAMES, fraction=share, seed=seed)
        rest = np.setdiff1d(np.arange(len(labels)), chosen)
        assert not (set(groups[chosen]) & set(groups[rest])) - {""}
        assert set(labels[chosen]) == {0, 1, 2}
        assert smaller <= set(chosen.tolist())
        smaller = set(chosen.tolist())
    assert len(smaller) == len(labels)


def test_grouped_fractions_come_near_the_share_of_every_class() -> None:
    rng = np.random.default_rng(0)
    labels = rng.choice(3, 2000, p=[0.1, 0.3, 0.6])
    groups = np.array([f"patient {i}" for i in rng.integers(0, 400, 2000)])
    chosen = draw_fraction(labels, groups, NAMES, fraction=0.25, seed=1)
    assert np.all(np.abs(np.bincount(labels[chosen]) / np.bincount(labels) - 0.25) < 0.06)


def test_seeds_draw_different_images_and_one_seed_the_same() -> None:
    labels = np.zeros(1000, np.int64)
    draws = [set(draw_fraction(labels, ungrouped(labels), ("a",), fraction=0.1, seed=s).tolist()) for s in (0, 0, 1)]
    assert draws[0] == draws[1]
    # 100 of 1000 drawn twice share ten images on average.
    assert len(draws[0] & draws[2]) < 30


def test_what_a_seed_draws_stays_what_it_is() -> None:
    # Studies are continued and replayed by later versions: another draw would be another study.
    labels = np.repeat([0, 1], [10, 20])
    assert draw_fraction(labels, ungrouped(labels), ("a", "b"), fraction=0.2, seed=3).tolist() == [1, 4, 12, 19, 26, 29]


@pytest.mark.parametrize("fraction", [0, -0.1, 1.01, 10, float("nan")])
def test_a_fraction_outside_its_range_is_refused(fraction: float) -> None:
    with pytest.raises(DataError, match="fraction is"):
        draw_fraction(np.zeros(3, np.int64), np.full(3, ""), ("a",), fraction=fraction, seed=0)


def test_an_empty_class_is_named() -> None:
    with pytest.raises(DataError, match="no image of b"):
        draw_fraction(np.array([0, 0, 2]), np.full(3, ""), NAMES, fraction=0.5, seed=0)


def test_only_training_images_are_chosen(config: DataConfig) -> None:
    arrays = prepare(config, "wbc")
    assert set(arrays.splits[select_fraction(arrays, 1.0, 0)]) == {"train"}
    assert len(select_fraction(arrays, 1.0, 0)) == 40  # ten of each class, less a fifth set aside for testing


def test_a_ready_made_subset_is_taken_as_it_is_and_other_fractions_nest_with_it(
    config: DataConfig, copy_subset: Callable[[str, int], Path]
) -> None:
    copy_subset("10", 1)
    copy_subset("50", 5)
    arrays = prepare(config, "wbc")
    for seed in (0, 1):
        tenth, quarter, half = (select_fraction(arrays, f, seed) for f in (0.1, 0.25, 0.5))
        # The test split took one image of each class from the half, and none of the only ones of the tenth.
        assert [np.bincount(arrays.labels[chosen]).tolist() for chosen in (tenth, half)] == [[1] * 5, [4] * 5]
        assert {path.split("/")[-1] for path in arrays.paths[tenth]} == {"0.png"}
        assert {path.split("/")[-1] for path in arrays.paths[half]} <= {f"{i}.png" for i in range(5)}
        assert set(tenth) < set(quarter) < set(half)
