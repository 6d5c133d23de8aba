"""Confusion matrices and class-wise recall of every arm."""

from __future__ import annotations

import numpy as np
import pandas as pd
import plotly.graph_objects as go

from analysis.figures.style import TEMPLATE, empty_figure, legend_title, panel_grid, safe, setting_colours
from analysis.metrics import SPLIT_TITLES
from analysis.records.study import Study
from analysis.statistics.confusion import arm_confusions, run_confusions, shown_split
from analysis.wording.captions import choice_sentence, selection_rule
from analysis.wording.formats import MISSING

_NOTHING = "No full-length run has ended yet."


def confusion_counts(study: Study) -> go.Figure:
    """Images of each class by the class they were taken for, summed over the seeds of each arm."""
    return draw_confusion(arm_confusions(study), list(setting_colours(study)), "count")


def confusion_counts_caption(study: Study) -> str:
    """Caption: rule, n, and the colours of the counts."""
    return f"{_caption(study)} Colours follow the logarithm of the count."


def confusion_shares(study: Study) -> go.Figure:
    """The same as shares of the true class: rows sum to 100 %."""
    return draw_confusion(arm_confusions(study), list(setting_colours(study)), "share")


def confusion_shares_caption(study: Study) -> str:
    """Caption: rule, n, and what a share is of."""
    return f"{_caption(study)} Each row in percent of its class; a dash: the split has no image of the class."


def draw_confusion(table: pd.DataFrame, settings: list[str], value: str) -> go.Figure:
    """Draw `analysis.statistics.confusion.arm_confusions`.

    Args:
        table: One row per arm and cell.
        settings: In the order of the columns.
        value: "count", with colours on a logarithmic scale, or "share".
    """
    if not len(table):
        return empty_figure(_NOTHING)
    classes = table["actual"].unique().tolist()
    subsets = table.sort_values("fraction", kind="stable")["subset"].unique().tolist()
    settings = [name for name in settings if name in set(table["setting"].unique())]
    figure = panel_grid(subsets, settings, _panel_titles(table, subsets, settings), narrow=True, names=True)
    for row, subset in enumerate(subsets, start=1):
        for column, setting in enumerate(settings, start=1):
            panel = table[(table["subset"] == subset) & (table["setting"] == setting)]
            if len(panel):
                _add_matrix(figure, panel, classes, value, row=row, column=column)
    height = 130 + 230 * len(subsets)
    scale: dict[str, object] = {"colorscale": "Cividis", "showscale": False}
    if value == "share":
        scale |= {"cmin": 0, "cmax": 1}
    figure.update_layout(template=TEMPLATE, height=height, coloraxis=scale)
    figure.update_yaxes(autorange="reversed", ticks="")
    figure.update_xaxes(ticks="", tickangle=-40)
    for row in range(1, len(subsets) + 1):
        figure.update_yaxes(title_text="true class", row=row, col=1)
    for column in range(1, len(settings) + 1):
        figure.update_xaxes(title_text="predicted class", row=len(subsets), col=column)
    figure.update_annotations(font_size=13)
    return figure


def _panel_titles(table: pd.DataFrame, subsets: list[str], settings: list[str]) -> list[str]:
    runs = table.drop_duplicates("arm").set_index(["subset", "setting"])["runs"]
    return [
        f"{safe(subset)}, {legend_title(name)}" + (f" (n = {runs[(subset, name)]})" if (subset, name) in runs else "")
        for subset in subsets
        for name in settings
    ]


def _add_matrix(
    figure: go.Figure, panel: pd.DataFrame, classes: list[str], value: str, *, row: int, column: int
) -> None:
    size = len(classes)
    counts = panel["count"].to_numpy(dtype="int64").reshape(size, size)
    shares = panel["share"].to_numpy(dtype="float64").reshape(size, size)
    images = panel["images"].to_numpy(dtype="int64").reshape(size, size)
    if value == "count":
        colour = np.log1p(counts).round(4).tolist()
        text = [[f"{count:,}" if count else "" for count in line] for line in counts.tolist()]
    else:
        colour = [[None if np.isnan(share) else round(share, 4) for share in line] for line in shares.tolist()]
        text = [[MISSING if np.isnan(share) else f"{100 * share:.0f}" for share in line] for line in shares.tolist()]
    hover = [
        [
            f"{safe(actual)} taken for {safe(predicted)}<br>"
            + (
                f"{counts[i, j]:,} of {images[i, j]:,} ({100 * shares[i, j]:.1f} %)"
                if images[i, j]
                else "no image of this class"
            )
            for j, predicted in enumerate(classes)
        ]
        for i, actual in enumerate(classes)
    ]
    arm, runs = safe(panel["arm"].iloc[0]), int(panel["runs"].iloc[0])
    figure.add_trace(
        go.Heatmap(
            x=[safe(name) for name in classes],
            y=[safe(name) for name in classes],
            z=colour,
            text=text,
            texttemplate="%{text}",
            textfont={"size": 11},
            customdata=hover,
            coloraxis="coloraxis",
            xgap=1,
            ygap=1,
            hovertemplate=f"{arm}, {runs} runs<br>%{{customdata}}<extra></extra>",
        ),
        row=row,
        col=column,
    )


def recall_heatmap(study: Study) -> go.Figure:
    """Recall of every class in every arm, mean over seeds."""
    return draw_recall_heatmap(recall_heatmap_table(study))


def recall_heatmap_caption(study: Study) -> str:
    """Caption: rule, and how much a class of few images can say."""
    return (
        f"{selection_rule(study)} Percent of the images of a class that were named rightly, mean over runs. "
        f"{choice_sentence(shown_split(study))} The fewer images a class has, "
        "the less a difference between arms says: one of nine basophils is 11 points."
    )


def recall_heatmap_table(study: Study) -> pd.DataFrame:
    """Recall of every class in every arm.

    Returns:
        One row per arm and class: arm, control, split, class, recall (mean over the arm's runs, in [0, 1]; NaN for a
        class without images), low and high (the lowest and highest run), runs, images (of the class, in one run).
    """
    runs, split = study.selected(), shown_split(study)
    matrices = run_confusions(study, runs["trial_id"], split)
    images = matrices.sum(axis=2)
    correct = np.diagonal(matrices, axis1=1, axis2=2)
    recall = np.divide(correct, images, out=np.full(images.shape, np.nan), where=images > 0)
    arms = arm_confusions(study)[["arm", "control"]].drop_duplicates()
    rows = []
    for arm, control in arms.itertuples(index=False):
        chosen = (runs["arm"] == arm).to_numpy()
        for position, name in enumerate(study.classes):
            values = recall[chosen, position]
            known = values[~np.isnan(values)]
            rows.append(
                {
                    "arm": arm,
                    "control": control,
                    "split": split,
                    "class": name,
                    "recall": known.mean() if len(known) else np.nan,
                    "low": known.min() if len(known) else np.nan,
                    "high": known.max() if len(known) else np.nan,
                    "runs": int(chosen.sum()),
                    "images": int(images[chosen, position].max()),
                }
            )
    return pd.DataFrame(rows, columns=["arm", "control", "split", "class", "recall", "low", "high", "runs", "images"])


def draw_recall_heatmap(table: pd.DataFrame) -> go.Figure:
    """Draw `recall_heatmap_table`: rows are arms, columns classes."""
    if not len(table):
        return empty_figure(_NOTHING)
    arms, classes = table["arm"].unique().tolist(), table["class"].unique().tolist()
    wide = table["recall"].to_numpy(dtype="float64").reshape(len(arms), len(classes))
    images = table["images"].to_numpy().reshape(len(arms), len(classes)).max(axis=0)
    split = SPLIT_TITLES[str(table["split"].iloc[0])]
    hover = [
        f"lowest {100 * row['low']:.1f} %, highest {100 * row['high']:.1f} % of {row['runs']} runs<br>"
        f"{row['images']:,} {split} images"
        if row["images"]
        else "no image of this class"
        for row in table.to_dict("records")
    ]
    figure = go.Figure(
        go.Heatmap(
            x=[f"{safe(name)}<br>({count:,})" for name, count in zip(classes, images.tolist(), strict=True)],
            y=[safe(arm) for arm in arms],
            z=[[None if np.isnan(value) else round(value, 4) for value in line] for line in wide.tolist()],
            text=[[MISSING if np.isnan(value) else f"{100 * value:.1f}" for value in line] for line in wide.tolist()],
            texttemplate="%{text}",
            customdata=[hover[i * len(classes) : (i + 1) * len(classes)] for i in range(len(arms))],
            hovertemplate="%{y}, %{x}<br>recall %{z:.1%}<br>%{customdata}<extra></extra>",
            colorscale="Cividis",
            zmin=0,
            zmax=1,
            xgap=1,
            ygap=1,
            colorbar={"title": {"text": "recall"}, "tickformat": ".0%", "thickness": 12},
        )
    )
    figure.update_yaxes(autorange="reversed", ticks="")
    figure.update_xaxes(ticks="", title_text=f"class ({split} images)")
    figure.update_layout(template=TEMPLATE, height=150 + 28 * len(arms))
    return figure


def _caption(study: Study) -> str:
    split = shown_split(study)
    return (
        f"{selection_rule(study)} Counts on the {SPLIT_TITLES[split]} images, summed over n runs; rows are true classes. "
        f"{choice_sentence(split)}"
    )
