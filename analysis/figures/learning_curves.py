"""Learning curves of every search trial, one panel per fraction and setting."""

from __future__ import annotations

import pandas as pd
import plotly.graph_objects as go

from analysis.arms import settings_of
from analysis.figures.hover import TRIAL_HOVER, trial_hover
from analysis.figures.style import (
    TEMPLATE,
    broken_line,
    empty_figure,
    line_breaks,
    log_ticks,
    panel_grid,
    panel_titles,
    setting_colours,
)
from analysis.figures.thinning import evenly_by_rank, most_trials
from analysis.hyperparameters import hyperparameter_columns
from analysis.records.schema import Phase
from analysis.records.study import Study

TRIALS_PER_PANEL = 40
"""More trials than this are thinned out evenly over their ranks: a page must open within seconds."""
POINTS = 5000
"""Points of all panels together, about. Where arms or epochs are many, a panel shows fewer trials, but at least `_FEWEST`."""
_FEWEST = 10


def learning_curves(study: Study, quantity: str) -> go.Figure:
    """Learning curves of the search.

    Args:
        study: Any study.
        quantity: "accuracy" or "loss".
    """
    return draw_learning_curves(learning_curves_table(study), setting_colours(study), quantity)


def learning_curves_caption(study: Study, quantity: str) -> str:
    """Caption: which trials are drawn, and how training and validation were measured.

    Args:
        study: Any study.
        quantity: "accuracy" or "loss".
    """
    loss = " Mean cross-entropy, natural logarithm, on a logarithmic axis." if quantity == "loss" else ""
    limit, most = shown_trials(study), most_trials(study)
    thinned = f" Of up to {most:,} trials of an arm {limit} are drawn, evenly over their ranks." if most > limit else ""
    return (
        "Every trial of the search, one panel per arm, all on one scale; the winner thick, a star at its chosen epoch."
        f"{thinned} One run per line. Training values are measured on augmented crops during the epoch.{loss}"
    )


def shown_trials(study: Study) -> int:
    """How many trials of an arm are drawn at most, so that a page opens within seconds."""
    trials = study.trials[(study.trials["phase"] == Phase.SEARCH) & (study.trials["control"] == "")]
    epochs = int(trials["epochs"].max()) if len(trials) else 0
    points = max(1, trials["arm"].nunique() * epochs)
    return min(TRIALS_PER_PANEL, max(_FEWEST, POINTS // points))


def learning_curves_table(study: Study, limit: int | None = None) -> pd.DataFrame:
    """Every epoch of the shown search trials of the compared arms.

    Args:
        study: Any study.
        limit: Trials per arm that are shown, the winner always among them; `shown_trials` when None.

    Returns:
        fraction, subset, setting, arm, trial_id, index, seed, hyperparameters of the trial, status, winner (bool),
        best_epoch, epoch, train_accuracy, val_accuracy, train_loss, val_loss; ordered by fraction, setting, index, epoch.
    """
    trials = study.trials[(study.trials["phase"] == Phase.SEARCH) & (study.trials["control"] == "")].copy()
    trials["winner"] = trials["trial_id"].isin(study.winners()["trial_id"])
    trials["setting"] = settings_of(trials["arm"])
    ranked = trials.sort_values("index", kind="stable")
    limit = shown_trials(study) if limit is None else limit
    kept = ranked[evenly_by_rank(ranked, ["winner", study.metric], "arm", limit)]
    columns = ["fraction", "subset", "setting", "arm", "trial_id", "index", "seed", *hyperparameter_columns(trials)]
    epochs = study.epochs[["trial_id", "epoch", "train_accuracy", "val_accuracy", "train_loss", "val_loss"]]
    table = kept[[*columns, "status", "winner", "best_epoch"]].merge(epochs, on="trial_id")
    ordered: pd.DataFrame = table.sort_values(["fraction", "setting", "index", "epoch"], kind="stable")
    return ordered.reset_index(drop=True)


def draw_learning_curves(table: pd.DataFrame, colours: dict[str, str], quantity: str) -> go.Figure:
    """Draw `learning_curves_table`: rows are fractions, columns settings, all panels on one scale."""
    if not len(table):
        return empty_figure("No epoch has been recorded yet.")
    subsets = table["subset"].unique().tolist()
    settings = [name for name in colours if name in set(table["setting"].unique())]
    figure = panel_grid(subsets, settings, panel_titles(subsets, settings))
    for row, subset in enumerate(subsets, start=1):
        for column, setting in enumerate(settings, start=1):
            panel = table[(table["subset"] == subset) & (table["setting"] == setting)]
            _add_panel(figure, panel, colour=colours[setting], quantity=quantity, row=row, column=column)
    _add_legend(figure, colours[settings[0]])
    title = {"accuracy": "accuracy", "loss": "cross-entropy"}[quantity]
    figure.update_yaxes(
        **(log_ticks(table[["val_loss", "train_loss"]]) if quantity == "loss" else {"tickformat": ".0%"})
    )
    for row in range(1, len(subsets) + 1):
        figure.update_yaxes(title_text=title, row=row, col=1)
    for column in range(1, len(settings) + 1):
        figure.update_xaxes(title_text="epoch", row=len(subsets), col=column)
    height = 130 + 200 * len(subsets)
    figure.update_layout(template=TEMPLATE, height=height, legend={"y": -65 / height})
    figure.update_annotations(font_size=13)
    return figure


def _add_panel(figure: go.Figure, panel: pd.DataFrame, *, colour: str, quantity: str, row: int, column: int) -> None:
    value = f"val_{quantity}"
    form = ".2%" if quantity == "accuracy" else ".4f"
    others = panel[~panel["winner"]]
    if len(others):
        breaks = line_breaks(others["trial_id"])
        figure.add_trace(
            go.Scatter(
                x=broken_line(others["epoch"], breaks),
                y=broken_line(others[value], breaks),
                customdata=broken_line(trial_hover(others), breaks),
                mode="lines+markers",
                line={"color": colour, "width": 1},
                marker={"color": colour, "size": 3},
                opacity=0.55,
                showlegend=False,
                hovertemplate=TRIAL_HOVER.replace("VALUE", f"epoch %{{x}}: validation %{{y:{form}}}"),
            ),
            row=row,
            col=column,
        )
    winner = panel[panel["winner"]]
    if not len(winner):
        return
    for name, dash, words in ((value, "solid", "validation"), (f"train_{quantity}", "dot", "training")):
        figure.add_trace(
            go.Scatter(
                x=winner["epoch"].to_numpy(),
                y=winner[name].to_numpy(),
                customdata=trial_hover(winner),
                mode="lines",
                line={"color": colour, "width": 3 if dash == "solid" else 2, "dash": dash},
                showlegend=False,
                hovertemplate=TRIAL_HOVER.replace("VALUE", f"epoch %{{x}}: winner, {words} %{{y:{form}}}"),
            ),
            row=row,
            col=column,
        )
    best = winner[winner["epoch"] == winner["best_epoch"]]
    figure.add_trace(
        go.Scatter(
            x=best["epoch"].tolist(),
            y=best[value].tolist(),
            customdata=trial_hover(best),
            mode="markers",
            marker={"color": colour, "size": 14, "symbol": "star", "line": {"color": "white", "width": 1}},
            showlegend=False,
            hovertemplate=TRIAL_HOVER.replace("VALUE", f"epoch %{{x}}: winner, chosen epoch, validation %{{y:{form}}}"),
        ),
        row=row,
        col=column,
    )


def _add_legend(figure: go.Figure, colour: str) -> None:
    """Entries without data: they say what the lines of every panel mean."""
    entries = (
        ("other trials, validation", {"mode": "lines", "line": {"color": colour, "width": 1}, "opacity": 0.55}),
        ("winner, validation", {"mode": "lines", "line": {"color": colour, "width": 3}}),
        ("winner, training", {"mode": "lines", "line": {"color": colour, "width": 2, "dash": "dot"}}),
        ("winner, chosen epoch", {"mode": "markers", "marker": {"color": colour, "size": 12, "symbol": "star"}}),
    )
    for name, look in entries:
        figure.add_trace(go.Scatter(x=[None], y=[None], name=name, hoverinfo="skip", **look), row=1, col=1)
