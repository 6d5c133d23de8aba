"""What each arm gets in the search and in the confirmation."""

from __future__ import annotations

import hashlib
import math
from dataclasses import dataclass
from types import MappingProxyType
from typing import TYPE_CHECKING

from analysis.records.schema import Phase
from study.design.trials import recorded_point
from study.search.searchers import FixedSearcher, make_searcher

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    import pandas as pd

    from data_utils.cache import ImageArrays
    from study.config.study import StudyConfig
    from study.design.arms import Arm
    from study.design.points import Point
    from study.search.rungs import Rungs
    from study.search.searchers import Searcher


def steps_in_epoch(config: StudyConfig, arm: Arm, arrays: ImageArrays) -> int:
    """Gradient steps of one epoch of an arm."""
    from data_utils.fractions import select_fraction

    return config.training.steps_in_epoch(len(select_fraction(arrays, arm.fraction, config.seed)))


def grace_epochs(config: StudyConfig, steps: int) -> int:
    """Epoch of the first rung of an arm with `steps` gradient steps in an epoch."""
    return max(config.search.grace_epochs, math.ceil(config.search.grace_steps / steps))


def _points_seed(config: StudyConfig, arm: Arm) -> int:
    """Seed of an arm's points: the study's; the twin draws its own, since it is tuned on its own (a grid is a grid)."""
    if arm.control != "twin":
        return config.seed
    return int.from_bytes(hashlib.sha256(f"{config.seed}/twin".encode()).digest()[:4], "big")


def search_plans(
    config: StudyConfig,
    arms: Sequence[Arm],
    arrays: ImageArrays,
    first_points: Mapping[str, Point] = MappingProxyType({}),
) -> list[ArmPlan]:
    """The same budget over the same space for every arm, controls too, each with a searcher and rungs of its own.

    Args:
        config: Of the study.
        arms: To be searched.
        arrays: Blood cell images.
        first_points: Where an arm's first trial lies, by the arm's name; arms may be missing.
    """
    from study.search.rungs import Rungs

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
    """Every arm's winning point with every confirmation seed, to the last epoch."""
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


@dataclass
class ArmPlan:
    """What one arm is to get in one phase."""

    phase: Phase
    arm: Arm
    searcher: Searcher
    seeds: Sequence[int]
    """One for each trial: their number is the arm's budget."""
    epochs: int
    """Of a full-length trial."""
    cost: int
    """Gradient steps of a full-length trial; costlier arms go first."""
    rungs: Rungs | None = None
