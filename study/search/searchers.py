"""Where in the searched space an arm's trials lie: learning rate, weight decay and what else the configuration searches."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

from study.design.points import Point
from study.search.sequences import clip_point, quasi_random_points, random_points
from study.search.tpe import TpePoints

if TYPE_CHECKING:
    from collections.abc import Sequence

    from study.config.search import SearchConfig


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

    def __init__(self, points: Sequence[Point | tuple[float, float]]):
        self._points = [Point(*point) for point in points]

    def suggest(self, index: int) -> Point:
        """The listed point."""
        return self._points[index]

    def observe(self, index: int, epoch: int, score: float) -> None:
        """Nothing to learn."""

    def end(self, index: int, status: str, score: float | None) -> None:
        """Nothing to learn."""

    def replay(self, index: int, point: Point, scores: dict[int, float], status: str) -> None:
        """Nothing to learn."""


def search_points(
    config: SearchConfig, seed: int, arm: str, first: Sequence[Point | tuple[float, float]] = ()
) -> Points:
    """The searcher of one arm. All modes but `tpe` give every arm the same points.

    Args:
        config: Mode, space and budget.
        seed: Of the study.
        arm: Its name.
        first: Points to begin with, part of the budget; not for the mode `grid`.
    """
    begin = [clip_point(config, point) for point in first]
    if config.mode == "grid":
        return FixedPoints(list(config.grid))
    if config.mode == "tpe":
        return TpePoints(config, seed, arm, config.budget, begin)
    draw = random_points if config.mode == "random" else quasi_random_points
    return FixedPoints([*begin, *draw(config, seed, config.budget)][: config.budget])
