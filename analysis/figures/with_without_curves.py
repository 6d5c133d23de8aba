"""Loss and accuracy against epochs without and with pretraining: the pair of the published report."""

from __future__ import annotations

import pandas as pd
import plotly.graph_objects as go
from plotly.subplots import make_subplots

from analysis.arms import settings_of
from analysis.figures.hover import TRIAL_HOVER, trial_hover
from analysis.figures.style import (
    TEMPLATE,
    broken_line,
    empty_figure,
    legend_title,
    line_breaks,
    log_ticks,
    safe,
    setting_colours,
)
from analysis.hyperparameters import hyperparameter_columns
from analysis.records.study import Study
from analysis.wording.captions import selection_rule

_QUANTITIES = ("loss", "accuracy")


def with_without_curves(study: Study) -> go.Figure:
    """Curves of the selected runs at each fraction, without and with pretraining in one panel."""
    return draw_with_without_curves(with_without_curves_table(study), setting_colours(study))


def with_without_curves_caption(study: Study) -> str:
    """Caption: rule, kinds of lines, and that one curve is no evidence."""
    return (
        f"{selection_rule(study)} Thin: validation of each run; thick: mean over runs; dotted: mean in training, measured "
        "on augmented crops during the epoch. Cross-entropy, natural logarithm, on a logarithmic axis. One curve is not "
        "evidence: see the differences with their intervals."
    )


def with_without_curves_table(study: Study) -> pd.DataFrame:
    """Every epoch of the selected runs of the compared arms.

    Returns:
        fraction, subset, setting, arm, trial_id, seed, the hyperparameters, epoch, val_loss, val_accuracy, and the means
        over the arm's runs at that epoch: mean_train_loss, mean_val_loss, mean_train_accuracy, mean_val_accuracy, n.
    """
    runs = study.selected()
    runs = runs[runs["control"] == ""]
    values = ["train_loss", "val_loss", "train_accuracy", "val_accuracy"]
    epochs = study.epochs
    epochs = epochs[epochs["trial_id"].isin(runs["trial_id"])]
    table = epochs[["fraction", "subset", "arm", "trial_id", "seed", "epoch", *values]]
    settings = hyperparameter_columns(runs)
    table = table.merge(runs[["trial_id", *settings]], on="trial_id")
    table.insert(2, "setting", settings_of(table["arm"]))
    grouped = table.groupby(["arm", "epoch"])
    for name in values:
        table[f"mean_{name}"] = grouped[name].transform("mean")
    table["n"] = grouped["trial_id"].transform("count")
    ordered: pd.DataFrame = table.drop(columns=["train_loss", "train_accuracy"]).sort_values(
        ["fraction", "setting", "seed", "epoch"], kind="stable"
    )
    return ordered.reset_index(drop=True)


def draw_with_without_curves(table: pd.DataFrame, colours: dict[str, str]) -> go.Figure:
    """Draw `with_without_curves_table`: rows are fractions, columns loss and accuracy."""
    if not len(table):
        return empty_figure("No full-length run has ended yet.")
    subsets = table["subset"].unique().tolist()
    settings = [name for name in colours if name in set(table["setting"].unique())]
    figure = make_subplots(
        rows=len(subsets),
        cols=2,
        shared_xaxes="all",
        horizontal_spacing=0.09,
        vertical_spacing=0.16 / len(subsets),
        subplot_titles=[f"{safe(subset)}, {quantity}" for subset in subsets for quantity in _QUANTITIES],
    )
    for row, subset in enumerate(subsets, start=1):
        for column, quantity in enumerate(_QUANTITIES, start=1):
            for setting in settings:
                panel = table[(table["subset"] == subset) & (table["setting"] == setting)]
                if len(panel):
                    _add_setting(figure, panel, setting, colours[setting], quantity, row=row, column=column)
        rows = table[table["subset"] == subset]
        ticks = log_ticks(rows[["val_loss", "mean_val_loss", "mean_train_loss"]])
        figure.update_yaxes(title_text="cross-entropy", row=row, col=1, **ticks)
        figure.update_yaxes(title_text="accuracy", tickformat=".0%", row=row, col=2)
    shown: set[str] = set()
    for trace in figure.data:
        trace.showlegend = bool(trace.name) and trace.legendgroup not in shown
        if trace.showlegend:
            shown.add(trace.legendgroup)
    for column in (1, 2):
        figure.update_xaxes(title_text="epoch", row=len(subsets), col=column)
    height = 130 + 210 * len(subsets)
    figure.update_layout(template=TEMPLATE, height=height, legend={"y": -65 / height})
    figure.update_annotations(font_size=13)
    return figure


def _add_setting(
    figure: go.Figure, panel: pd.DataFrame, setting: str, colour: str, quantity: str, *, row: int, column: int
) -> None:
    form = ".2%" if quantity == "accuracy" else ".4f"
    arm = safe(panel["arm"].iloc[0])
    breaks = line_breaks(panel["trial_id"])
    figure.add_trace(
        go.Scatter(
            x=broken_line(panel["epoch"], breaks),
            y=broken_line(panel[f"val_{quantity}"], breaks),
            customdata=broken_line(trial_hover(panel), breaks),
            mode="lines",
            line={"color": colour, "width": 1},
            opacity=0.5,
            name=f"{legend_title(setting)}: validation, each run",
            legendgroup=f"{setting} runs",
            hovertemplate=TRIAL_HOVER.replace("VALUE", f"epoch %{{x}}: validation %{{y:{form}}}"),
        ),
        row=row,
        col=column,
    )
    means = panel.drop_duplicates("epoch").sort_values("epoch")
    for split, words, dash, width in (("val", "validation", "solid", 3), ("train", "training", "dot", 2)):
        figure.add_trace(
            go.Scatter(
                x=means["epoch"].to_numpy(),
                y=means[f"mean_{split}_{quantity}"].to_numpy(),
                customdata=means["n"].to_numpy(),
                mode="lines",
                line={"color": colour, "width": width, "dash": dash},
                name=f"{legend_title(setting)}: {words}, mean",
                legendgroup=f"{setting} {split}",
                hovertemplate=(
                    f"{arm}<br>epoch %{{x}}: {words} %{{y:{form}}}, mean of %{{customdata}} runs<extra></extra>"
                ),
            ),
            row=row,
            col=column,
        )
