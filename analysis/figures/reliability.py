"""Reliability diagram: how often answers of each degree of confidence are right."""

from __future__ import annotations

import pandas as pd
import plotly.graph_objects as go
from plotly.subplots import make_subplots

from analysis.figures.style import TEMPLATE, empty_figure, legend_title, safe, setting_colours
from analysis.records.study import Study
from analysis.statistics.calibration import reliability_table
from analysis.statistics.confusion import shown_split
from analysis.wording.captions import choice_sentence
from analysis.wording.colours import GREY

_SMALLEST, _LARGEST = 5.0, 16.0
"""Diameters of marks, px: the area says how many answers a bin holds."""

_SCALES = {"as trained": {"dash": "solid", "symbol": "circle"}, "calibrated": {"dash": "dot", "symbol": "circle-open"}}


def reliability(study: Study) -> go.Figure:
    """Confidence against accuracy of the compared arms, as trained and calibrated, one panel per fraction."""
    table = reliability_table(study)
    return draw_reliability(table[table["control"] == ""], setting_colours(study))


def reliability_caption(study: Study) -> str:
    """Caption: bins, scales, and what the size of a mark says."""
    return (
        "Answers of all confirmed runs of an arm by their confidence, the probability of the class that was named, in ten bins: "
        "below the diagonal they are surer than they are right. Solid: as trained; dotted: divided by the temperature that was "
        f"fitted on the validation images of each run. The larger a mark, the more answers. {choice_sentence(shown_split(study))}"
    )


def draw_reliability(table: pd.DataFrame, colours: dict[str, str]) -> go.Figure:
    """Draw `analysis.statistics.calibration.reliability_table`; colours: of each setting, in the order of drawing."""
    if not len(table):
        return empty_figure("No confirmed run has ended yet.")
    subsets = list(dict.fromkeys(table.sort_values("fraction", kind="stable")["subset"]))
    figure = make_subplots(
        rows=1,
        cols=len(subsets),
        shared_yaxes=True,
        horizontal_spacing=0.02,
        subplot_titles=[safe(subset) for subset in subsets],
    )
    most = table["answers"].max()
    shown: set[tuple[str, str]] = set()
    for column, subset in enumerate(subsets, start=1):
        _add_diagonal(figure, column)
        for setting, colour in colours.items():
            for scale in _SCALES:
                rows = table[(table["subset"] == subset) & (table["setting"] == setting) & (table["scale"] == scale)]
                if not len(rows):
                    continue
                rows = rows.assign(size=_SMALLEST + (_LARGEST - _SMALLEST) * (rows["answers"] / most) ** 0.5)
                named = (setting, scale) in shown
                _add_bins(figure, rows, setting, colour, scale, named=named, column=column)
                shown.add((setting, scale))
    figure.update_xaxes(title_text="confidence", tickformat=".0%", range=[0, 1.03])
    figure.update_yaxes(tickformat=".0%", range=[0, 1.03])
    figure.update_yaxes(title_text="right answers", row=1, col=1)
    figure.update_layout(template=TEMPLATE, height=440)
    figure.update_annotations(font_size=13)
    return figure


def _add_diagonal(figure: go.Figure, column: int) -> None:
    figure.add_trace(
        go.Scatter(
            x=[0, 1],
            y=[0, 1],
            mode="lines",
            line={"color": GREY, "width": 1},
            name="as sure as right",
            legendgroup="diagonal",
            showlegend=column == 1,
            hoverinfo="skip",
        ),
        row=1,
        col=column,
    )


def _add_bins(
    figure: go.Figure, rows: pd.DataFrame, setting: str, colour: str, scale: str, *, named: bool, column: int
) -> None:
    """The bins of one arm on one scale of `_SCALES`; ``size`` is the diameter of each mark, ``named``: the legend has it."""
    style = _SCALES[scale]
    figure.add_trace(
        go.Scatter(
            x=rows["confidence"].round(4).tolist(),
            y=rows["accuracy"].round(4).tolist(),
            mode="lines+markers",
            line={"color": colour, "width": 1.5, "dash": style["dash"]},
            marker={"color": colour, "size": rows["size"].round(1).tolist(), "symbol": style["symbol"]},
            name=f"{legend_title(setting)}, {scale}",
            legendgroup=f"{setting} {scale}",
            showlegend=not named,
            customdata=[
                [safe(row["arm"]), f"{row['answers']:,}", row["runs"], f"{row['low']:.0%} to {row['high']:.0%}"]
                for row in rows.to_dict("records")
            ],
            hovertemplate=(
                f"%{{customdata[0]}}, {scale}<br>%{{customdata[1]}} answers of %{{customdata[2]}} runs with a "
                "confidence of %{customdata[3]}<br>on average %{x:.1%} sure, %{y:.1%} right<extra></extra>"
            ),
        ),
        row=1,
        col=column,
    )
