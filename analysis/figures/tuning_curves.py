"""How good the best of so many trials is: what more search would buy."""

from __future__ import annotations

import pandas as pd
import plotly.graph_objects as go
from plotly.subplots import make_subplots

from analysis.figures.style import TEMPLATE, empty_figure, interval_band, legend_title, numbers, safe, setting_colours
from analysis.figures.thinning import most_trials
from analysis.metrics import metric_title
from analysis.records.study import Study
from analysis.statistics.tuning import tuning_curves as tuning_curves_table
from analysis.statistics.tuning import why_no_tuning_curves

POINTS = 100
"""Numbers of trials at which a curve is drawn, at most."""


def tuning_curves(study: Study) -> go.Figure:
    """Median of the best score among k random trials against k, with simultaneous 95 % bands, one panel per fraction."""
    reason = why_no_tuning_curves(study)
    if reason:
        return empty_figure(f"No tuning curves. {reason}")
    return draw_tuning_curves(tuning_curves_table(study), setting_colours(study), study.metric)


def tuning_curves_caption(study: Study) -> str:
    """Caption: what curves and bands are, and that validation chose."""
    metric, most = metric_title(study.metric), most_trials(study)
    thinned = f" Drawn at no more than {POINTS} numbers of trials." if most > POINTS else ""
    return (
        f"Median of the best {metric} among so many random trials of an arm, with bands that hold at all numbers of "
        "trials at once with at least 95 % probability (opda). Where two curves still rise, the search decides the "
        f"comparison as much as the arms do. Chosen on validation: optimistic.{thinned}"
    )


def draw_tuning_curves(table: pd.DataFrame, colours: dict[str, str], metric: str) -> go.Figure:
    """Draw `analysis.statistics.tuning.tuning_curves`."""
    if not len(table):
        return empty_figure("No arm has two ended trials yet.")
    subsets = table.sort_values("fraction", kind="stable")["subset"].unique().tolist()
    figure = make_subplots(
        rows=1,
        cols=len(subsets),
        shared_yaxes=True,
        horizontal_spacing=0.02,
        subplot_titles=[safe(subset) for subset in subsets],
    )
    form = ".2%" if metric.endswith("accuracy") else ".3f"
    shown: set[str] = set()
    for column, subset in enumerate(subsets, start=1):
        for setting, colour in colours.items():
            rows = table[(table["subset"] == subset) & (table["setting"] == setting)]
            if not len(rows):
                continue
            rows = rows.iloc[:: -(-len(rows) // POINTS)]
            counts, low, high = rows["trials"].tolist(), numbers(rows["low"]), numbers(rows["high"])
            group = {"legendgroup": setting, "showlegend": setting not in shown}
            shown.add(setting)
            figure.add_trace(
                interval_band(counts, low, high, setting, colour),
                row=1,
                col=column,
            )
            figure.add_trace(
                go.Scatter(
                    x=counts,
                    y=numbers(rows["value"]),
                    mode="lines",
                    line={"color": colour, "width": 2.5},
                    name=legend_title(setting),
                    customdata=[
                        [safe(row["arm"]), f"{row['low']:{form}} to {row['high']:{form}}", f"{row['n']:,}"]
                        for row in rows.to_dict("records")
                    ],
                    hovertemplate=(
                        f"%{{customdata[0]}}<br>best of %{{x}} trials: %{{y:{form}}}<br>band %{{customdata[1]}}<br>from "
                        "%{customdata[2]} trials<extra></extra>"
                    ),
                    **group,
                ),
                row=1,
                col=column,
            )
    figure.update_xaxes(title_text="random trials")
    figure.update_yaxes(title_text=f"best {metric_title(metric)}", row=1, col=1)
    figure.update_yaxes(tickformat=".0%" if metric.endswith("accuracy") else ".2f")
    figure.update_layout(template=TEMPLATE, height=400)
    figure.update_annotations(font_size=13)
    return figure
