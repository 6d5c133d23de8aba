"""What an arm adds on average over the fractions: one question in the place of four, with more images behind the answer."""

from __future__ import annotations

from functools import reduce
from typing import Any

import numpy as np
import pandas as pd

from analysis.answers import Answers
from analysis.comparison import setting_of
from analysis.evidence import KINDS, Comparison, list_comparisons
from analysis.intervals import METRICS, Scores, combine_scores, crossed_interval, score_runs

COLUMNS = [
    "kind",
    "setting",
    "baseline_setting",
    "metric",
    "split",
    "fractions",
    "difference",
    "low",
    "high",
    "p",
    "seeds",
]
COLUMNS += ["images"]


def mean_differences(answers: Answers) -> pd.DataFrame:
    """Differences of `analysis.evidence.judge`, averaged over the fractions at which a setting and its baseline both are.

    Every fraction counts alike. Runs are paired by the seeds that all of these arms share.

    Args:
        answers: Of the confirmed runs.

    Returns:
        One row per kind of comparison (`analysis.evidence.KINDS`), setting, baseline and metric with two fractions and two
        common seeds at least: the columns of `COLUMNS`. fractions: their number; low, high: 95 %, of this row alone; p:
        two-sided, not adjusted for anything. Differences are shares. Ordered by metric, kind, setting.
    """
    groups: dict[tuple[str, str, str], list[Comparison]] = {}
    for each in list_comparisons(answers):
        groups.setdefault((each.kind, setting_of(each.arm.arm), setting_of(each.baseline.arm)), []).append(each)
    rows = []
    for (kind, setting, baseline), comparisons in groups.items():
        arms = [arm for each in comparisons for arm in (each.arm, each.baseline)]
        seeds = reduce(np.intersect1d, [arm.seeds for arm in arms])
        if len(comparisons) < 2 or len(seeds) < 2:
            continue
        scores = [
            score_runs(answers.labels, arm.predicted[np.isin(arm.seeds, seeds)], len(answers.classes)) for arm in arms
        ]
        for metric in METRICS:
            found = _mean([each[metric] for each in scores], answers)
            rows.append(
                {
                    "kind": kind,
                    "setting": setting,
                    "baseline_setting": baseline,
                    "metric": metric,
                    "split": answers.split,
                }
                | {"fractions": len(comparisons), "seeds": len(seeds), "images": len(answers.labels), **found}
            )
    frame = pd.DataFrame(rows, columns=COLUMNS)
    order = [[METRICS.index(row.metric), KINDS.index(row.kind), row.setting] for row in frame.itertuples()]
    return frame.iloc[sorted(range(len(frame)), key=lambda row: order[row])].reset_index(drop=True)


def _mean(scores: list[Scores], answers: Answers) -> dict[str, Any]:
    """Of arm, baseline, arm, baseline, ...: the mean difference with its interval."""
    weight = 2 / len(scores)
    parts = [(weight if position % 2 == 0 else -weight, each) for position, each in enumerate(scores)]
    estimate = crossed_interval(combine_scores(parts), answers.labels, groups=answers.groups)
    numbers = {name: float(getattr(estimate, name)) for name in ("low", "high", "p")}
    return {"difference": float(estimate.value), **numbers}
