"""What each arm gets in the search and in the confirmation."""

from __future__ import annotations

import hashlib
import math
from dataclasses import dataclass
from types import MappingProxyType
from typing import TYPE_CHECKING

from analysis.records.schema import Phase
from study.design.trials import recorded_point
from study.search.rungs import Rungs
from study.search.searchers import FixedSearcher, make_searcher

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    import pandas as pd

    from data_utils.arrays import ImageArrays
    from study.config.study import StudyConfig
    from study.design.arms import Arm
    from study.design.points import Point
    from study.search.searchers import Searcher


@dataclass
class ArmPlan:
    """What one arm is to get in one phase."""

    phase: Phase
    arm: Arm
    searcher: Searcher
    seeds: Sequence[int]
    """Seed of each trial; their number is the arm's budget."""
    epochs: int
    """Number of epochs of a full-length trial."""
    cost: int
    """Number of gradient steps of a full-length trial; costlier arms go first."""
    rungs: Rungs | None = None
    """Where trials of the arm are compared and stopped; None where none is."""


def steps_in_epoch(config: StudyConfig, arm: Arm, arrays: ImageArrays) -> int:
    """Number of gradient steps in one epoch of an arm."""
    from data_utils.fractions import select_fraction

    return config.training.steps_in_epoch(len(select_fraction(arrays, arm.fraction, config.seed)))


def grace_epochs(config: StudyConfig, steps: int) -> int:
    """Epoch of the first rung of an arm with `steps` gradient steps in an epoch."""
    return max(config.search.grace_epochs, math.ceil(config.search.grace_steps / steps))


def _points_seed(config: StudyConfig, arm: Arm) -> int:
    """Seed of an arm's points: the study's, or another for the twin, which is tuned on its own."""
    if arm.control != "twin":
        return config.seed
    return int.from_bytes(hashlib.sha256(f"{config.seed}/twin".encode()).digest()[:4], "big")


def search_plans(
    config: StudyConfig,
    arms: Sequence[Arm],
    arrays: ImageArrays,
    first_points: Mapping[str, Point] = MappingProxyType({}),
) -> list[ArmPlan]:
    """Plan the search: the same budget over the same space for every arm, each with a searcher and rungs of its own.

    Args:
        config: Configuration of the study.
        arms: Arms to be searched, controls too.
        arrays: Images of blood cells.
        first_points: Point of an arm's first trial, by the arm's name; arms may be missing.
    """
    plans = []
    for arm in arms:
        steps = steps_in_epoch(config, arm, arrays)
        rungs = None
        if config.search.scheduler == "asha":
            rungs = Rungs(grace_epochs(config, steps), config.training.epochs, config.search.reduction_factor)
        plans.append(
            ArmPlan(
                phase=Phase.SEARCH,
                arm=arm,
                searcher=make_searcher(
                    config.search,
                    _points_seed(config, arm),
                    arm.name,
                    [first_points[arm.name]] if arm.name in first_points else (),
                ),
                seeds=[config.seed] * config.search.budget,
                epochs=config.training.epochs,
                cost=steps * config.training.epochs,
                rungs=rungs,
            )
        )
    return plans


def confirm_plans(
    config: StudyConfig, arms: Sequence[Arm], arrays: ImageArrays, winners: pd.DataFrame
) -> list[ArmPlan]:
    """Plan the confirmation: every arm's winning point with every confirmation seed, to the last epoch.

    Args:
        config: Configuration of the study.
        arms: Arms to be confirmed.
        arrays: Images of blood cells.
        winners: Table of winners: arm, learning_rate, weight_decay, settings; a row for each arm, in any order.
    """
    points = {row["arm"]: recorded_point(row) for row in winners.to_dict("records")}
    return [
        ArmPlan(
            phase=Phase.CONFIRM,
            arm=arm,
            searcher=FixedSearcher([points[arm.name]] * config.confirm.seeds),
            seeds=config.confirm_seeds(),
            epochs=config.training.epochs,
            cost=steps_in_epoch(config, arm, arrays) * config.training.epochs,
        )
        for arm in arms
    ]
