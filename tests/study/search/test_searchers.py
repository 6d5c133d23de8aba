"""The searcher of one arm, by the mode of the search."""

from __future__ import annotations

import itertools

import pytest

from study.config.search import SearchConfig
from study.design.points import Point, read_settings, write_settings
from study.search.searchers import FixedSearcher, make_searcher
from study.search.sequences import quasi_random_points, random_points
from tests.study.search.spaces import ALSO, searching, suggest_all


def test_the_grid_visits_every_point_once_in_every_arm() -> None:
    config = SearchConfig(mode="grid", grid_learning_rate=(1e-3, 3e-3), grid_weight_decay=(0.0, 1e-4, 1e-2))
    searcher = make_searcher(config, seed=0, arm="WBC_1/off")
    visited = [searcher.suggest(index) for index in range(config.budget)]
    assert sorted(visited) == sorted(Point(*pair) for pair in itertools.product((1e-3, 3e-3), (0.0, 1e-4, 1e-2)))
    other = make_searcher(config, seed=5, arm="WBC_100/sum")
    assert [other.suggest(index) for index in range(config.budget)] == visited


@pytest.mark.parametrize("mode", ["random", "qmc"])
def test_points_follow_from_seed_and_index_whatever_is_reported(mode: str) -> None:
    config = SearchConfig.model_validate({"mode": mode, "trials_per_arm": 6})
    quiet, busy = make_searcher(config, 3, "WBC_1/off"), make_searcher(config, 3, "WBC_50/sum")
    expected = [quiet.suggest(index) for index in range(6)]
    found = []
    for index in range(6):
        found.append(busy.suggest(index))
        busy.observe(index, 1, 0.9)
        busy.end(index, "completed", 0.9)
    assert found == expected


def test_fixed_points_are_handed_out_by_index() -> None:
    searcher = FixedSearcher([(1.0, 2.0), (3.0, 4.0)])
    assert searcher.suggest(1) == Point(3.0, 4.0)
    assert searcher.suggest(0) == Point(1.0, 2.0)


@pytest.mark.parametrize("mode", ["random", "qmc", "tpe"])
def test_a_warm_start_begins_with_the_earlier_winner_inside_the_budget_and_the_ranges(mode: str) -> None:
    config = SearchConfig.model_validate({"mode": mode, "trials_per_arm": 4, "tpe_startup": 4})
    cold = make_searcher(config, 3, "WBC_1/off")
    expected = [cold.suggest(index) for index in range(4)]
    warm = make_searcher(config, 3, "WBC_1/off", [(0.5, 1e-9)])
    assert [warm.suggest(index) for index in range(4)] == [Point(1e-2, 1e-6), *expected[:3]]
    if mode != "tpe":
        with pytest.raises(IndexError):
            warm.suggest(4)


def test_a_warm_start_is_used_even_where_it_is_the_only_start() -> None:
    config = SearchConfig(mode="tpe", trials_per_arm=3, tpe_startup=1)
    assert make_searcher(config, 0, "WBC_1/off", [(1e-3, 1e-3)]).suggest(0) == Point(1e-3, 1e-3)


@pytest.mark.parametrize("mode", ["random", "qmc", "tpe"])
def test_further_settings_are_drawn_from_their_choices_and_ranges(mode: str) -> None:
    drawn = [read_settings(point.settings) for point in suggest_all(make_searcher(searching(mode), 1, "WBC_1/off"))]
    assert {frozenset(values) for values in drawn} == {frozenset(ALSO)}
    assert {values["training.loss_weights"] for values in drawn} == {"none", "inverse", "effective"}
    assert {values["training.sampling"] for values in drawn} == {"natural", "balanced"}
    betas = [values["training.effective_beta"] for values in drawn]
    assert all(0.5 <= beta <= 0.9 for beta in betas) and len(set(betas)) > 6


@pytest.mark.parametrize("mode", ["random", "qmc"])
def test_further_settings_are_the_same_in_every_arm_and_a_larger_budget_begins_with_the_smaller(mode: str) -> None:
    few = suggest_all(make_searcher(searching(mode), 1, "WBC_1/off"))
    many = suggest_all(make_searcher(searching(mode, trials_per_arm=30), 1, "WBC_50/sum", ()), 30)
    assert many[:12] == few


def test_a_warm_start_brings_further_settings_into_the_space() -> None:
    config = searching("random")
    known = {"training.sampling": "balanced", "training.effective_beta": 0.99, "training.plateau_factor": 0.1}
    first = make_searcher(config, 0, "WBC_1/off", [Point(1e-3, 1e-3, write_settings(known))]).suggest(0)
    assert read_settings(first.settings) == {
        "training.effective_beta": 0.9,
        "training.loss_weights": "none",
        "training.sampling": "balanced",
    }
    plain = make_searcher(SearchConfig(mode="random"), 0, "WBC_1/off", [Point(1e-3, 1e-3, write_settings(known))])
    assert plain.suggest(0) == Point(1e-3, 1e-3)


def test_each_mode_has_its_own_points() -> None:
    drawn = {
        mode: [make_searcher(searching(mode), 4, "WBC_1/off").suggest(index) for index in range(6)]
        for mode in ("random", "qmc")
    }
    assert drawn["random"] == random_points(searching("random"), 4, 6)
    assert drawn["qmc"] == quasi_random_points(searching("qmc"), 4, 6)
