"""The comparison: one cell per fraction and setting, which opens the arm's trials."""

from __future__ import annotations

from typing import Any

import pandas as pd
from dash import html

from analysis.arms import arm_order, compared_settings, control_settings, fractions, setting_of, summarise
from analysis.explorer.aria import aria
from analysis.explorer.view_state import ViewState
from analysis.figures.style import setting_colours
from analysis.metrics import metric_title
from analysis.records.errors import StudyError
from analysis.records.schema import Phase
from analysis.records.study import Study
from analysis.statistics.confusion import shown_split
from analysis.statistics.verdicts import study_verdicts
from analysis.wording.captions import choice_sentence, selection_rule
from analysis.wording.formats import MISSING, capitalised, show_difference
from analysis.wording.settings import setting_title

_INTERVALS = (
    "In brackets: the 95 % interval of the difference to the arm without pretraining, in which seeds and images vary, and the "
    "verdict on it, which adjusts for several comparisons and asks that a gain beats random encoders too."
)


def comparison_table(study: Study, metric: str) -> pd.DataFrame:
    """Mean and spread of every arm, compared ones and controls.

    Args:
        study: The study.
        metric: "accuracy", "macro_f1" or "weighted_f1"; on test images where there are some.

    Returns:
        Indexed by arm, in the order of tables: fraction, subset, setting, control, mean, sd, n (0 and missing values for an
        arm without a full-length run yet).
    """
    summary = summarise(study.selected(), f"{shown_split(study)}_{metric}")
    arms = study.trials[["arm", "fraction", "subset", "control"]].drop_duplicates("arm").set_index("arm")
    table = arms.reindex(arm_order(study)).assign(setting=[setting_of(arm) for arm in arm_order(study)])
    places = pd.MultiIndex.from_arrays([table["subset"], table["setting"]])
    found = summary.reindex(places)
    table["mean"], table["sd"] = found["mean"].to_numpy(dtype=float), found["sd"].to_numpy(dtype=float)
    table["n"] = found["n"].fillna(0).to_numpy(dtype="int64")
    return table[["fraction", "subset", "setting", "control", "mean", "sd", "n"]]


def comparison_view(study: Study, state: ViewState, chosen: pd.DataFrame) -> list[Any]:
    """The comparison as a table of buttons.

    Args:
        study: The whole study: what is chosen does not change results.
        state: What is shown.
        chosen: The chosen trials; every cell says how many of its own are among them.
    """
    table = comparison_table(study, state.metric)
    if not len(table):
        return [html.P("No trial has been handed out yet.", className="none")]
    settings = [*compared_settings(study), *control_settings(study)]
    among = chosen.loc[chosen["phase"] == Phase.SEARCH, "arm"].value_counts()
    searched = study.trials.loc[study.trials["phase"] == Phase.SEARCH, "arm"].value_counts()
    verdicts = _verdicts(study, state.metric)
    arms = {(row["subset"], row["setting"]): (str(arm), row) for arm, row in table.iterrows()}
    rows = []
    for subset in fractions(study).index:
        cells: list[Any] = [html.Th(subset, scope="row")]
        for setting in settings:
            if (subset, setting) not in arms:
                cells.append(html.Td(MISSING, className="missing"))
                continue
            arm, row = arms[subset, setting]
            counts = int(among.get(arm, 0)), int(searched.get(arm, 0))
            cells.append(html.Td(_cell(arm, row, state, counts, verdicts.get(arm, []))))
        rows.append(html.Tr(cells))
    split = shown_split(study)
    title = capitalised(metric_title(f"{split}_{state.metric}"))
    caption = f"{title}. {selection_rule(study)} {choice_sentence(split)} {_INTERVALS}"
    shown = html.Table([html.Thead(_head(study)), html.Tbody(rows)], id="comparison-table", className="comparison")
    return [shown, html.P(caption, className="caption")]


def show_value(value: float, metric: str) -> str:
    """A value as the tables show it: accuracy in percent with two digits, F1 with three."""
    if pd.isna(value):
        return MISSING
    return f"{100 * value:.2f}" if metric.endswith("accuracy") else f"{value:.3f}"


def _head(study: Study) -> html.Tr:
    """A column for each setting, with its colour."""
    controls = set(control_settings(study))
    settings = [
        html.Th(
            [
                html.Span(className="swatch", style={"background": colour}),
                f"{name} (control)" if name in controls else setting_title(name),
            ],
            scope="col",
        )
        for name, colour in setting_colours(study).items()
    ]
    return html.Tr([html.Th("Labelled images", scope="col"), *settings])


def _verdicts(study: Study, metric: str) -> dict[str, list[dict[Any, Any]]]:
    """Arm -> its verdicts on a metric, each against a baseline of its own; empty where there can be none yet."""
    try:
        verdicts = study_verdicts(study)
    except StudyError:
        return {}  # the tables say why; means and spreads are shown all the same
    verdicts = verdicts[(verdicts["metric"] == metric) & ~verdicts["kind"].isin(["random", "weights"])]
    by_arm: dict[str, list[dict[Any, Any]]] = {}
    for verdict in verdicts.to_dict("records"):
        by_arm.setdefault(verdict["arm"], []).append(verdict)
    return by_arm


def _cell(
    arm: str, row: pd.Series[Any], state: ViewState, counts: tuple[int, int], verdicts: list[dict[Any, Any]]
) -> html.Button:
    among, searched = counts
    shown = show_value(row["mean"], state.metric)
    if not pd.isna(row["sd"]):
        shown += f" ± {show_value(row['sd'], state.metric)}"
    classes = "cell open" if state.arm == arm else "cell"
    if searched and not among:
        classes += " faded"
    lines = [html.Span(shown, className="value")]
    told = f"{arm}: mean {float(row['mean'])!r}, standard deviation {float(row['sd'])!r}. Opens its trials."
    for verdict in verdicts:
        if not pd.isna(verdict["low"]):
            ends = [show_difference(verdict[name], state.metric, unit=False) for name in ("difference", "low", "high")]
            lines.append(html.Span(f"{ends[0]} [{ends[1]}, {ends[2]}]: {verdict['verdict']}", className="count"))
        told += f" {verdict['sentence']}"
    lines.append(html.Span(f"n = {row['n']}; {among} of {searched} search trials chosen", className="count"))
    return html.Button(
        lines,
        id={"kind": "arm", "value": arm},
        className=classes,
        title=told,
        **aria(pressed="true" if state.arm == arm else "false"),
    )
