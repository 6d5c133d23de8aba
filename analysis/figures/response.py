"""How the result of an arm depends on learning rate and weight decay."""

from __future__ import annotations

import numpy as np
import pandas as pd
import plotly.graph_objects as go

from analysis.arms import scored_trials
from analysis.figures.hover import TRIAL_HOVER, trial_hover
from analysis.figures.style import TEMPLATE, decade_ticks, empty_figure, panel_grid, panel_titles, setting_colours
from analysis.figures.thinning import evenly_by_rank, most_trials
from analysis.hyperparameters import (
    LEARNING_RATE,
    WEIGHT_DECAY,
    hyperparameter_columns,
    positive_positions,
)
from analysis.records.schema import Phase, TrialStatus
from analysis.records.study import Study
from analysis.statistics.tuning import winners_at_edges
from analysis.wording.colours import GREY

TRIALS_PER_ARM = 200
"""More trials of an arm than this are thinned out evenly over their ranks."""
MARKS = 1200
"""Marks of all arms together, about. Where arms are many, a panel shows fewer trials, but at least `_FEWEST`."""
_FEWEST = 25

_TERMS = 6
"""Coefficients of a polynomial of degree two in two variables."""
_GRID = 25
"""Points along each side of the fitted surface."""
_COLOURS = ["#E3B505", "#8C8C8C", "#4A68B8"]
"""From the best to the worst, as Cividis runs, without its ends: a mark must be seen on white and on black."""
_WORST = 20.0
"""Percentage points below the best at which the colours end: worse trials are all equally bad."""


def response(study: Study) -> go.Figure:
    """Selection metric of every search trial over learning rate and weight decay, one panel per arm."""
    return draw_response(response_table(study), setting_colours(study), study.metric)


def response_caption(study: Study) -> str:
    """Caption: which trials, what the surface is fitted to, and what a star at an edge says."""
    limit, most = shown_trials(study), most_trials(study)
    thinned = (
        f" Of up to {most:,} trials of an arm {limit} are drawn, evenly over their ranks; the surface is fitted to all."
        if most > limit
        else ""
    )
    return (
        "Every trial of the search at its best epoch (n = 1 each), as percentage points below the best full-length trial "
        "of its arm; open marks did not reach full length. The surface is a polynomial of degree two in the logarithms, "
        "fitted to full-length trials where an arm has more than six; its R² is in the hover text. A star at an edge says "
        f"that better settings may lie outside the range.{thinned}"
    )


def shown_trials(study: Study) -> int:
    """How many trials of an arm are drawn at most."""
    arms = study.trials.loc[study.trials["phase"] == Phase.SEARCH, "arm"].nunique()
    return min(TRIALS_PER_ARM, max(_FEWEST, MARKS // max(1, arms)))


def response_table(study: Study, limit: int | None = None) -> pd.DataFrame:
    """Search trials with a value of the selection metric.

    Args:
        study: Any study.
        limit: Trials per arm that are shown; `shown_trials` when None.

    Returns:
        One row per trial: fraction, subset, setting, arm, trial_id, seed, index, status, epochs, learning_rate,
        weight_decay, further hyperparameters, score (at the best epoch), below_best (score of the arm's best
        full-length trial minus the score; of its best trial when none is full-length), winner, edge (the winner lies at
        an end of the searched range), x and y (log10 of learning rate and weight decay), shown (False: thinned out).
    """
    trials = scored_trials(study)
    full = trials.loc[trials["status"] == TrialStatus.COMPLETED].groupby("arm")["score"].max()
    best = trials["arm"].map(full).astype("float64").fillna(trials.groupby("arm")["score"].transform("max"))
    trials["below_best"] = best - trials["score"]
    trials["winner"] = trials["trial_id"].isin(study.winners()["trial_id"])
    edges = winners_at_edges(study)
    edges = edges[edges["hyperparameter"].isin([LEARNING_RATE, WEIGHT_DECAY])]
    trials["edge"] = trials["winner"] & trials["arm"].isin(edges["arm"])
    trials["x"] = np.log10(positive_positions(trials[LEARNING_RATE]))
    trials["y"] = np.log10(positive_positions(trials[WEIGHT_DECAY]))
    limit = shown_trials(study) if limit is None else limit
    trials["shown"] = evenly_by_rank(trials, ["winner", "score"], "arm", limit)
    columns = ["fraction", "subset", "setting", "arm", "trial_id", "seed", "index", "status", "epochs"]
    columns += hyperparameter_columns(trials)
    table = trials[[*columns, "score", "below_best", "winner", "edge", "x", "y", "shown"]]
    return table.sort_values(["fraction", "setting", "index"], kind="stable").reset_index(drop=True)


def fit_surface(table: pd.DataFrame) -> tuple[np.ndarray, np.ndarray, np.ndarray, float] | None:
    """A polynomial of degree two through the full-length trials of one arm, by least squares.

    Args:
        table: Rows of `response_table` of one arm.

    Returns:
        x (25,), y (25,), points below the best (25, 25; rows are y) and the share of variance explained (R²);
        None with fewer than seven different points or where they lie on a line.
    """
    full = table[table["status"] == TrialStatus.COMPLETED]
    points = full[["x", "y"]].to_numpy()
    if len(np.unique(points, axis=0)) <= _TERMS:
        return None
    low, high = points.min(axis=0), points.max(axis=0)
    if (high - low < 1e-6).any():
        return None
    scaled = 2 * (points - low) / (high - low) - 1
    coefficients, _, rank, _ = np.linalg.lstsq(_terms(scaled[:, 0], scaled[:, 1]), full["below_best"], rcond=None)
    if rank < _TERMS:
        return None
    values = full["below_best"].to_numpy()
    residual = values - _terms(scaled[:, 0], scaled[:, 1]) @ coefficients
    total = float(((values - values.mean()) ** 2).sum())
    side = np.linspace(-1, 1, _GRID)
    grid_x, grid_y = np.meshgrid(side, side)
    surface = (_terms(grid_x.ravel(), grid_y.ravel()) @ coefficients).reshape(_GRID, _GRID)
    explained = 1 - float((residual**2).sum()) / total if total > 0 else 1.0
    return np.linspace(low[0], high[0], _GRID), np.linspace(low[1], high[1], _GRID), surface, explained


def _terms(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    return np.stack([np.ones_like(x), x, y, x * y, x * x, y * y], axis=1)


def draw_response(table: pd.DataFrame, colours: dict[str, str], metric: str) -> go.Figure:
    """Draw `response_table`: rows are fractions, columns settings."""
    if not len(table):
        return empty_figure("No trial of the search has reported an epoch yet.")
    subsets = table["subset"].unique().tolist()
    settings = [name for name in colours if name in set(table["setting"].unique())]
    figure = panel_grid(subsets, settings, panel_titles(subsets, settings), narrow=True)
    form = ".2%" if metric.endswith("accuracy") else ".3f"
    worst = min(_WORST, max(1.0, 100 * float(np.quantile(table["below_best"], 0.9))))
    panels = dict(iter(table.groupby(["subset", "setting"], sort=False)))
    for row, subset in enumerate(subsets, start=1):
        for column, setting in enumerate(settings, start=1):
            panel = panels.get((subset, setting))
            if panel is not None:
                _add_panel(figure, panel, colours[setting], form, worst, row=row, column=column)
    _add_legend(figure)
    _label_axes(figure, table, len(subsets), len(settings))
    height = 150 + 230 * len(subsets)
    figure.update_layout(
        template=TEMPLATE,
        height=height,
        legend={"y": -70 / height},
        coloraxis={
            "colorscale": _COLOURS,
            "cmin": 0.0,
            "cmax": worst,
            "colorbar": {"title": {"text": "points below<br>the arm's best", "font": {"size": 12}}, "thickness": 12},
        },
    )
    figure.update_annotations(font_size=13)
    return figure


def _add_legend(figure: go.Figure) -> None:
    """Entries without data: they say what the marks of every panel mean."""
    for name, look in (
        ("full length", {"symbol": "circle", "size": 9}),
        ("stopped, diverged, failed or running", {"symbol": "circle-open", "size": 8}),
        ("winner", {"symbol": "star", "size": 14}),
        ("winner at the edge of the range", {"symbol": "star-diamond", "size": 14}),
    ):
        figure.add_trace(
            go.Scatter(
                x=[None],
                y=[None],
                mode="markers",
                name=name,
                hoverinfo="skip",
                marker={"color": GREY, **look},
            ),
            row=1,
            col=1,
        )


def _label_axes(figure: go.Figure, table: pd.DataFrame, rows: int, columns: int) -> None:
    ticks, names = decade_ticks(float(table["x"].min()), float(table["x"].max()))
    figure.update_xaxes(tickvals=ticks, ticktext=names)
    for column in range(1, columns + 1):
        figure.update_xaxes(title_text="learning rate", row=rows, col=column)
    lowest = float(table["y"].min())
    ticks, names = decade_ticks(lowest, float(table["y"].max()))
    if (table[WEIGHT_DECAY] == 0).any():
        above = [(tick, name) for tick, name in zip(ticks, names, strict=True) if tick > lowest]
        ticks, names = [lowest, *(tick for tick, _ in above)], ["0", *(name for _, name in above)]
    figure.update_yaxes(tickvals=ticks, ticktext=names)
    for row in range(1, rows + 1):
        figure.update_yaxes(title_text="weight decay", row=row, col=1)


def _add_panel(
    figure: go.Figure, panel: pd.DataFrame, colour: str, form: str, worst: float, *, row: int, column: int
) -> None:
    fitted = fit_surface(panel)
    if fitted is not None:
        x, y, surface, explained = fitted
        figure.add_trace(
            go.Contour(
                x=x.round(4),
                y=y.round(4),
                z=(100 * surface).round(3),
                colorscale=_COLOURS,
                zmin=0.0,
                zmax=worst,
                showscale=False,
                opacity=0.45,
                ncontours=8,
                line={"width": 0.5},
                hovertemplate=f"fitted: %{{z:.1f}} points below the best<br>R² {explained:.2f}<extra></extra>",
            ),
            row=row,
            col=column,
        )
    shown = panel[panel["shown"]]
    full = shown["status"] == TrialStatus.COMPLETED
    # One look a trace: Plotly checks a list of looks element by element, which would take longer than all the rest.
    for part, symbol in ((shown[full & ~shown["winner"]], "circle"), (shown[~full & ~shown["winner"]], "circle-open")):
        _add_trials(figure, part, form, row, column, {"symbol": symbol, "size": 9 if symbol == "circle" else 8})
    winner = shown[shown["winner"]]
    look = {"symbol": "star-diamond" if winner["edge"].any() else "star", "size": 15}
    _add_trials(figure, winner, form, row, column, look | {"line": {"color": colour, "width": 2}})


def _add_trials(
    figure: go.Figure, rows: pd.DataFrame, form: str, row: int, column: int, look: dict[str, object]
) -> None:
    if not len(rows):
        return
    figure.add_trace(
        go.Scatter(
            x=rows["x"].round(4).to_numpy(),
            y=rows["y"].round(4).to_numpy(),
            mode="markers",
            showlegend=False,
            customdata=np.array(
                [
                    f"{score:{form}}, {100 * below:.2f} points below the best<br>{words}"
                    for words, score, below in zip(trial_hover(rows), rows["score"], rows["below_best"], strict=True)
                ],
                dtype=object,
            ),
            marker={
                "color": (100 * rows["below_best"]).round(3).to_numpy(),
                "coloraxis": "coloraxis",
                "line": {"color": GREY, "width": 1},
                **look,
            },
            hovertemplate=TRIAL_HOVER.replace("VALUE<br>", ""),
        ),
        row=row,
        col=column,
    )
