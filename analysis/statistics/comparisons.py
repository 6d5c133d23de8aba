"""Which arms are compared with which baselines, and on which seeds."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from analysis.arms import OFF
from analysis.statistics.predictions import ArmPredictions, Integers, Predictions
from analysis.statistics.scores import Scores

KINDS = ("transfer", "random", "control", "masks", "network", "weights")
"""Kinds of comparison, in the order of the tables; `Comparison.kind` says what each is."""


@dataclass(frozen=True)
class Comparison:
    """Two arms at one fraction."""

    kind: str
    """``transfer`` (a fusion arm against off), ``random`` (a fusion arm against random encoders), ``control`` (a control
    against off), ``masks`` (off that learns from masks too against off), ``network`` (another classifier against off) or
    ``weights`` (another classifier that starts from given weights against the same with random ones)."""
    arm: ArmPredictions
    """The arm that may gain."""
    baseline: ArmPredictions
    """The arm that it is compared with."""


def list_comparisons(predictions: Predictions) -> list[Comparison]:
    """All comparisons of a study: by fraction, the fusion arms first.

    A fusion arm meets ``off``, and the random control with its own fusion and encoders; a control meets ``off``. All of them
    learn from masks, or none of them does. Another classifier meets ``off``, and itself with random initial weights.
    """
    made = []
    for fraction in sorted({arm.fraction for arm in predictions.arms}):
        arms = [arm for arm in predictions.arms if arm.fraction == fraction]
        off = {arm.segmentation: arm for arm in arms if arm.is_off}
        for arm in arms:
            baseline = off.get(arm.segmentation)
            if arm.control:
                made += [Comparison("control", arm, baseline)] if baseline else []
            elif arm.network:
                made += [Comparison("network", arm, baseline)] if baseline else []
                made += [Comparison("weights", arm, other) for other in arms if _is_random_counterpart(other, arm)]
            elif arm.fusion != OFF:
                made += [Comparison("transfer", arm, baseline)] if baseline else []
                made += [Comparison("random", arm, other) for other in arms if _is_random_counterpart(other, arm)]
            elif arm.segmentation and "" in off:
                made.append(Comparison("masks", arm, off[""]))
    return made


def _is_random_counterpart(other: ArmPredictions, arm: ArmPredictions) -> bool:
    same = (other.network, other.fusion, other.segmentation) == (arm.network, arm.fusion, arm.segmentation)
    # A network's own weights are all that it starts from: its counterpart has none.
    return other.control == "random" and same and (bool(arm.network) or other.encoders == arm.encoders)


def common_seeds(comparison: Comparison) -> Integers:
    """The seeds that both arms have, ascending."""
    first, second = comparison.arm.seeds, comparison.baseline.seeds
    return first if np.array_equal(first, second) else np.intersect1d(first, second)


def take_seeds(scores: Scores, arm: ArmPredictions, seeds: Integers) -> Scores:
    """The scores of those runs of an arm that have these seeds, all of which it has."""
    if len(seeds) == len(arm.seeds):
        return scores
    rows = np.isin(arm.seeds, seeds)
    return Scores(scores.per_seed[rows], scores.contributions[rows], scores.unit_gain)
