"""Scores of a study's arms with their intervals, as frames."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Literal

import numpy as np
import pandas as pd

from analysis.arms import setting_of
from analysis.records.schema import subset_name
from analysis.statistics.intervals import crossed_interval
from analysis.statistics.predictions import Predictions, read_predictions
from analysis.statistics.scores import METRICS, Scores, score_runs, stack_scores

if TYPE_CHECKING:
    from analysis.records.study import Study

ESTIMATE_COLUMNS = (
    "value",
    "low",
    "high",
    "p",
    "standard_error",
    "degrees_of_freedom",
    "seed_sd",
    "seed_part",
    "image_part",
    "interaction_part",
    "image_freedom",
)
"""Fields of `analysis.statistics.intervals.Estimate` that `estimate_all` gives."""


def validation_intervals(study: Study) -> pd.DataFrame:
    """`arm_intervals` of a study's confirmed runs on the validation images, computed once for a study.

    Raises:
        StudyError: No confirmed runs, or predictions that do not pair.
    """
    return study.remember(_validation_intervals)


def _validation_intervals(study: Study) -> pd.DataFrame:
    return arm_intervals(read_predictions(study, "val"))


def arm_intervals(predictions: Predictions) -> pd.DataFrame:
    """Every arm's metrics with intervals over seeds and images.

    Returns:
        One row per arm and metric: fraction, subset, arm, setting, control, metric, split, value (mean over seeds), low,
        high (95 %, inside [0, 1]; missing for a single seed), seed_sd, seeds, images, standard_error, degrees_of_freedom (of
        the value, seeds and images both varying). Ordered by metric, fraction, arm.
    """
    scores = score_arms(predictions)
    rows = [
        {
            "fraction": arm.fraction,
            "subset": subset_name(arm.fraction),
            "arm": arm.arm,
            "setting": setting_of(arm.arm),
            "control": arm.control,
            "metric": metric,
            "split": predictions.split,
            "value": float(scores[arm.arm][metric].per_seed.mean()),
            "seeds": len(arm.seeds),
            "images": len(predictions.labels),
        }
        for metric in METRICS
        for arm in predictions.arms
    ]
    columns = ["fraction", "subset", "arm", "setting", "control", "metric", "split", "value", "seeds", "images"]
    shown = [scores[arm.arm][metric] for metric in METRICS for arm in predictions.arms]
    numbers = estimate_all(shown, predictions, "share")
    errors = ["standard_error", "degrees_of_freedom"]
    frame = pd.concat([pd.DataFrame(rows, columns=columns), numbers[["low", "high", "seed_sd", *errors]]], axis=1)
    return frame[[*columns[:8], "low", "high", "seed_sd", "seeds", "images", *errors]]


def score_arms(predictions: Predictions) -> dict[str, dict[str, Scores]]:
    """Score all arms; those with as many seeds are scored together, as simulations make many small studies.

    Returns:
        Name of the arm -> metric -> scores of its runs.
    """
    found: dict[str, dict[str, Scores]] = {arm.arm: {} for arm in predictions.arms}
    counts = np.array([len(arm.seeds) for arm in predictions.arms], dtype=np.int64)
    for count in np.unique(counts):
        members = np.flatnonzero(counts == count)
        predicted = np.stack([predictions.arms[row].predicted for row in members])
        for metric, scores in score_runs(predictions.labels, predicted, len(predictions.classes)).items():
            for position, row in enumerate(members):
                each = (scores.per_seed[position], scores.contributions[position], scores.unit_gain[position])
                found[predictions.arms[row].arm][metric] = Scores(*each)
    return found


def estimate_all(
    scores: Sequence[Scores], predictions: Predictions, scale: Literal["difference", "share"]
) -> pd.DataFrame:
    """One row of numbers for each of the scores; missing where there are fewer than two seeds.

    Returns:
        value, low, high, p and what else `analysis.statistics.intervals.Estimate` has. Bounds of a difference lie in [-1, 1].
    """
    table = np.full((len(scores), len(ESTIMATE_COLUMNS)), np.nan)
    counts = np.array([each.per_seed.shape[-1] for each in scores], dtype=np.int64)
    # Scores of as many seeds are computed together: a study has hundreds of intervals.
    for count in np.unique(counts[counts >= 2]):
        members = np.flatnonzero(counts == count)
        stacked = stack_scores([scores[int(row)] for row in members])
        estimate = crossed_interval(stacked, predictions.labels, scale, groups=predictions.groups)
        table[members] = np.stack([getattr(estimate, name) for name in ESTIMATE_COLUMNS], axis=1)
    found = pd.DataFrame(table, columns=list(ESTIMATE_COLUMNS))
    if scale == "difference":
        # No two shares differ by more than one; an interval over two seeds can be longer than that.
        found[["low", "high"]] = found[["low", "high"]].clip(-1, 1)
    return found
