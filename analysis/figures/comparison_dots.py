"""Runs without and with pretraining side by side at each fraction; lines join runs of one seed."""

from __future__ import annotations

import pandas as pd
import plotly.graph_objects as go
from plotly.subplots import make_subplots

from analysis.arms import run_points
from analysis.figures.hover import TRIAL_HOVER, run_hover
from analysis.figures.style import (
    TEMPLATE,
    broken_line,
    empty_figure,
    legend_title,
    line_breaks,
    percent_name,
    safe,
    setting_colours,
)
from analysis.metrics import metric_title
from analysis.records.study import Study
from analysis.statistics.confusion import shown_split
from analysis.wording.captions import NO_EVIDENCE, choice_sentence, selection_rule
from analysis.wording.colours import GREY

_WIDTH = 0.5
"""Share of the place of a fraction that its settings take."""


def comparison_dots(study: Study) -> go.Figure:
    """Accuracy, macro F1 and weighted F1 of the selected runs, on test where there is a test split."""
    return draw_comparison_dots(comparison_dots_table(study), setting_colours(study))


def comparison_dots_caption(study: Study) -> str:
    """Caption: rule, spread, and that a difference of means is no evidence."""
    return (
        f"{selection_rule(study)} {choice_sentence(shown_split(study))} Points are runs, a line joins the runs of one seed; "
        f"bars are ± one standard deviation over seeds, no confidence interval. {NO_EVIDENCE}"
    )


def comparison_dots_table(study: Study) -> pd.DataFrame:
    """One row per run and metric: `analysis.arms.run_points` of the test split, else of validation."""
    names = ("accuracy", "macro_f1", "weighted_f1")
    test = run_points(study, [f"test_{name}" for name in names])
    return test if len(test) else run_points(study, [f"val_{name}" for name in names])


def draw_comparison_dots(table: pd.DataFrame, colours: dict[str, str]) -> go.Figure:
    """Draw `comparison_dots_table`; colours: of each setting, in the order of drawing."""
    if not len(table):
        return empty_figure("No full-length run has ended yet.")
    metrics = table["metric"].unique().tolist()
    subsets = table.sort_values("fraction", kind="stable")["subset"].unique().tolist()
    settings = [name for name in colours if name in set(table["setting"].unique())]
    step = _WIDTH / max(1, len(settings) - 1)
    offsets = {name: position * step - _WIDTH / 2 for position, name in enumerate(settings)}
    if len(settings) == 1:
        offsets = {settings[0]: 0.0}
    table = table.assign(
        x=[
            subsets.index(subset) + offsets[setting]
            for subset, setting in zip(table["subset"], table["setting"], strict=True)
        ]
    )
    figure = make_subplots(
        rows=1,
        cols=len(metrics),
        horizontal_spacing=0.07,
        subplot_titles=[metric_title(metric) for metric in metrics],
    )
    for column, metric in enumerate(metrics, start=1):
        part = table[table["metric"] == metric]
        _add_pairs(figure, part, column)
        form = ".2%" if metric.endswith("accuracy") else ".3f"
        for setting in settings:
            runs = part[part["setting"] == setting]
            _add_setting(figure, runs, setting=setting, colour=colours[setting], form=form, column=column)
        figure.update_yaxes(
            tickformat=".0%" if metric.endswith("accuracy") else ".2f",
            row=1,
            col=column,
        )
    figure.update_xaxes(
        tickvals=list(range(len(subsets))),
        ticktext=[percent_name(fraction).removesuffix(" %") for fraction in sorted(set(table["fraction"]))],
        range=[-0.5, len(subsets) - 0.5],
        title_text="labelled training images, %",
    )
    figure.update_layout(template=TEMPLATE, height=440)
    return figure


def _add_pairs(figure: go.Figure, part: pd.DataFrame, column: int) -> None:
    pairs = part[part.groupby(["subset", "seed"])["x"].transform("count") > 1]
    if not len(pairs):
        return
    pairs = pairs.sort_values(["fraction", "seed", "x"], kind="stable")
    breaks = line_breaks(pairs["subset"] + "/" + pairs["seed"].astype("str"))
    figure.add_trace(
        go.Scatter(
            x=broken_line(pairs["x"], breaks),
            y=broken_line(pairs["value"], breaks),
            mode="lines",
            name="same seed",
            legendgroup="pairs",
            showlegend=column == 1,
            line={"color": GREY, "width": 1},
            opacity=0.6,
            hoverinfo="skip",
        ),
        row=1,
        col=column,
    )


def _add_setting(figure: go.Figure, runs: pd.DataFrame, *, setting: str, colour: str, form: str, column: int) -> None:
    figure.add_trace(
        go.Scatter(
            x=runs["x"].tolist(),
            y=runs["value"].tolist(),
            mode="markers",
            name=f"{legend_title(setting)}, each seed",
            legendgroup=setting,
            showlegend=column == 1,
            marker={"color": colour, "size": 6, "opacity": 0.65},
            customdata=run_hover(runs),
            hovertemplate=TRIAL_HOVER.replace("VALUE", f"%{{y:{form}}}"),
        ),
        row=1,
        col=column,
    )
    means = runs.drop_duplicates("subset")
    figure.add_trace(
        go.Scatter(
            x=means["x"].tolist(),
            y=means["mean"].tolist(),
            error_y={"type": "data", "array": means["sd"].fillna(0.0).tolist(), "color": colour, "thickness": 1.5},
            mode="markers",
            name=f"{legend_title(setting)}, mean ± SD",
            legendgroup=setting,
            showlegend=column == 1,
            marker={"color": colour, "size": 10, "symbol": "line-ew-open", "line": {"width": 3}},
            customdata=[
                [safe(arm), n, f"{sd:{form}}" if n > 1 else "none (one run)"]
                for arm, n, sd in zip(means["arm"], means["n"].astype(int), means["sd"], strict=True)
            ],
            hovertemplate=(
                f"%{{customdata[0]}}<br>mean %{{y:{form}}}, SD %{{customdata[2]}}, n = %{{customdata[1]}}"
                "<extra></extra>"
            ),
        ),
        row=1,
        col=column,
    )
