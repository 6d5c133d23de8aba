"""Loss and accuracy of the encoders' pretraining."""

from __future__ import annotations

import pandas as pd
import plotly.graph_objects as go
from plotly.subplots import make_subplots

from analysis.figures.style import TEMPLATE, empty_figure, safe
from analysis.records.study import Study
from analysis.wording.colours import GREEN, PURPLE


def pretraining_curves(study: Study) -> go.Figure:
    """Training and validation loss of every encoder, and validation accuracy where it has one."""
    return draw_pretraining_curves(pretraining_curves_table(study))


def pretraining_curves_caption(_: Study) -> str:
    """Caption: n, and which loss an encoder has."""
    return "One run per encoder (n = 1). Loss: cross-entropy for a classifier, mean squared error for an autoencoder."


def pretraining_curves_table(study: Study) -> pd.DataFrame:
    """Long form of `Study.curves`: encoder, quantity ("loss" or "accuracy"), split ("train" or "val"), epoch, value."""
    parts = [
        study.curves[["encoder", "epoch"]].assign(
            quantity=quantity, split=split, value=study.curves[f"{split}_{quantity}"]
        )
        for split, quantity in (("train", "loss"), ("val", "loss"), ("val", "accuracy"))
    ]
    table = pd.concat(parts, ignore_index=True).dropna(subset=["value"])
    return table[["encoder", "quantity", "split", "epoch", "value"]].reset_index(drop=True)


def draw_pretraining_curves(table: pd.DataFrame) -> go.Figure:
    """Draw `pretraining_curves_table`: one panel per encoder and quantity."""
    if not len(table):
        return empty_figure("No encoder has been pretrained in this study.")
    panels = sorted(
        set(zip(table["encoder"], table["quantity"], strict=True)), key=lambda panel: (panel[0], panel[1] != "loss")
    )
    figure = make_subplots(
        rows=1,
        cols=len(panels),
        horizontal_spacing=0.26 / len(panels),
        subplot_titles=[safe(f"{encoder}, {quantity}") for encoder, quantity in panels],
    )
    for column, (encoder, quantity) in enumerate(panels, start=1):
        rows = table[(table["encoder"] == encoder) & (table["quantity"] == quantity)]
        form = ".2%" if quantity == "accuracy" else ".5f"
        for split, words, colour, dash in (("train", "training", PURPLE, "dot"), ("val", "validation", GREEN, "solid")):
            part = rows[rows["split"] == split].sort_values("epoch")
            if not len(part):
                continue
            figure.add_trace(
                go.Scatter(
                    x=part["epoch"].tolist(),
                    y=part["value"].tolist(),
                    mode="lines+markers",
                    name=words,
                    legendgroup=split,
                    showlegend=words not in [trace.name for trace in figure.data],
                    line={"color": colour, "dash": dash},
                    marker={"color": colour, "size": 5},
                    hovertemplate=f"{safe(encoder)}, {words}<br>epoch %{{x}}: %{{y:{form}}}<extra></extra>",
                ),
                row=1,
                col=column,
            )
        figure.update_yaxes(tickformat=".0%" if quantity == "accuracy" else "~g", row=1, col=column)
    figure.update_xaxes(title_text="epoch")
    figure.update_layout(template=TEMPLATE, height=340, legend={"y": -0.28})
    figure.update_annotations(font_size=13)
    return figure
