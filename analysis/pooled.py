"""What an arm adds on average over the fractions: one question in the place of four, with more runs behind the answer."""

from __future__ import annotations

from functools import reduce

import numpy as np
import pandas as pd

from analysis.answers import Answers
from analysis.comparison import setting_of
from analysis.evidence import KINDS, Comparison, list_comparisons
from analysis.intervals import METRICS, combine_scores, crossed_interval, score_runs
from analysis.schema import subset_name

_KEYS = ("kind", "setting", "baseline_setting", "metric", "split", "subsets")
COLUMNS = (*_KEYS, "difference", "low", "high", "p", "seeds", "images")


def mean_differences(answers: Answers) -> pd.DataFrame:
    """Differences of `analysis.evidence.judge`, averaged over the fractions at which a setting and its baseline both are.

    Every fraction counts alike. Images and seeds are the same at all fractions, and count once. Runs are paired by the seeds
    that all of these arms share; a fraction at which arm and baseline share fewer than two is left out.

    Args:
        answers: Of the confirmed runs.

    Returns:
        One row per kind of comparison (`analysis.evidence.KINDS`), setting, baseline and metric with two fractions and two
        common seeds at least: the columns of `COLUMNS`. subsets: those fractions, "WBC_1, WBC_10"; low, high: 95 %, of this
        row alone; p: two-sided, not adjusted for anything. Differences are shares. Ordered by metric, kind, setting.
    """
    groups: dict[tuple[str, str, str], list[Comparison]] = {}
    for each in list_comparisons(answers):
        if len(np.intersect1d(each.arm.seeds, each.baseline.seeds)) >= 2:
            groups.setdefault((each.kind, setting_of(each.arm.arm), setting_of(each.baseline.arm)), []).append(each)
    scores = {
        id(arm): score_runs(answers.labels, arm.predicted, len(answers.classes))
        for comparisons in groups.values()
        for each in comparisons
        for arm in (each.arm, each.baseline)
    }
    rows = []
    for (kind, setting, baseline), comparisons in groups.items():
        seeds = reduce(np.intersect1d, [arm.seeds for each in comparisons for arm in (each.arm, each.baseline)])
        if len(comparisons) < 2 or len(seeds) < 2:
            continue
        for metric in METRICS:
            parts = [
                (sign / len(comparisons), scores[id(arm)][metric].of_runs(np.isin(arm.seeds, seeds)))
                for each in comparisons
                for sign, arm in ((1.0, each.arm), (-1.0, each.baseline))
            ]
            estimate = crossed_interval(combine_scores(parts), answers.labels, groups=answers.groups)
            subsets = ", ".join(subset_name(each.arm.fraction) for each in comparisons)
            numbers = (float(each) for each in (estimate.value, estimate.low, estimate.high, estimate.p))
            key = (kind, setting, baseline, metric, answers.split, subsets)
            rows.append((*key, *numbers, len(seeds), len(answers.labels)))
    rows.sort(key=lambda row: (METRICS.index(row[3]), KINDS.index(row[0]), row[1]))
    return pd.DataFrame(rows, columns=list(COLUMNS))
