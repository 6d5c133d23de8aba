"""Accuracy and macro F1 on validation against the amount of labelled data."""

from __future__ import annotations

import pandas as pd
import plotly.graph_objects as go
from plotly.subplots import make_subplots

from analysis.arms import majority_floor, run_points
from analysis.figures.hover import TRIAL_HOVER, run_hover
from analysis.figures.style import (
    TEMPLATE,
    empty_figure,
    interval_band,
    legend_title,
    percent_name,
    safe,
    setting_colours,
)
from analysis.metrics import metric_title
from analysis.records.errors import StudyError
from analysis.records.published import PUBLISHED_NOTE, published_results
from analysis.records.study import Study
from analysis.statistics.estimates import validation_intervals
from analysis.wording.captions import OPTIMISTIC, floor_sentence, selection_rule
from analysis.wording.colours import GREY

METRICS = ("val_accuracy", "val_macro_f1")
_DODGE = 1.05
"""Factor by which neighbouring settings are set apart on the logarithmic axis, or their points hide each other."""


def fraction_curve(study: Study) -> go.Figure:
    """Validation accuracy and macro F1 of the selected runs against the fraction, published accuracy beside them."""
    floor = majority_floor(study)
    floors = {metric: float(floor[metric.removeprefix("val_")]) for metric in METRICS} if floor else {}
    return draw_fraction_curve(
        fraction_curve_table(study), setting_colours(study), floors, str(floor.get("class", "the most frequent class"))
    )


def fraction_curve_caption(study: Study) -> str:
    """Caption: rule, floor, bands and published values."""
    return (
        f"{selection_rule(study)} {OPTIMISTIC} {floor_sentence(study)} Bands: 95 % intervals of the mean, in which seeds and "
        "images vary, where there are two seeds. Points are moved a little sideways, or they would hide each other. "
        f"{PUBLISHED_NOTE}"
    )


def fraction_curve_table(study: Study) -> pd.DataFrame:
    """One row per run and metric, and one per published run.

    Returns:
        The columns of `analysis.arms.run_points` after ``source`` ("study" or "published"), and low, high: the 95 %
        interval of the arm's mean over seeds and images, missing where there are no two confirmed seeds. The setting of a
        published run is "published without" or "published with". Published rows only at fractions that the study has.
    """
    points = run_points(study, METRICS)
    points.insert(0, "source", "study")
    points = points.merge(_intervals(study), on=["arm", "metric"], how="left")
    published = published_results()
    published = published[published["subset"].isin(study.trials["subset"])]
    overlay = pd.DataFrame(
        {
            "source": "published",
            "fraction": published["fraction"],
            "subset": published["subset"],
            "setting": "published " + published["pretraining"],
            "metric": "val_accuracy",
            "value": published["val_accuracy"],
            "mean": published["val_accuracy"],
            "n": 1,
        }
    )
    if not len(points) or not len(overlay):
        return points
    return pd.concat([points, overlay], ignore_index=True)


def _intervals(study: Study) -> pd.DataFrame:
    """Columns arm, metric, low, high on validation; no rows where there can be no intervals."""
    try:
        rows = validation_intervals(study)
    except StudyError:
        # Too few seeds, or runs that do not pair: the tables say which; the means are shown all the same.
        return pd.DataFrame({"arm": "", "metric": "", "low": 0.0, "high": 0.0}, index=[]).astype(
            {"arm": "str", "metric": "str"}
        )
    return rows.assign(metric="val_" + rows["metric"])[["arm", "metric", "low", "high"]]


def draw_fraction_curve(
    table: pd.DataFrame, colours: dict[str, str], floors: dict[str, float], floor_class: str
) -> go.Figure:
    """Draw `fraction_curve_table`.

    Args:
        table: One row per point.
        colours: Colour of each setting.
        floors: Metric -> what always answering the most frequent class scores; empty when not known.
        floor_class: Name of that class.
    """
    if not len(table):
        return empty_figure("No full-length run has ended yet.")
    figure = make_subplots(
        rows=1, cols=2, horizontal_spacing=0.1, subplot_titles=[metric_title(metric) for metric in METRICS]
    )
    settings = list(dict.fromkeys(table.loc[table["source"] == "study", "setting"]))
    settings = [name for name in colours if name in settings]
    for column, metric in enumerate(METRICS, start=1):
        part = table[table["metric"] == metric]
        for position, setting in enumerate(settings):
            runs = part[(part["setting"] == setting) & (part["source"] == "study")]
            shift = _DODGE ** (position - (len(settings) - 1) / 2)
            _add_runs(figure, runs, setting=setting, colour=colours[setting], shift=shift, column=column)
        _add_published(figure, part[part["source"] == "published"], column)
        if metric in floors:
            figure.add_hline(
                y=floors[metric],
                line={"color": GREY, "dash": "longdashdot", "width": 1},
                row=1,
                col=column,
                annotation={"text": f"floor: always {safe(floor_class)}", "font": {"size": 11}},
                annotation_position="bottom right",
            )
        figure.update_yaxes(
            tickformat=".0%" if metric.endswith("accuracy") else ".2f",
            row=1,
            col=column,
        )
    fractions = sorted(set(table["fraction"]))
    figure.update_xaxes(
        type="log",
        title_text="labelled training images, %",
        tickvals=[100 * fraction for fraction in fractions],
        ticktext=[percent_name(fraction).removesuffix(" %") for fraction in fractions],
        tickangle=0,
    )
    figure.update_layout(template=TEMPLATE, height=440)
    return figure


def _add_published(figure: go.Figure, published: pd.DataFrame, column: int) -> None:
    for symbol, dash, words in (("circle-open", "dot", "without"), ("diamond-open", "dash", "with")):
        rows = published[published["setting"] == f"published {words}"]
        if not len(rows):
            continue
        figure.add_trace(
            go.Scatter(
                x=(100 * rows["fraction"]).tolist(),
                y=rows["value"].tolist(),
                mode="lines+markers",
                name=f"published, {words}",
                line={"color": GREY, "dash": dash, "width": 1.5},
                marker={"symbol": symbol, "size": 9, "color": GREY},
                customdata=[[safe(name)] for name in rows["subset"]],
                hovertemplate=f"published, {words}<br>%{{customdata[0]}}: %{{y:.2%}} (one run)<extra></extra>",
            ),
            row=1,
            col=column,
        )


def _add_runs(figure: go.Figure, runs: pd.DataFrame, *, setting: str, colour: str, shift: float, column: int) -> None:
    means = runs.drop_duplicates("fraction")
    show = column == 1
    form = ".2%" if column == 1 else ".3f"
    known = means[means["low"].notna()]
    if len(known):
        places = (100 * shift * known["fraction"]).tolist()
        figure.add_trace(
            interval_band(places, known["low"].tolist(), known["high"].tolist(), setting, colour),
            row=1,
            col=column,
        )
    figure.add_trace(
        go.Scatter(
            x=(100 * shift * means["fraction"]).tolist(),
            y=means["mean"].tolist(),
            mode="lines+markers",
            name=f"{legend_title(setting)}, mean",
            legendgroup=setting,
            showlegend=show,
            line={"color": colour, "width": 2.5},
            marker={"color": colour, "size": 9},
            customdata=[
                [
                    safe(row["arm"]),
                    str(int(row["n"])),
                    f"{row['sd']:{form}}" if row["n"] > 1 else "none (one run)",
                    "none" if pd.isna(row["low"]) else f"{row['low']:{form}} to {row['high']:{form}}",
                ]
                for row in means.to_dict("records")
            ],
            hovertemplate=(
                f"%{{customdata[0]}}<br>mean %{{y:{form}}}, SD %{{customdata[2]}}, n = %{{customdata[1]}}"
                "<br>95 % interval %{customdata[3]}<extra></extra>"
            ),
        ),
        row=1,
        col=column,
    )
    figure.add_trace(
        go.Scatter(
            x=(100 * shift * runs["fraction"]).tolist(),
            y=runs["value"].tolist(),
            mode="markers",
            name=f"{legend_title(setting)}, each seed",
            legendgroup=setting,
            showlegend=show,
            marker={"color": colour, "size": 6, "opacity": 0.65},
            customdata=run_hover(runs),
            hovertemplate=TRIAL_HOVER.replace("VALUE", f"%{{y:{form}}}"),
        ),
        row=1,
        col=column,
    )
