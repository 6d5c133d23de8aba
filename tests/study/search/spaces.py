"""Spaces that tests of the search share."""

from __future__ import annotations

from study.config.search import SearchConfig
from study.design.points import Point
from study.search.searchers import Searcher

CONFIG = SearchConfig(mode="tpe", trials_per_arm=8, tpe_startup=2)

ALSO = {
    "training.loss_weights": ["none", "inverse", "effective"],
    "training.effective_beta": {"low": 0.5, "high": 0.9},
    "training.sampling": ["natural", "balanced"],
}


def searching(mode: str, also: object = None, **more: object) -> SearchConfig:
    values = {"mode": mode, "trials_per_arm": 12, "tpe_startup": 6, **more}
    return SearchConfig.model_validate(values | {"also": ALSO if also is None else also})


def suggest_all(searcher: Searcher, count: int = 12, score: float = 0.5) -> list[Point]:
    found = []
    for index in range(count):
        found.append(searcher.suggest(index))
        searcher.end(index, "completed", score)
    return found
