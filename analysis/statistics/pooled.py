"""Mean differences between arms and their baselines over the fractions."""

from __future__ import annotations

from functools import reduce

import numpy as np
import pandas as pd

from analysis.arms import setting_of
from analysis.records.schema import subset_name
from analysis.statistics.comparisons import KINDS, Comparison, common_seeds, list_comparisons, take_seeds
from analysis.statistics.estimates import estimate_all, score_arms
from analysis.statistics.predictions import Predictions
from analysis.statistics.scores import METRICS, combine_scores

_KEYS = ("kind", "setting", "baseline_setting", "metric", "split", "subsets")
COLUMNS = (*_KEYS, "difference", "low", "high", "p", "seeds", "images")


def mean_differences(predictions: Predictions) -> pd.DataFrame:
    """Mean differences over the fractions at which a setting and its baseline both are; see `verdicts.compare_arms`.

    Every fraction has the same weight. Images and seeds are the same at all fractions and count once. Runs are paired by the
    seeds that all of these arms share; a fraction at which arm and baseline share fewer than two seeds is left out.

    Args:
        predictions: What the confirmed runs predicted for each image.

    Returns:
        One row per kind of comparison (`analysis.statistics.comparisons.KINDS`), setting, baseline and metric with two fractions
        and two common seeds at least: the columns of `COLUMNS`. subsets: those fractions, "WBC_1, WBC_10"; low, high: 95 %,
        of this row alone; p: two-sided, not adjusted for anything. Differences are shares. Ordered by metric, kind, setting.
    """
    groups: dict[tuple[str, str, str], list[Comparison]] = {}
    for each in list_comparisons(predictions):
        if len(common_seeds(each)) >= 2:
            groups.setdefault((each.kind, setting_of(each.arm.arm), setting_of(each.baseline.arm)), []).append(each)
    scores = score_arms(predictions)
    ordered = sorted(groups.items(), key=lambda group: (KINDS.index(group[0][0]), group[0][1]))
    rows, means = [], []
    for metric in METRICS:
        for (kind, setting, baseline), comparisons in ordered:
            seeds = reduce(np.intersect1d, [common_seeds(each) for each in comparisons])
            if len(comparisons) < 2 or len(seeds) < 2:
                continue
            parts = [
                (sign / len(comparisons), take_seeds(scores[arm.arm][metric], arm, seeds))
                for each in comparisons
                for sign, arm in ((1.0, each.arm), (-1.0, each.baseline))
            ]
            means.append(combine_scores(parts))
            subsets = ", ".join(subset_name(each.arm.fraction) for each in comparisons)
            rows.append(
                (kind, setting, baseline, metric, predictions.split, subsets, len(seeds), len(predictions.labels))
            )
    frame = pd.DataFrame(rows, columns=[*_KEYS, "seeds", "images"])
    numbers = estimate_all(means, predictions, "difference").rename(columns={"value": "difference"})
    return pd.concat([frame, numbers], axis=1)[list(COLUMNS)]
