"""Which arms meet which baselines, on which seeds."""

from __future__ import annotations

import numpy as np

from analysis.statistics.comparisons import Comparison, common_seeds, list_comparisons, take_seeds
from analysis.statistics.predictions import ArmPredictions, Predictions
from analysis.statistics.scores import score_runs

LABELS = np.array([0, 0, 1, 1])


def arm(name: str, fusion: str, control: str = "", seeds: tuple[int, ...] = (1, 2, 3)) -> ArmPredictions:
    predicted = np.stack([np.where(np.arange(4) < seed, LABELS, 1 - LABELS) for seed in seeds])
    return ArmPredictions(name, 0.1, fusion, "prcc", control, np.array(seeds), predicted)


def test_arms_of_other_fractions_are_not_compared() -> None:
    off, fused = arm("WBC_10/off", "off"), arm("WBC_10/sum", "sum")
    elsewhere = ArmPredictions("WBC_1/sum", 0.01, "sum", "prcc", "", fused.seeds, fused.predicted)
    made = list_comparisons(Predictions("test", ("a", "b"), LABELS, (elsewhere, off, fused)))
    assert [(each.kind, each.arm.arm, each.baseline.arm) for each in made] == [("transfer", "WBC_10/sum", "WBC_10/off")]


def test_only_runs_of_common_seeds_are_taken() -> None:
    comparison = Comparison("transfer", arm("WBC_10/sum", "sum", seeds=(1, 3, 4)), arm("WBC_10/off", "off"))
    assert common_seeds(comparison).tolist() == [1, 3]
    scores = score_runs(LABELS, comparison.arm.predicted, 2)["accuracy"]
    taken = take_seeds(scores, comparison.arm, common_seeds(comparison))
    assert taken.per_seed.tolist() == [0.25, 0.75] and taken.contributions.shape == (2, 4)
    assert take_seeds(scores, comparison.arm, comparison.arm.seeds) is scores
