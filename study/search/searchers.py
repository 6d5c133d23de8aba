"""Searchers: each hands out the points of one arm's trials and hears how they did."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

from analysis.records.schema import TrialStatus
from study.design.points import Point
from study.search.sequences import clip_point, grid_points, quasi_random_points, random_points

if TYPE_CHECKING:
    from collections.abc import Sequence

    from study.config.search import SearchConfig


class Searcher(Protocol):
    """Hands out the points of one arm's trials and hears how they did."""

    def suggest(self, index: int) -> Point:
        """The point of the arm's trial number `index` (0-based). Each index is asked for once, in ascending order."""

    def observe(self, index: int, epoch: int, score: float) -> None:
        """A running trial's score (higher is better) after an epoch."""

    def end(self, index: int, status: TrialStatus, score: float | None) -> None:
        """A trial ended with a status of the record schema and its best score, None when it has none."""

    def replay(self, index: int, point: Point, scores: dict[int, float], status: TrialStatus) -> None:
        """Learn of a recorded trial: its best score so far by epoch, and its status, which may be ``running``."""


class FixedSearcher:
    """Hands out listed points whatever the results are: grid, random and quasi-random search, and confirmations."""

    def __init__(self, points: Sequence[Point | tuple[float, float]]):
        self._points = [Point(*point) for point in points]

    def suggest(self, index: int) -> Point:
        """The listed point."""
        return self._points[index]

    def observe(self, index: int, epoch: int, score: float) -> None:
        """Nothing to learn."""

    def end(self, index: int, status: TrialStatus, score: float | None) -> None:
        """Nothing to learn."""

    def replay(self, index: int, point: Point, scores: dict[int, float], status: TrialStatus) -> None:
        """Nothing to learn."""


def make_searcher(
    config: SearchConfig, seed: int, arm: str, first: Sequence[Point | tuple[float, float]] = ()
) -> Searcher:
    """The searcher of one arm. All modes but `tpe` give every arm the same points.

    Args:
        config: Mode, space and budget.
        seed: Seed of the arm's points.
        arm: Name of the arm.
        first: Points to begin with. They count in the budget; the mode `grid` ignores them.
    """
    begin = [clip_point(config, point) for point in first]
    if config.mode == "grid":
        return FixedSearcher(grid_points(config))
    if config.mode == "tpe":
        from study.search.tpe import TpeSearcher

        return TpeSearcher(config, seed, arm, config.budget, begin)
    draw = random_points if config.mode == "random" else quasi_random_points
    return FixedSearcher([*begin, *draw(config, seed, config.budget)][: config.budget])
