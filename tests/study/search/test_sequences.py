"""Points that follow from the configuration, a seed and an index alone."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from study.config.search import SearchConfig
from study.design.points import Point, read_settings, write_settings
from study.search.sequences import clip_point, grid_points, quasi_random_points, random_points
from tests.study.search.spaces import ALSO, CONFIG, searching

BOUNDS = st.tuples(st.floats(1e-8, 10), st.floats(1e-8, 10)).map(lambda pair: (min(pair), max(pair)))


def test_the_grid_lists_all_pairs_in_order() -> None:
    search = SearchConfig(grid_learning_rate=(0.1, 0.2), grid_weight_decay=(0.0, 1.0))
    assert grid_points(search) == [Point(0.1, 0.0), Point(0.1, 1.0), Point(0.2, 0.0), Point(0.2, 1.0)]


def test_the_grid_takes_every_combination_of_further_choices() -> None:
    also = {"training.sampling": ["natural", "balanced"], "training.effective_beta": [0, 0.9]}
    search = SearchConfig.model_validate({"mode": "grid", "also": also, "grid_weight_decay": [0.0]})
    settings = [
        f'{{"training.effective_beta": {beta}, "training.sampling": "{sampling}"}}'
        for beta in (0.0, 0.9)
        for sampling in ("natural", "balanced")
    ]
    assert grid_points(search) == [Point(lr, 0.0, text) for lr in (3e-4, 1e-3, 3e-3) for text in settings]
    assert search.budget == search.grid_size == 12


@pytest.mark.parametrize("draw", [random_points, quasi_random_points])
@given(rates=BOUNDS, decays=BOUNDS, seed=st.integers(0, 2**31), count=st.integers(1, 40))
def test_points_lie_inside_the_bounds_even_where_rounding_would_leave_them(
    draw: object, rates: tuple[float, float], decays: tuple[float, float], seed: int, count: int
) -> None:
    config = SearchConfig(learning_rate=rates, weight_decay=decays)
    points: list[Point] = draw(config, seed, count)  # type: ignore[operator]  # parametrised
    assert len(points) == count
    for learning_rate, weight_decay, further in points:
        assert further == "{}"
        assert rates[0] <= learning_rate <= rates[1]
        assert decays[0] <= weight_decay <= decays[1]


@pytest.mark.parametrize("draw", [random_points, quasi_random_points])
@given(seed=st.integers(0, 1000), counts=st.tuples(st.integers(1, 40), st.integers(1, 40)))
def test_a_larger_budget_begins_with_the_points_of_the_smaller(
    draw: object, seed: int, counts: tuple[int, int]
) -> None:
    short, long = sorted(counts)
    points = draw(SearchConfig(), seed, long)  # type: ignore[operator]  # parametrised
    assert points[:short] == draw(SearchConfig(), seed, short)  # type: ignore[operator]  # parametrised
    assert points != draw(SearchConfig(), seed + 1, long)  # type: ignore[operator]  # parametrised
    assert len(set(points)) == long


def test_quasi_random_points_cover_the_space_more_evenly_than_chance() -> None:
    # Of any 2**k scrambled Sobol points exactly one falls into each of 2**k equal intervals of each dimension.
    config = SearchConfig(learning_rate=(1.0, 2.0**8), weight_decay=(1.0, 2.0**8))
    points = quasi_random_points(config, seed=11, count=8)
    for values in list(zip(*points, strict=True))[:2]:
        assert sorted(int(value.bit_length() - 1) for value in map(int, values)) == list(range(8))


def test_points_without_further_settings_are_those_of_version_one() -> None:
    # Literals from before further settings could be searched: finished studies must be extended, not restarted.
    config = SearchConfig()
    assert random_points(config, 3, 2)[1] == Point(0.00048165399195769146, 5.126034159872909e-05)
    assert quasi_random_points(config, 3, 2)[1] == Point(0.006045488317315226, 2.2420733615239504e-06)


def test_one_more_setting_leaves_random_values_of_the_others_as_they_were() -> None:
    both, one = (
        random_points(searching("random", {name: ALSO[name] for name in names}), 5, 8)
        for names in (["training.loss_weights", "training.sampling"], ["training.sampling"])
    )
    assert [point[:2] for point in both] == [point[:2] for point in one] == [p[:2] for p in random_points(CONFIG, 5, 8)]
    name = "training.sampling"
    assert [read_settings(p.settings)[name] for p in both] == [read_settings(p.settings)[name] for p in one]


def test_choices_of_the_quasi_random_points_are_taken_equally_often() -> None:
    config = searching("qmc", {"training.sampling": ["natural", "balanced"]})
    drawn = [read_settings(point.settings)["training.sampling"] for point in quasi_random_points(config, 2, 16)]
    assert drawn.count("natural") == 8


FURTHER = {"training.sampling": ["natural", "balanced"], "training.effective_beta": {"low": 0.5, "high": 0.9}}


def test_points_with_further_settings_are_those_of_version_one() -> None:
    config = searching("random", FURTHER)
    assert random_points(config, 3, 2)[1].settings == (
        '{"training.effective_beta": 0.7476846057271799, "training.sampling": "natural"}'
    )
    assert quasi_random_points(config, 3, 2)[1].settings == (
        '{"training.effective_beta": 0.5209644798189401, "training.sampling": "balanced"}'
    )


@pytest.mark.parametrize("log", [False, True])
def test_a_range_is_covered_evenly_on_its_own_scale(log: bool) -> None:
    config = searching("qmc", {"training.effective_beta": {"low": 0.01, "high": 0.81, "log": log}})
    drawn = [read_settings(point.settings)["training.effective_beta"] for point in quasi_random_points(config, 2, 16)]
    # The middle of the range: 0.41 on a linear scale, 0.09 on a logarithmic one.
    assert sum(value < (0.09 if log else 0.41) for value in drawn) == 8


@pytest.mark.parametrize(
    ("point", "inside"),
    [
        ((1e-9, 1.0), (1e-4, 1e-2)),
        ((1.0, 1e-9), (1e-2, 1e-6)),
        ((2e-3, 3e-5), (2e-3, 3e-5)),
    ],
)
def test_a_point_moves_to_the_nearest_end_of_a_range_that_it_misses(
    point: tuple[float, float], inside: tuple[float, float]
) -> None:
    assert clip_point(SearchConfig(mode="random"), point) == Point(*inside)


@pytest.mark.parametrize(
    ("known", "inside"),
    [
        ({}, {"training.effective_beta": 0.5, "training.sampling": "natural"}),
        (
            {"training.effective_beta": 0.99, "training.sampling": "balanced"},
            {"training.effective_beta": 0.9, "training.sampling": "balanced"},
        ),
        (
            {"training.effective_beta": 0.1, "training.sampling": "no such choice", "training.hue": 0.1},
            {"training.effective_beta": 0.5, "training.sampling": "natural"},
        ),
    ],
)
def test_further_settings_move_into_the_space_and_others_are_left_out(
    known: dict[str, object], inside: dict[str, object]
) -> None:
    clipped = clip_point(searching("random", FURTHER), Point(1e-3, 1e-4, write_settings(known)))
    assert read_settings(clipped.settings) == inside
