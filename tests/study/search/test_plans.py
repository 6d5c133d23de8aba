"""What each arm gets: the same budget over the same space, in gradient steps that follow from its images."""

from __future__ import annotations

import pandas as pd
import pytest

from data_utils.arrays import ImageArrays
from data_utils.fractions import select_fraction
from study.config.study import StudyConfig
from study.design.arms import Arm, list_arms
from study.design.points import Point
from study.search.plans import confirm_plans, grace_epochs, search_plans, steps_in_epoch
from study.search.searchers import make_searcher
from study.search.sequences import grid_points, random_points


def configured(**groups: object) -> StudyConfig:
    return StudyConfig.model_validate({"arms": {"fractions": [0.1, 1.0]}, "training": {"epochs": 8}, **groups})


def test_an_epoch_follows_from_the_images_of_the_arm(small_arrays: ImageArrays) -> None:
    config = configured(training={"batch_size": 8})
    images = len(select_fraction(small_arrays, 0.1, 0))
    assert images < 20
    assert steps_in_epoch(config, Arm(0.1, "off"), small_arrays) == -(-images // 8)
    assert steps_in_epoch(config, Arm(1.0, "off"), small_arrays) == 13  # 100 images, the last batch of 4
    fixed = configured(training={"steps_per_epoch": 5})
    assert [steps_in_epoch(fixed, Arm(fraction, "off"), small_arrays) for fraction in (0.1, 1.0)] == [5, 5]


@pytest.mark.parametrize(
    ("epochs", "steps", "in_epoch", "expected"),
    [(1, 0, 2, 1), (3, 0, 2, 3), (1, 10, 2, 5), (1, 11, 2, 6), (3, 4, 2, 3), (1, 100, 1000, 1)],
)
def test_the_first_rung_waits_for_epochs_and_gradient_steps(
    epochs: int, steps: int, in_epoch: int, expected: int
) -> None:
    config = configured(search={"grace_epochs": epochs, "grace_steps": steps})
    assert grace_epochs(config, in_epoch) == expected


@pytest.mark.parametrize("mode", ["grid", "random", "qmc", "tpe"])
def test_every_arm_has_the_same_budget_seeds_and_first_points(small_arrays: ImageArrays, mode: str) -> None:
    config = configured(search={"mode": mode, "tpe_startup": 3}, seed=5)
    arms = list_arms(config)
    plans = search_plans(config, arms, small_arrays)
    assert [plan.arm for plan in plans] == list(arms)
    assert {len(plan.seeds) for plan in plans} == {9 if mode == "grid" else 8}
    assert {seed for plan in plans for seed in plan.seeds} == {5}
    assert {(plan.phase, plan.epochs) for plan in plans} == {("search", 8)}
    first = [tuple(plan.searcher.suggest(index) for index in range(3)) for plan in plans]
    assert len(set(first)) == 1


@pytest.mark.parametrize("mode", ["random", "qmc", "tpe"])
def test_controls_get_the_budget_of_compared_arms_and_the_twin_points_of_its_own(
    small_arrays: ImageArrays, mode: str
) -> None:
    config = configured(
        arms={"fractions": [0.1]}, search={"mode": mode}, controls=["random", "shuffled", "published", "twin"]
    )
    plans = {plan.arm.name: plan for plan in search_plans(config, list_arms(config), small_arrays)}
    assert {name.partition("-")[2] for name in plans} == {"", "random", "shuffled", "published", "twin"}
    assert {(len(plan.seeds), plan.epochs, plan.cost) for plan in plans.values()} == {(8, 8, plans["WBC_10/off"].cost)}
    first = {name: plan.searcher.suggest(0) for name, plan in plans.items()}
    assert len(set(first.values())) == 2
    assert first["WBC_10/off-twin"] != first["WBC_10/off"]


@pytest.mark.parametrize("mode", ["random", "qmc", "tpe"])
def test_all_arms_but_the_twin_are_searched_from_the_seed_of_the_study(small_arrays: ImageArrays, mode: str) -> None:
    # Studies of all versions have the points of the study's seed on record: a continued one must find them again.
    config = configured(arms={"fractions": [0.1]}, search={"mode": mode}, controls=["random", "twin"], seed=5)
    expected = make_searcher(config.search, 5, "WBC_10/off").suggest(0)
    plans = search_plans(config, list_arms(config), small_arrays)
    assert {plan.arm.name for plan in plans if plan.searcher.suggest(0) == expected} == {
        "WBC_10/off",
        "WBC_10/sum",
        "WBC_10/sum-random",
    }


def test_the_points_of_a_twin_are_those_of_version_one(small_arrays: ImageArrays) -> None:
    # A literal: a study that was begun with any version must find its twin's points again.
    config = configured(arms={"fractions": [0.1]}, search={"mode": "random"}, controls=["twin"], seed=5)
    (twin,) = search_plans(config, [arm for arm in list_arms(config) if arm.control == "twin"], small_arrays)
    assert twin.searcher.suggest(0) == random_points(config.search, 3360003056, 1)[0]


def test_the_twin_of_a_grid_visits_the_same_grid(small_arrays: ImageArrays) -> None:
    config = configured(arms={"fractions": [0.1]}, search={"mode": "grid"}, controls=["twin"])
    visited = [
        [plan.searcher.suggest(index) for index in range(9)]
        for plan in search_plans(config, list_arms(config), small_arrays)
    ]
    assert visited == [grid_points(config.search)] * 3


def test_arms_share_neither_searcher_nor_rungs(small_arrays: ImageArrays) -> None:
    config = configured()
    plans = search_plans(config, list_arms(config), small_arrays)
    assert len({id(plan.searcher) for plan in plans}) == len({id(plan.rungs) for plan in plans}) == 4


def test_more_labels_cost_more_and_fusion_does_not_change_the_order(small_arrays: ImageArrays) -> None:
    config = configured(training={"epochs": 8, "batch_size": 10})
    plans = search_plans(config, list_arms(config), small_arrays)
    few = -(-len(select_fraction(small_arrays, 0.1, 0)) // 10)
    assert [plan.cost for plan in plans] == [8 * few, 8 * few, 80, 80]


def test_each_arm_has_the_grace_of_its_own_epochs(small_arrays: ImageArrays) -> None:
    config = configured(
        training={"epochs": 8, "batch_size": 50}, search={"grace_steps": 4, "scheduler": "asha", "reduction_factor": 2}
    )
    plans = search_plans(config, list_arms(config), small_arrays)
    rungs = [plan.rungs.milestones for plan in plans if plan.rungs is not None]
    assert rungs == [(4,), (4,), (2, 4), (2, 4)]


def test_without_a_scheduler_there_are_no_rungs(small_arrays: ImageArrays) -> None:
    config = configured(search={"scheduler": "none"})
    assert [plan.rungs for plan in search_plans(config, list_arms(config), small_arrays)] == [None] * 4


def test_every_winner_is_confirmed_with_every_seed_to_the_last_epoch(small_arrays: ImageArrays) -> None:
    config = configured(confirm={"seeds": 3}, seed=5)
    arms = list_arms(config)
    winners = pd.DataFrame(
        {
            # The analysis orders them as it likes.
            "arm": [arm.name for arm in reversed(arms)],
            "learning_rate": [1e-3, 2e-3, 3e-3, 4e-3],
            "weight_decay": [0.0, 1e-5, 1e-4, 1e-3],
            "settings": ['{"training.sampling": "balanced"}', "{}", "{}", "{}"],
        }
    )
    plans = confirm_plans(config, arms, small_arrays, winners)
    assert [plan.arm for plan in plans] == list(arms)
    assert [[plan.searcher.suggest(index) for index in range(3)] for plan in plans] == [
        [Point(4e-3, 1e-3)] * 3,
        [Point(3e-3, 1e-4)] * 3,
        [Point(2e-3, 1e-5)] * 3,
        [Point(1e-3, 0.0, '{"training.sampling": "balanced"}')] * 3,
    ]
    # Compared arms share their seeds, so that differences are paired; none was used in the search.
    assert [list(plan.seeds) for plan in plans] == [[6, 7, 8]] * 4
    assert [plan.rungs for plan in plans] == [None] * 4
    assert {(plan.phase, plan.epochs) for plan in plans} == {("confirm", 8)}
    assert [plan.cost for plan in plans] == [plan.cost for plan in search_plans(config, arms, small_arrays)]
