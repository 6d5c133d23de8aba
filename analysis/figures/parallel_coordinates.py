"""All trials of the search over all their settings."""

from __future__ import annotations

import numpy as np
import pandas as pd
import plotly.graph_objects as go

from analysis.arms import scored_trials
from analysis.figures.style import TEMPLATE, empty_figure, safe, setting_colours
from analysis.figures.thinning import evenly_by_rank
from analysis.hyperparameters import (
    hyperparameter_columns,
    hyperparameter_title,
    is_logarithmic,
    positive_positions,
)
from analysis.metrics import metric_title
from analysis.records.schema import Phase
from analysis.records.study import Study
from analysis.wording.colours import GREY

LINES = 1000
"""More trials than this are thinned out evenly over the ranks of their arms."""


def parallel_coordinates(study: Study) -> go.Figure:
    """One line per trial of the search; drag along an axis to pick trials."""
    return draw_parallel_coordinates(parallel_coordinates_table(study), setting_colours(study), study.metric)


def parallel_coordinates_caption(study: Study) -> str:
    """Caption: which trials, how to pick some, and that a picked trial is no evidence."""
    count = int((study.trials["phase"] == Phase.SEARCH).sum())
    thinned = (
        f" Of {count:,} trials about {LINES:,} are drawn, evenly over the ranks of each arm." if count > LINES else ""
    )
    return (
        "One line per trial of the search (n = 1 each) at its best epoch, coloured by setting. Drag along an axis to pick "
        f"trials, click it to let go; drag a title to move its axis. Lines have no texts of their own: `wbc-study explore` "
        f"lists the trials that are picked.{thinned} A picked trial is the best of many: no "
        "evidence for its settings."
    )


def parallel_coordinates_table(study: Study, limit: int = LINES) -> pd.DataFrame:
    """Search trials with a value of the selection metric.

    Args:
        study: Any study.
        limit: Trials that are shown; every arm gets the same share.

    Returns:
        One row per shown trial: trial_id, arm, setting, fraction, subset, seed, the hyperparameters, epochs, score;
        ``of`` is the number of trials that there are.
    """
    trials = scored_trials(study)
    count = len(trials)
    trials = trials[evenly_by_rank(trials, ["score"], "arm", max(1, limit // max(1, trials["arm"].nunique())))]
    columns = ["trial_id", "arm", "setting", "fraction", "subset", "seed", *hyperparameter_columns(trials), "epochs"]
    ordered = trials[[*columns, "score"]].sort_values(["fraction", "setting", "score"], kind="stable")
    return ordered.assign(of=count).reset_index(drop=True)


def draw_parallel_coordinates(
    table: pd.DataFrame, colours: dict[str, str], metric: str, ranges: dict[str, list[list[float]]] | None = None
) -> go.Figure:
    """Draw `parallel_coordinates_table`.

    Args:
        table: One row per line.
        colours: Setting -> colour.
        metric: Name of the score.
        ranges: Column -> picked ranges in the axis's own scale, as `axis_values` gives it.
    """
    if not len(table):
        return empty_figure("No trial of the search has reported an epoch yet.")
    settings = [name for name in colours if name in set(table["setting"].unique())]
    steps: list[list[object]] = []
    for position, name in enumerate(settings):
        steps += [[position / len(settings), colours[name]], [(position + 1) / len(settings), colours[name]]]
    dimensions = [_dimension(table, name, metric, (ranges or {}).get(name)) for name in parallel_axes(table)]
    figure = go.Figure(
        go.Parcoords(
            dimensions=dimensions,
            line={
                "color": [settings.index(name) for name in table["setting"]],
                "colorscale": steps,
                "cmin": -0.5,
                "cmax": len(settings) - 0.5,
            },
            labelfont={"size": 13, "color": GREY},
            tickfont={"size": 11, "color": GREY},
            rangefont={"size": 11, "color": GREY},
            unselected={"line": {"color": GREY, "opacity": 0.06}},
            labelangle=0,
        )
    )
    for name in settings:
        figure.add_trace(
            go.Scatter(x=[None], y=[None], name=safe(name), mode="lines", line={"color": colours[name], "width": 3})
        )
    figure.update_xaxes(visible=False)
    figure.update_yaxes(visible=False)
    figure.update_layout(
        template=TEMPLATE, height=460, margin={"l": 90, "r": 90, "t": 60, "b": 60}, legend={"y": -0.06}, showlegend=True
    )
    return figure


def parallel_axes(table: pd.DataFrame) -> list[str]:
    """Columns of `parallel_coordinates_table` that have an axis, from left to right; epochs only where they differ."""
    epochs = ["epochs"] if (table["epochs"] != table["epochs"].iloc[0]).any() else []
    return ["setting", "fraction", *hyperparameter_columns(table), *epochs, "score"]


def axis_values(values: pd.Series, name: str) -> tuple[np.ndarray, list[str]]:
    """Positions along an axis, and the names of the positions where they are categories.

    Args:
        values: A column of `parallel_coordinates_table`, or the same column of all trials.
        name: Name of the column.

    Returns:
        float64 (N,): log10 for learning rate, weight decay and fraction, ranks for texts; names of the ranks, else [].
    """
    if is_logarithmic(name) or name == "fraction":
        return positive_positions(values.astype("float64")).map(np.log10).to_numpy(dtype="float64"), []
    if pd.api.types.is_numeric_dtype(values) and not pd.api.types.is_bool_dtype(values):
        return values.to_numpy(dtype="float64"), []
    words = values.astype(str)
    names = list(dict.fromkeys(words)) if name == "setting" else sorted(set(words))
    return words.map({word: float(rank) for rank, word in enumerate(names)}).to_numpy(dtype="float64"), names


def _dimension(table: pd.DataFrame, name: str, metric: str, picked: list[list[float]] | None) -> dict[str, object]:
    positions, names = axis_values(table[name], name)
    # Positions are rounded for a small page: brushes are wider than that.
    made: dict[str, object] = {"values": positions.round(5).tolist(), "name": name}
    made["label"] = metric_title(metric) if name == "score" else hyperparameter_title(name)
    if names:
        made |= {"tickvals": list(range(len(names))), "ticktext": [safe(word) for word in names]}
        made["range"] = [-0.3, len(names) - 0.7]
    elif name == "fraction":
        fractions = sorted(set(table["fraction"]))
        made |= {"tickvals": np.log10(fractions).round(5).tolist()}
        made["ticktext"] = [f"{100 * fraction:.10g} %" for fraction in fractions]
    elif is_logarithmic(name):
        ticks = sorted({int(tick) for tick in (*np.floor(positions), *np.ceil(positions))})
        zero = bool((table[name] == 0).any())
        made |= {"tickvals": ticks, "range": [ticks[0], max(ticks[-1], ticks[0] + 1)]}
        made["ticktext"] = ["0" if zero and tick == ticks[0] else f"1e{tick}" for tick in ticks]
    elif name == "score" and metric.endswith("accuracy"):
        made["tickformat"] = ".0%"
    if picked:
        made |= {"constraintrange": picked[0] if len(picked) == 1 else picked, "multiselect": True}
    return made
