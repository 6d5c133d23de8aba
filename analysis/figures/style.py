"""How all figures look: template, colours of settings, panels, axes and lines, and the figure that says why it is empty."""

from __future__ import annotations

import html
import textwrap
from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd
import plotly.graph_objects as go
from numpy.typing import ArrayLike, NDArray
from plotly.subplots import make_subplots

from analysis.arms import OFF, compared_settings, control_settings
from analysis.records.schema import Fusion
from analysis.records.study import Study
from analysis.wording.colours import (
    BLUE,
    GREEN,
    GREY,
    INDIGO,
    OLIVE,
    ORANGE,
    PURPLE,
    SKY,
    TEAL,
    VERMILLION,
    WINE,
)
from analysis.wording.controls import CONTROLS
from analysis.wording.settings import setting_title

_KNOWN: dict[str, str] = {
    Fusion.OFF: BLUE,
    Fusion.SUM: VERMILLION,
    Fusion.CONCAT: GREEN,
    Fusion.GATED: PURPLE,
    Fusion.FINETUNE: ORANGE,
}
_OTHERS = (INDIGO, TEAL, OLIVE, SKY, WINE, ORANGE, PURPLE, GREEN)

_AXIS = {
    "gridcolor": "rgba(128,128,128,0.25)",
    "linecolor": GREY,
    "zeroline": False,
    "ticks": "outside",
    "tickcolor": GREY,
    "automargin": True,
    "title": {"font": {"size": 13}, "standoff": 8},
}
TEMPLATE = go.layout.Template(
    layout={
        # Transparent, with grey text that can be read on white and on black; the report's style sheet sharpens it.
        "paper_bgcolor": "rgba(0,0,0,0)",
        "plot_bgcolor": "rgba(0,0,0,0)",
        "font": {"family": "system-ui, 'Segoe UI', 'DejaVu Sans', sans-serif", "size": 13, "color": GREY},
        "colorway": [BLUE, VERMILLION, GREEN, PURPLE, SKY, ORANGE],
        "xaxis": _AXIS,
        "yaxis": _AXIS,
        "legend": {"orientation": "h", "x": 0, "xanchor": "left", "y": -0.22, "yanchor": "top"},
        "margin": {"l": 68, "r": 16, "t": 64, "b": 48},
        "modebar": {"bgcolor": "rgba(0,0,0,0)", "color": GREY, "activecolor": BLUE},
        "hovermode": "closest",
        "hoverlabel": {"align": "left"},
    }
)


def setting_colours(study: Study) -> dict[str, str]:
    """Colour of every setting of a study, in the order of drawing: compared settings, then controls.

    A setting that is known keeps its colour in every figure and in every study, so that runs can be put side by side.
    The colour says the setting; an arm's fraction is said by the axis or the panel.
    """
    names = [*compared_settings(study), *control_settings(study)]
    controls = set(control_settings(study))
    colours: dict[str, str] = {}
    for name in names:
        colour = _control_colour(name) if name in controls else _KNOWN.get(name)
        # Two fusion modes may share a control: the second one takes a free colour.
        if colour is not None and colour not in colours.values():
            colours[name] = colour
    free = [colour for colour in _OTHERS if colour not in colours.values()] or list(_OTHERS)
    for position, name in enumerate(name for name in names if name not in colours):
        colours[name] = free[position % len(free)]
    return {name: colours[name] for name in names}


def _control_colour(setting: str) -> str | None:
    """Colour of a control by the end of its setting's name: ``sum-random`` is a random control."""
    control = CONTROLS.get(setting.rpartition("-")[2])
    return control.colour if control else None


def legend_title(setting: str) -> str:
    """Words for a setting in a legend."""
    return safe(f"{setting_title(setting)} pretraining" if setting == OFF else f"{setting_title(setting)}")


def safe(text: object) -> str:
    """Text for a figure: Plotly reads a little HTML in texts, names from the records must not be read so."""
    return html.escape(str(text), quote=False)


def percent_name(fraction: float) -> str:
    """0.01 -> "1 %"."""
    return f"{fraction * 100:.10g} %"


def panel_grid(
    subsets: Sequence[str],
    settings: Sequence[str],
    titles: Sequence[str],
    *,
    narrow: bool = False,
    names: bool = False,
) -> go.Figure:
    """Empty panels on common axes: rows are fractions, columns settings.

    Args:
        subsets: One for each row.
        settings: One for each column.
        titles: Titles of the panels, row by row.
        narrow: Whether five columns and more stand closer.
        names: Whether the axes show names, of any length, and not numbers.
    """
    figure = make_subplots(
        rows=len(subsets),
        cols=len(settings),
        shared_xaxes="all",
        shared_yaxes="all",
        horizontal_spacing=0.015 if narrow and len(settings) > 4 else 0.04,
        vertical_spacing=0.16 / len(subsets),
        subplot_titles=list(titles),
    )
    # Plotly lays the whole figure out again for every axis that may want room. Only names need it, in confusion matrices.
    figure.update_xaxes(automargin=names)
    figure.update_yaxes(automargin=names)
    return figure


def panel_titles(subsets: Sequence[str], settings: Sequence[str]) -> list[str]:
    """Titles for `panel_grid` that name fraction and setting."""
    return [f"{safe(subset)}, {legend_title(setting)}" for subset in subsets for setting in settings]


def interval_band(
    x: Sequence[float], low: Sequence[float | None], high: Sequence[float | None], setting: str, colour: str
) -> go.Scatter:
    """The area between the ends of 95 % intervals; it comes and goes with its setting in the legend."""
    return go.Scatter(
        x=[*x, *x[::-1]],
        y=[*high, *low[::-1]],
        mode="lines",
        line={"width": 0, "color": colour},
        fill="toself",
        fillcolor=colour,
        opacity=0.18,
        name=f"{legend_title(setting)}, 95 % interval",
        legendgroup=setting,
        showlegend=False,
        hoverinfo="skip",
    )


def line_breaks(lines: pd.Series[Any]) -> NDArray[np.intp]:
    """Positions at which a table goes on with another line than before.

    Args:
        lines: Name of the line that each row belongs to; the rows of a line stand together.
    """
    names = lines.to_numpy(dtype=object)
    return np.flatnonzero(names[1:] != names[:-1]) + 1


def broken_line(values: ArrayLike, breaks: NDArray[np.intp]) -> NDArray[Any]:
    """Values of several lines in one trace: a missing one between two lines lifts the pen.

    Args:
        values: Values of all lines, one line after the other; numbers, or texts (dtype object).
        breaks: From `line_breaks`.
    """
    given = np.asarray(values)
    if given.dtype == object:
        return np.insert(given, breaks, np.array([None]))
    return np.insert(given.astype(np.float64), breaks, np.nan)


def decade_ticks(low: float, high: float) -> tuple[list[float], list[str]]:
    """Ticks of an axis in powers of ten that is drawn linearly.

    Args:
        low: Lowest exponent that is shown.
        high: Highest exponent.

    Returns:
        Positions and names: whole powers, and twice and five times them where fewer than three lie in the range.
    """
    span = range(int(np.floor(low - 0.01)), int(np.ceil(high + 0.01)) + 1)
    inside = [power for power in span if low - 0.01 <= power <= high + 0.01]
    factors = (1,) if len(inside) > 2 else (1, 2, 5)
    ticks = [(power + float(np.log10(factor)), f"{factor}e{power}") for power in span for factor in factors]
    kept = [tick for tick in ticks if low - 0.1 <= tick[0] <= high + 0.1]
    return [position for position, _ in kept], [name for _, name in kept]


def log_ticks(values: ArrayLike) -> dict[str, object]:
    """Ticks of a logarithmic axis that do not run into each other: 1, 2 and 5 below two decades, else powers of ten."""
    given = np.asarray(values, dtype=np.float64)
    given = given[np.isfinite(given) & (given > 0)]
    narrow = len(given) == 0 or given.max() < 100 * given.min()
    return {"type": "log", "dtick": "D2" if narrow else 1, "tickformat": "~g"}


def numbers(values: pd.Series[float]) -> list[float | None]:
    """Values for Plotly: a missing one is a gap in the line."""
    return [None if np.isnan(value) else float(value) for value in values.astype("float64")]


_MESSAGE_WIDTH = 44
"""Characters in a line of the message of an empty figure."""


def empty_figure(message: str) -> go.Figure:
    """A figure that says why it is empty."""
    figure = go.Figure()
    figure.update_layout(template=TEMPLATE, height=160, xaxis={"visible": False}, yaxis={"visible": False})
    # Short lines from the left edge: a telephone shows the left part of a figure first.
    text = "<br>".join(safe(line) for line in textwrap.wrap(message, _MESSAGE_WIDTH, break_on_hyphens=False))
    figure.add_annotation(
        text=text, showarrow=False, align="left", xref="paper", yref="paper", x=0, xanchor="left", y=0.5
    )
    return figure
