"""Several runs side by side: what each arm reached in each run, and how they differ."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd
from dash import html

from analysis.arms import arm_order
from analysis.explorer.comparison_view import show_value
from analysis.metrics import SPLIT_TITLES
from analysis.records.errors import StudyError
from analysis.records.study import Study
from analysis.statistics.confusion import shown_split
from analysis.statistics.estimates import arm_intervals, validation_intervals
from analysis.statistics.predictions import study_predictions
from analysis.wording.formats import MISSING, show_difference

_CONFIDENCE = 0.95


def run_comparison_table(studies: Mapping[str, Study], first: str, metric: str) -> pd.DataFrame:
    """Every arm in every run, and its difference to the first run.

    The interval of a difference adds the variances of the two values, over seeds and images both (see
    `analysis.statistics.estimates.arm_intervals`), with the degrees of freedom of Satterthwaite (1946): seeds of different
    runs are not paired. Where two runs share images it is wider than it need be.

    Args:
        studies: Key -> study.
        first: Key of the run that the others are compared with.
        metric: "accuracy", "macro_f1" or "weighted_f1"; on test images where all the runs have some, else on validation.

    Returns:
        One row per arm and run: arm, run, mean, sd, n, split; difference, low, high (missing for the first run, and where
        either run has fewer than two confirmed seeds, or no predictions). Arms as tables list them, runs with ``first`` first.
    """
    split = "test" if all(shown_split(study) == "test" for study in studies.values()) else "val"
    column = f"{split}_{metric}"
    arms = list(dict.fromkeys(arm for key in (first, *studies) for arm in arm_order(studies[key])))
    errors = {key: _standard_errors(study, split, metric) for key, study in studies.items()}
    rows: list[dict[str, Any]] = []
    for arm in arms:
        reference = _values(studies[first], arm, column)
        for key in dict.fromkeys((first, *studies)):
            values = _values(studies[key], arm, column)
            row: dict[str, Any] = {"arm": arm, "run": key, "split": split, "n": len(values)}
            row["mean"] = float(values.mean()) if len(values) else np.nan
            row["sd"] = float(values.std(ddof=1)) if len(values) > 1 else np.nan
            row |= {"difference": np.nan, "low": np.nan, "high": np.nan}
            if key != first and len(values) and len(reference):
                row["difference"] = float(values.mean() - reference.mean())
                half = half_width(errors[key].get(arm), errors[first].get(arm))
                row["low"], row["high"] = row["difference"] - half, row["difference"] + half
            rows.append(row)
    columns = ["arm", "run", "split", "mean", "sd", "n", "difference", "low", "high"]
    return pd.DataFrame(rows, columns=columns)


def _values(study: Study, arm: str, column: str) -> np.ndarray[Any, np.dtype[np.float64]]:
    runs = study.selected()
    return runs.loc[runs["arm"] == arm, column].dropna().to_numpy(dtype=np.float64)


def _standard_errors(study: Study, split: str, metric: str) -> dict[str, tuple[float, float]]:
    """Arm -> standard error of its mean and degrees of freedom; nothing of a study that has no predictions of the split."""
    try:
        frame = validation_intervals(study) if split == "val" else arm_intervals(study_predictions(study))
    except StudyError:
        return {}
    rows = frame[frame["metric"] == metric]
    return {
        arm: (error, freedom)
        for arm, error, freedom in zip(rows["arm"], rows["standard_error"], rows["degrees_of_freedom"], strict=True)
    }


def half_width(one: tuple[float, float] | None, other: tuple[float, float] | None) -> float:
    """Half of the interval of the difference of two independent values; missing where a part of it is."""
    if one is None or other is None:
        return np.nan
    from scipy import stats

    parts = np.array([one[0] ** 2, other[0] ** 2])
    if not parts.sum() > 0:
        return np.nan  # no spread was seen: nothing to make an interval from
    freedom = parts.sum() ** 2 / (parts**2 / np.array([one[1], other[1]])).sum()
    return float(stats.t.ppf(0.5 + _CONFIDENCE / 2, freedom) * np.sqrt(parts.sum()))


def run_comparison_view(studies: Mapping[str, Study], first: str, metric: str) -> list[Any]:
    """`run_comparison_table` as a table: a row per arm, a column per run, differences with intervals below the values."""
    table = run_comparison_table(studies, first, metric)
    if not len(table):
        return [html.P("No run has an arm yet.", className="none")]
    keys = list(dict.fromkeys(table["run"]))
    rows = []
    for arm in dict.fromkeys(table["arm"]):
        cells: list[Any] = [html.Th(arm, scope="row")]
        for row in table[table["arm"] == arm].to_dict("records"):
            cells.append(html.Td(_cell(row, metric)))
        rows.append(html.Tr(cells))
    head = html.Tr([html.Th("Arm", scope="col"), *(html.Th(key, scope="col") for key in keys)])
    split = SPLIT_TITLES[str(table["split"].iloc[0])]
    caption = (
        f"Mean ± standard deviation over the confirmed seeds, {split} images; below it the difference to {first} with its 95 % "
        "interval (seeds and images both vary; the runs count as independent of each other). "
        "Runs that differ in data or budget differ in more than the arm. A difference without an interval is no gain."
    )
    return [
        html.Div(html.Table([html.Thead(head), html.Tbody(rows)], id="run-table"), className="scroll"),
        html.P(caption, className="caption"),
    ]


def _cell(row: Mapping[Any, Any], metric: str) -> list[Any]:
    shown = show_value(row["mean"], metric)
    if not np.isnan(row["sd"]):
        shown += f" ± {show_value(row['sd'], metric)}"
    value = html.Span(f"{shown} (n = {row['n']})" if row["n"] else MISSING, className="value", title=repr(row["mean"]))
    if np.isnan(row["difference"]):
        return [value]
    ends = [show_difference(row[name], metric, unit=False) for name in ("difference", "low", "high")]
    told = f"{ends[0]}, no interval" if np.isnan(row["low"]) else f"{ends[0]} [{ends[1]}, {ends[2]}]"
    return [value, html.Span(told, className="count")]
