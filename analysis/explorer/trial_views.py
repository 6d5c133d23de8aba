"""The list of chosen trials, and one trial with its curves and confusion matrices."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import plotly.graph_objects as go
from dash import dcc, html
from plotly.colors import sample_colorscale
from plotly.subplots import make_subplots

from analysis.arms import setting_of
from analysis.explorer.aria import aria
from analysis.explorer.comparison_view import show_value
from analysis.explorer.view_state import ViewState
from analysis.figures.style import TEMPLATE, numbers, setting_colours
from analysis.hyperparameters import hyperparameter_columns, hyperparameter_title
from analysis.records.study import Study
from analysis.statistics.confusion import run_confusions
from analysis.wording.formats import MISSING

PAGE = 25
"""Trials on a page of the list."""


def trial_columns(trials: pd.DataFrame) -> dict[str, str]:
    """Columns of the list and their titles; each can be sorted by."""
    settings = {name: hyperparameter_title(name) for name in hyperparameter_columns(trials)}
    names = {
        "trial_id": "trial",
        "arm": "arm",
        "phase": "phase",
        "status": "status",
        "seed": "seed",
        "epochs": "epochs",
    }
    return {**names, **settings, "best_epoch": "best epoch", "val_loss": "val. loss", "score": "score"}


def sorted_trials(chosen: pd.DataFrame, state: ViewState) -> pd.DataFrame:
    """The chosen trials of the opened arm (of all arms when none is open) in the order that the reader wants."""
    rows = chosen[chosen["arm"] == state.arm] if state.arm else chosen
    column = state.sort if state.sort in trial_columns(chosen) else "score"
    return rows.sort_values([column, "trial_id"], ascending=[state.ascending, True], kind="stable", na_position="last")


def trial_list(study: Study, state: ViewState, chosen: pd.DataFrame) -> list[Any]:
    """A page of the list: a row opens a trial, a tick selects it."""
    rows = sorted_trials(chosen, state)
    columns = trial_columns(chosen)
    pages = max(1, -(-len(rows) // PAGE))
    page = min(state.page, pages - 1)
    part = rows.iloc[page * PAGE : (page + 1) * PAGE]
    where = f" of {state.arm}" if state.arm else ""
    said = f"{len(rows):,} trial{'' if len(rows) == 1 else 's'}{where}, {len(state.selected)} selected."
    head: list[Any] = [html.Th(html.Span("selected", className="hidden"), scope="col")]
    for name, title in columns.items():
        mark = (" ▲" if state.ascending else " ▼") if name == state.sort else ""
        button = html.Button(f"{title}{mark}", id={"kind": "sort", "value": name}, className="plain")
        head.append(html.Th(button, scope="col", **aria(sort=_sorted(state, name))))
    body = [_row(row, columns, state, study.metric) for row in part.to_dict("records")]
    children: list[Any] = [html.P(said, id="trial-count", className="caption")]
    if len(rows):
        table = html.Table([html.Thead(html.Tr(head)), html.Tbody(body)], id="trial-table")
        children.append(html.Div(table, className="scroll", tabIndex=0))
    else:
        children.append(html.P("No trial passes the filters.", className="none"))
    if pages > 1:
        children.append(
            html.Div(
                [
                    html.Button("previous", id={"kind": "page", "value": page - 1}, disabled=page == 0),
                    html.Span(f"page {page + 1} of {pages}"),
                    html.Button("next", id={"kind": "page", "value": page + 1}, disabled=page == pages - 1),
                ],
                className="pages",
            )
        )
    return children


def _sorted(state: ViewState, name: str) -> str:
    if name != state.sort:
        return "none"
    return "ascending" if state.ascending else "descending"


def _row(row: dict[Any, Any], columns: dict[str, str], state: ViewState, metric: str) -> html.Tr:
    trial = str(row["trial_id"])
    ticked = trial in state.selected
    cells: list[Any] = [
        html.Td(
            html.Button(
                "☑" if ticked else "☐",
                id={"kind": "select", "value": trial},
                className="plain tick",
                role="checkbox",
                **aria(checked="true" if ticked else "false", label=f"select {trial}"),
            )
        )
    ]
    for name in columns:
        value = row[name]
        if name == "trial_id":
            cells.append(html.Td(html.Button(trial, id={"kind": "trial", "value": trial}, className="plain link")))
            continue
        cells.append(html.Td(_show(name, value, metric), className="number" if _is_number(value) else ""))
    return html.Tr(cells, className="open" if trial == state.trial else "")


def _show(name: str, value: Any, metric: str) -> Any:
    if value is None or value is pd.NA or value != value:  # noqa: PLR0124 - NaN is not itself
        return MISSING
    if name == "score":
        return html.Span(show_value(value, metric), title=repr(float(value)))
    if name == "val_loss":
        return f"{value:.4f}"
    return f"{value:.2e}" if isinstance(value, float) else str(value)


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def trial_view(study: Study, state: ViewState) -> list[Any]:
    """One trial: what it is, its curves, its confusion matrices; cells of a confirmed run open their images."""
    trials = study.trials[study.trials["trial_id"] == state.trial]
    if not state.trial:
        return [html.P("Open a trial in the list to see its curves and its confusion matrix.", className="none")]
    if not len(trials):
        return [html.P(f"There is no trial {state.trial} in this run.", className="none")]
    trial = trials.iloc[0]
    words = {"arm": trial["arm"], "phase": trial["phase"], "status": trial["status"], "seed": trial["seed"]}
    words |= {
        hyperparameter_title(name): f"{trial[name]:.3g}" if isinstance(trial[name], float) else trial[name]
        for name in hyperparameter_columns(trials)
    }
    words |= {"labelled images": f"{trial['train_images']:,}", "epochs": trial["epochs"]}
    words |= {"gradient steps": f"{trial['gradient_steps']:,}", "seconds": f"{trial['seconds']:,.0f}"}
    children: list[Any] = [
        html.H3(["Trial ", html.Code(state.trial)], id="trial-name"),
        html.Dl([html.Div([html.Dt(name), html.Dd(str(value))]) for name, value in words.items()]),
    ]
    if trial["error"]:
        children.append(html.Pre(trial["error"], className="error"))
    epochs = study.epochs[study.epochs["trial_id"] == state.trial]
    if len(epochs):
        colour = setting_colours(study)[setting_of(str(trial["arm"]))]
        curves = draw_trial_curves(epochs, colour, trial["best_epoch"])
        children.append(html.Div(dcc.Graph(id="trial-curves", figure=curves, config=GRAPH), className="graph"))
    else:
        children.append(html.P("It has not reported an epoch.", className="none"))
    confirmed = bool((study.predictions["trial_id"] == state.trial).any())
    matrices = []
    for split in ("test", "val"):
        matrix = run_confusions(study, trials["trial_id"], split)[0]
        if matrix.sum():
            matrices.append(_matrix(matrix, study.classes, split, state, openable=confirmed))
    children.append(html.Div(matrices, className="matrices"))
    if not confirmed and matrices:
        children.append(
            html.P(
                "Predictions for each image are recorded for confirmed runs only: these cells do not open.",
                className="caption",
            )
        )
    return children


GRAPH: Any = {"displaylogo": False, "responsive": True, "modeBarButtonsToRemove": ["select2d", "lasso2d"]}
"""How every graph behaves."""


def draw_trial_curves(epochs: pd.DataFrame, colour: str, best_epoch: Any) -> go.Figure:
    """Loss and accuracy of one trial against epochs, its chosen epoch marked.

    Args:
        epochs: Its rows of `Study.epochs`.
        colour: Colour of its setting.
        best_epoch: Its chosen epoch; may be missing.
    """
    epochs = epochs.sort_values("epoch")
    figure = make_subplots(rows=1, cols=2, horizontal_spacing=0.1, subplot_titles=["cross-entropy", "accuracy"])
    for column, quantity in enumerate(("loss", "accuracy"), start=1):
        for split, words, dash in (("val", "validation", "solid"), ("train", "training", "dot")):
            form = ".4f" if quantity == "loss" else ".2%"
            figure.add_trace(
                go.Scatter(
                    x=epochs["epoch"].tolist(),
                    y=numbers(epochs[f"{split}_{quantity}"]),
                    mode="lines+markers",
                    marker={"size": 4},
                    line={"color": colour, "dash": dash},
                    name=words,
                    legendgroup=split,
                    showlegend=column == 1,
                    hovertemplate=f"epoch %{{x}}: {words} %{{y:{form}}}<extra></extra>",
                ),
                row=1,
                col=column,
            )
        if not pd.isna(best_epoch):
            figure.add_vline(x=int(best_epoch), line={"color": colour, "width": 1, "dash": "dash"}, row=1, col=column)
    figure.update_yaxes(tickformat=".0%", row=1, col=2)
    figure.update_xaxes(title_text="epoch (dashed line: chosen)")
    figure.update_layout(template=TEMPLATE, height=320, legend={"y": -0.3}, margin={"t": 40})
    figure.update_annotations(font_size=13)
    return figure


def _matrix(
    matrix: np.ndarray[Any, np.dtype[np.int64]],
    classes: tuple[str, ...],
    split: str,
    state: ViewState,
    *,
    openable: bool,
) -> html.Table:
    images = matrix.sum(axis=1)
    shares = np.divide(matrix, images[:, None], out=np.zeros(matrix.shape), where=images[:, None] > 0)
    name = {"val": "Validation", "test": "Test"}[split]
    head = html.Tr([html.Th(f"{name}: true class ↓, taken for →"), *(html.Th(each, scope="col") for each in classes)])
    rows = []
    for actual, label in enumerate(classes):
        cells: list[Any] = [html.Th(f"{label} ({images[actual]:,})", scope="row")]
        for predicted, other in enumerate(classes):
            key = f"{split},{actual},{predicted}"
            look = {"background": sample_colorscale("Cividis", float(shares[actual, predicted]))[0]}
            look["color"] = "#fff" if shares[actual, predicted] < 0.5 else "#000"
            count = f"{matrix[actual, predicted]:,}"
            told = f"{label} taken for {other}: {count} of {images[actual]:,}"
            if openable and matrix[actual, predicted]:
                cell: Any = html.Button(
                    count,
                    id={"kind": "cell", "value": key},
                    style=look,
                    title=f"{told}. Opens the images.",
                    className="matrix-cell open" if key == state.cell else "matrix-cell",
                )
            else:
                cell = html.Div(count if images[actual] else MISSING, style=look, title=told, className="matrix-cell")
            cells.append(html.Td(cell))
        rows.append(html.Tr(cells))
    return html.Table([html.Thead(head), html.Tbody(rows)], className="matrix", id=f"matrix-{split}")
