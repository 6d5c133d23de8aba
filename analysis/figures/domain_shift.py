"""The study's own images beside those of other data sets."""

from __future__ import annotations

import pandas as pd
import plotly.graph_objects as go
from plotly.subplots import make_subplots

from analysis.figures.style import TEMPLATE, empty_figure, legend_title, numbers, safe, setting_colours
from analysis.metrics import SPLIT_TITLES
from analysis.records.errors import StudyError
from analysis.records.study import Study
from analysis.statistics.confusion import shown_split
from analysis.statistics.evaluations import shift_table

_WIDTH = 0.4
"""Share of the place of a fraction that its settings take."""


def domain_shift(study: Study) -> go.Figure:
    """Accuracy of the compared arms on the study's own images and on every other data set, with intervals."""
    try:
        table = shift_table(study)
    except StudyError as error:
        return empty_figure(str(error).replace(f"{study.path}/", ""))
    if not len(table):
        return empty_figure("Nothing was evaluated on other data: wbc-study evaluate.")
    shown = (table["control"] == "") & (table["metric"] == "accuracy")
    return draw_domain_shift(table[shown], setting_colours(study))


def domain_shift_caption(study: Study) -> str:
    """Caption: which images, what the bars are, and why accuracies of data sets differ."""
    own = SPLIT_TITLES[shown_split(study)]
    return (
        f"Accuracy of the confirmed runs on the study's own {own} images and on other data sets, mean over seeds; bars: 95 % "
        "intervals in which seeds and images vary. Shares of the classes differ between data sets, and with them what an "
        "accuracy means: the tables name the floor of each."
    )


def draw_domain_shift(table: pd.DataFrame, colours: dict[str, str]) -> go.Figure:
    """Draw the accuracies of `analysis.statistics.evaluations.shift_table`, one panel per data set.

    Args:
        table: One row per arm and place.
        colours: Setting -> colour, in the order of drawing.
    """
    places = list(dict.fromkeys(table["place"]))
    subsets = list(dict.fromkeys(table.sort_values("fraction", kind="stable")["subset"]))
    settings = [name for name in colours if name in set(table["setting"])]
    images = table.drop_duplicates("place").set_index("place")["images"]
    figure = make_subplots(
        rows=1,
        cols=len(places),
        shared_yaxes=True,
        horizontal_spacing=0.02,
        subplot_titles=[f"{safe(place)} ({images[place]:,} images)" for place in places],
    )
    step = _WIDTH / max(1, len(settings) - 1)
    for column, place in enumerate(places, start=1):
        for position, setting in enumerate(settings):
            rows = table[(table["place"] == place) & (table["setting"] == setting)]
            offset = position * step - _WIDTH / 2 if len(settings) > 1 else 0.0
            rows = rows.assign(x=[subsets.index(subset) + offset for subset in rows["subset"]])
            _add_setting(figure, rows, setting, colours[setting], int(images[place]), column)
    figure.update_xaxes(
        tickvals=list(range(len(subsets))), ticktext=[safe(name) for name in subsets], range=[-0.5, len(subsets) - 0.5]
    )
    figure.update_yaxes(tickformat=".0%")
    figure.update_yaxes(title_text="accuracy", row=1, col=1)
    figure.update_layout(template=TEMPLATE, height=420)
    figure.update_annotations(font_size=13)
    return figure


def _add_setting(figure: go.Figure, rows: pd.DataFrame, setting: str, colour: str, images: int, column: int) -> None:
    """One setting at a place with so many images; ``x`` is where each row stands."""
    figure.add_trace(
        go.Scatter(
            x=rows["x"].tolist(),
            y=numbers(rows["value"]),
            error_y={
                "type": "data",
                "symmetric": False,
                "array": numbers(rows["high"] - rows["value"]),
                "arrayminus": numbers(rows["value"] - rows["low"]),
                "thickness": 1.5,
            },
            mode="lines+markers",
            line={"color": colour, "width": 1.5},
            marker={"color": colour, "size": 8},
            name=legend_title(setting),
            legendgroup=setting,
            showlegend=column == 1,
            customdata=[
                [safe(row["arm"]), f"{row['low']:.2%} to {row['high']:.2%}", row["seeds"]]
                for row in rows.to_dict("records")
            ],
            hovertemplate=(
                "%{customdata[0]}<br>accuracy %{y:.2%}<br>95 % interval %{customdata[1]}<br>"
                f"n = %{{customdata[2]}} seeds, {images:,} images<extra></extra>"
            ),
        ),
        row=1,
        col=column,
    )
