"""Where in the space of learning rate and weight decay an arm's trials lie."""

from __future__ import annotations

import hashlib
import math
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Sequence

    import optuna

    from study.config import SearchConfig

Point = tuple[float, float]
"""(learning rate, weight decay)"""


class Points(Protocol):
    """One arm's searcher: hands out points and hears how they did."""

    def suggest(self, index: int) -> Point:
        """The point of the arm's trial number `index` (0-based); each index is asked for once, ascending."""

    def observe(self, index: int, epoch: int, score: float) -> None:
        """A running trial's score (higher is better) after an epoch."""

    def end(self, index: int, status: str, score: float | None) -> None:
        """A trial ended with a status of the record schema and its best score, None when it has none."""

    def replay(self, index: int, point: Point, scores: dict[int, float], status: str) -> None:
        """Take in a trial from the records: its scores by epoch and its status, which may be ``running``."""


class FixedPoints:
    """Points that follow from the index alone and ignore results: grid, random and quasi-random search, and confirmations."""

    def __init__(self, points: list[Point]):
        self._points = points

    def suggest(self, index: int) -> Point:
        """The listed point."""
        return self._points[index]

    def observe(self, index: int, epoch: int, score: float) -> None:
        """Nothing to learn."""

    def end(self, index: int, status: str, score: float | None) -> None:
        """Nothing to learn."""

    def replay(self, index: int, point: Point, scores: dict[int, float], status: str) -> None:
        """Nothing to learn."""


def _scaled(unit: float, bounds: tuple[float, float]) -> float:
    """A number in [0, 1) mapped to the bounds on a logarithmic scale."""
    low, high = math.log(bounds[0]), math.log(bounds[1])
    # Rounding can leave the bounds by one unit in the last place, which Optuna would warn about.
    return min(max(math.exp(low + unit * (high - low)), bounds[0]), bounds[1])


def random_points(config: SearchConfig, seed: int, count: int) -> list[Point]:
    """Log-uniform points. The first n of a longer list are the shorter list, so that a budget can grow."""
    import numpy as np

    units = np.random.default_rng([seed, 1]).random((count, 2))
    return [(_scaled(float(a), config.learning_rate), _scaled(float(b), config.weight_decay)) for a, b in units]


def quasi_random_points(config: SearchConfig, seed: int, count: int) -> list[Point]:
    """Scrambled Sobol points (scipy), more even than random ones. A longer list begins with the shorter."""
    from scipy.stats import qmc

    # Powers of two are what the sequence is made for; scipy warns about any other count.
    units = qmc.Sobol(d=2, scramble=True, rng=seed).random_base2(max(1, math.ceil(math.log2(max(count, 2)))))[:count]
    return [(_scaled(float(a), config.learning_rate), _scaled(float(b), config.weight_decay)) for a, b in units]


class TpePoints:
    """Optuna's tree-structured Parzen estimator, told the truth about stopped, failed and running trials.

    A suggestion is a function of the seed, the arm, the index and what was observed so far: the sampler is seeded anew for each
    index, so that a study that was interrupted does not draw its first points again.
    """

    def __init__(self, config: SearchConfig, seed: int, arm: str, budget: int, first: Sequence[Point] = ()):
        """Make a searcher that has seen nothing.

        Args:
            config: Space and number of points before the model suggests.
            seed: Of the study.
            arm: Its name.
            budget: Trials of the arm.
            first: Points to begin with, before the quasi-random ones and among their number.
        """
        import optuna

        # Optuna logs each trial at INFO; our records and progress say the same.
        optuna.logging.set_verbosity(optuna.logging.WARNING)
        self._optuna = optuna
        self._seed, self._arm = seed, arm
        startup = min(max(config.tpe_startup, len(first)), budget)
        self._startup = [*first, *quasi_random_points(config, seed, startup)][:startup]
        self._space: dict[str, optuna.distributions.BaseDistribution] = {
            "learning_rate": optuna.distributions.FloatDistribution(*config.learning_rate, log=True),
            "weight_decay": optuna.distributions.FloatDistribution(*config.weight_decay, log=True),
        }
        self._study = optuna.create_study(study_name=arm, direction="maximize")
        self._trials: dict[int, optuna.Trial] = {}

    @property
    def study(self) -> optuna.Study:
        """The arm's Optuna study."""
        return self._study

    def suggest(self, index: int) -> Point:
        """A quasi-random point while the model has too little to go on, then the sampler's."""
        trial = self._ask(index, self._startup[index] if index < len(self._startup) else None)
        return float(trial.params["learning_rate"]), float(trial.params["weight_decay"])

    def observe(self, index: int, epoch: int, score: float) -> None:
        """Store an intermediate value."""
        self._trials[index].report(score, epoch)

    def end(self, index: int, status: str, score: float | None) -> None:
        """Tell Optuna: completed, pruned at a rung, or failed."""
        states = self._optuna.trial.TrialState
        state = {"completed": states.COMPLETE, "stopped": states.PRUNED}.get(status, states.FAIL)
        self._study.tell(self._trials.pop(index), score if status == "completed" else None, state=state)

    def replay(self, index: int, point: Point, scores: dict[int, float], status: str) -> None:
        """Add the trial as it stands."""
        self._ask(index, point)
        for epoch, score in scores.items():
            self.observe(index, epoch, score)
        if status != "running":
            self.end(index, status, max(scores.values(), default=None))

    def _ask(self, index: int, point: Point | None) -> optuna.Trial:
        if point is not None:
            self._study.enqueue_trial({"learning_rate": point[0], "weight_decay": point[1]})
        digest = hashlib.sha256(f"{self._seed}/{self._arm}/{index}".encode()).digest()
        # constant_liar counts running trials as bad, so that workers asking at once do not get the same point.
        self._study.sampler = self._optuna.samplers.TPESampler(
            n_startup_trials=0, constant_liar=True, seed=int.from_bytes(digest[:4], "big")
        )
        self._trials[index] = self._study.ask(self._space)
        return self._trials[index]


def clip_point(config: SearchConfig, point: Point) -> Point:
    """The nearest point inside the ranges."""
    return (
        min(max(point[0], config.learning_rate[0]), config.learning_rate[1]),
        min(max(point[1], config.weight_decay[0]), config.weight_decay[1]),
    )


def search_points(config: SearchConfig, seed: int, arm: str, first: Sequence[Point] = ()) -> Points:
    """The searcher of one arm. All modes but `tpe` give every arm the same points.

    Args:
        config: Mode, space and budget.
        seed: Of the study.
        arm: Its name.
        first: Points to begin with, part of the budget; not for the mode `grid`.
    """
    first = [clip_point(config, point) for point in first]
    if config.mode == "grid":
        return FixedPoints(list(config.grid))
    if config.mode == "tpe":
        return TpePoints(config, seed, arm, config.budget, first)
    draw = random_points if config.mode == "random" else quasi_random_points
    return FixedPoints([*first, *draw(config, seed, config.budget)][: config.budget])
