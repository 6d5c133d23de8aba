"""Where the trials of the search ended, and what they had cost by then."""

from __future__ import annotations

import pandas as pd
import plotly.graph_objects as go
from plotly.colors import sample_colorscale
from plotly.subplots import make_subplots

from analysis.arms import arm_order
from analysis.figures.style import TEMPLATE, empty_figure, safe
from analysis.records.schema import Phase, TrialStatus
from analysis.records.study import Study
from analysis.wording.colours import GREEN, GREY, PURPLE, VERMILLION

_NAMED = 6
"""Trials that a bar's hover text names."""


def rungs(study: Study) -> go.Figure:
    """Trials, and epochs spent on them, by where they ended: stopped at which rung, full length, diverged, failed."""
    return draw_rungs(rungs_table(study))


def rungs_caption(_: Study) -> str:
    """Caption: what the colours and the two sides mean."""
    return (
        "Where the trials of the search ended: stopped by ASHA at a rung (early ones yellow, late ones dark), trained to full "
        "length, diverged or failed; on the right the epochs that they had cost by then."
    )


def rungs_table(study: Study) -> pd.DataFrame:
    """Endings of the search's trials.

    Returns:
        One row per arm and ending: arm, ending ("stopped" with its epoch, "completed", "diverged", "failed", "running"),
        epoch (at which they were stopped, else missing), entered (trials of the arm that a rung compared at that epoch),
        trials, epochs, gradient_steps, seconds, ids (of the first trials). Ordered by arm, then stops ascending.
    """
    trials = study.trials[study.trials["phase"] == Phase.SEARCH].copy()
    stopped = trials["status"] == TrialStatus.STOPPED
    trials["epoch"] = trials["epochs"].where(stopped).astype("Int64")
    trials["ending"] = [
        f"stopped at epoch {epochs}" if status == TrialStatus.STOPPED else str(status)
        for status, epochs in zip(trials["status"], trials["epochs"], strict=True)
    ]
    grouped = trials.groupby(["arm", "ending"], sort=False)
    table = grouped.agg(
        epoch=("epoch", "first"),
        trials=("trial_id", "count"),
        epochs=("epochs", "sum"),
        gradient_steps=("gradient_steps", "sum"),
        seconds=("seconds", "sum"),
        ids=("trial_id", lambda ids: ", ".join(ids.iloc[:_NAMED]) + (" ..." if len(ids) > _NAMED else "")),
    ).reset_index()
    compared = study.epochs[study.epochs["rung"].notna() & (study.epochs["phase"] == Phase.SEARCH)]
    entered = compared.groupby(["arm", "rung"])["trial_id"].nunique()
    table["entered"] = pd.array(
        [
            entered.get((arm, epoch)) if pd.notna(epoch) else None
            for arm, epoch in zip(table["arm"], table["epoch"], strict=True)
        ],
        dtype="Int64",
    )
    order = {arm: rank for rank, arm in enumerate(arm_order(study))}
    endings = [TrialStatus.COMPLETED, TrialStatus.DIVERGED, TrialStatus.FAILED, TrialStatus.RUNNING]
    table["rank"] = [order[arm] for arm in table["arm"]]
    table["last"] = [endings.index(ending) + 1 if ending in endings else 0 for ending in table["ending"]]
    table = table.sort_values(["rank", "last", "epoch"], kind="stable").drop(columns=["rank", "last"])
    columns = ["arm", "ending", "epoch", "entered", "trials", "epochs", "gradient_steps", "seconds", "ids"]
    return table[columns].reset_index(drop=True)


def draw_rungs(table: pd.DataFrame) -> go.Figure:
    """Draw `rungs_table`: stacked bars, trials on the left, epochs on the right."""
    if not len(table):
        return empty_figure("No trial has been handed out yet.")
    arms = table["arm"].unique().tolist()
    stops = sorted({int(epoch) for epoch in table["epoch"].dropna()})
    shades = sample_colorscale("Cividis", [0.95 - 0.7 * i / max(1, len(stops) - 1) for i in range(len(stops))])
    looks = {f"stopped at epoch {epoch}": shade for epoch, shade in zip(stops, shades, strict=True)}
    looks |= {
        TrialStatus.COMPLETED.value: GREEN,
        TrialStatus.DIVERGED.value: PURPLE,
        TrialStatus.FAILED.value: VERMILLION,
        TrialStatus.RUNNING.value: GREY,
    }
    figure = make_subplots(
        rows=1, cols=2, shared_yaxes=True, horizontal_spacing=0.04, subplot_titles=["trials", "epochs spent on them"]
    )
    for ending, colour in looks.items():
        rows = table[table["ending"] == ending]
        if not len(rows):
            continue
        for column, quantity in enumerate(("trials", "epochs"), start=1):
            figure.add_trace(
                go.Bar(
                    y=[safe(arm) for arm in rows["arm"]],
                    x=rows[quantity].tolist(),
                    orientation="h",
                    name="full length" if ending == TrialStatus.COMPLETED else ending,
                    legendgroup=ending,
                    showlegend=column == 1,
                    marker={"color": colour},
                    customdata=_hover(rows),
                    hovertemplate=(
                        f"%{{y}}, {ending}<br>%{{customdata[0]}}<br>%{{customdata[1]}}<br>%{{customdata[2]}}"
                        "<extra></extra>"
                    ),
                ),
                row=1,
                col=column,
            )
    height = 170 + 24 * len(arms)
    figure.update_yaxes(categoryorder="array", categoryarray=[safe(arm) for arm in reversed(arms)], ticks="")
    figure.update_xaxes(title_text="trials of the search", row=1, col=1)
    figure.update_xaxes(title_text="epochs", row=1, col=2)
    figure.update_layout(template=TEMPLATE, height=height, barmode="stack", legend={"y": -75 / height})
    figure.update_annotations(font_size=13)
    return figure


def _hover(rows: pd.DataFrame) -> list[list[str]]:
    return [
        [
            f"{row['trials']:,} trials"
            + (f" of {row['entered']:,} compared" if isinstance(row["entered"], int) else ""),
            f"{row['epochs']:,} epochs, {row['gradient_steps']:,} gradient steps, {row['seconds']:,.0f} s",
            safe(row["ids"]),
        ]
        for row in rows.to_dict("records")
    ]
