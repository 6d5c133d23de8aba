"""When which trial trained where: how busy the machines were."""

from __future__ import annotations

import heapq
import math

import numpy as np
import pandas as pd
import plotly.graph_objects as go
from plotly.subplots import make_subplots

from analysis.arms import settings_of
from analysis.figures.hover import TRIAL_HOVER, trial_hover
from analysis.figures.style import TEMPLATE, empty_figure, legend_title, safe, setting_colours
from analysis.hyperparameters import hyperparameter_columns
from analysis.records.schema import Phase
from analysis.records.study import Study
from analysis.wording.colours import GREY

BARS = 1500
"""With more stretches of training than this only the number of busy workers is drawn."""
TIMES = 1000
"""With more changes of the number of busy workers than this its means over as many equal spans are drawn."""
_PAUSE = 30.0
"""A gap of more seconds than this, and than three of the trial's epochs, between two of its epochs is an interruption."""


def worker_timeline(study: Study) -> go.Figure:
    """Stretches of training on each worker, and the number of workers that trained at a time."""
    return draw_worker_timeline(worker_timeline_table(study), setting_colours(study))


def worker_timeline_caption(study: Study) -> str:
    """Caption: what a worker is, how busy they were, and what is not training."""
    table = worker_timeline_table(study)
    share = busy_share(table)
    busy = (
        f" Epochs took {100 * share:.0f} % of the workers' time from the first begin to the last end."
        if not math.isnan(share)
        else ""
    )
    thinned = (
        f" {len(table):,} stretches of training are more than the {BARS:,} that can be told apart: only their number is drawn"
        f", as its mean over each of {TIMES:,} equal spans."
        if len(table) > BARS
        else ""
    )
    return (
        "Trials on workers as the driver wrote them down; pale bars are confirmations. A worker is a place for one trial "
        f"on a host.{busy}{thinned} Time between epochs (checkpoints, starting a trial) and interruptions is not training."
    )


def worker_timeline_table(study: Study) -> pd.DataFrame:
    """Stretches in which a trial trained without interruption.

    A worker is a place for one trial on a host: the records name the host alone, so stretches of one host that overlap
    are given to as few workers as possible.

    Returns:
        host, worker (0-based within the host), trial_id, arm, setting, phase, seed, first_epoch, last_epoch, start and
        end (hours since the first began), busy (hours of training and validation as measured by the epochs), and the
        trial's hyperparameters. Ordered by start.
    """
    epochs = study.epochs[["trial_id", "epoch", "time", "seconds", "arm", "phase", "seed"]]
    columns = ["host", "worker", "trial_id", "arm", "setting", "phase", "seed", "first_epoch", "last_epoch"]
    columns += ["start", "end", "busy"]
    if not len(epochs):
        return pd.DataFrame(columns=columns).astype({"start": "float64", "end": "float64", "busy": "float64"})
    epochs = epochs.sort_values(["trial_id", "epoch"], kind="stable").reset_index(drop=True)
    begin = epochs["time"] - epochs["seconds"]
    same = epochs["trial_id"].eq(epochs["trial_id"].shift())
    gap = begin - epochs["time"].shift()
    new = ~same | (gap > np.maximum(_PAUSE, 3 * epochs["seconds"]))
    epochs = epochs.assign(begin=begin, stretch=new.cumsum())
    table = epochs.groupby("stretch", sort=False).agg(
        trial_id=("trial_id", "first"),
        arm=("arm", "first"),
        phase=("phase", "first"),
        seed=("seed", "first"),
        first_epoch=("epoch", "min"),
        last_epoch=("epoch", "max"),
        start=("begin", "min"),
        end=("time", "max"),
        busy=("seconds", "sum"),
    )
    settings = hyperparameter_columns(study.trials)
    table = table.merge(study.trials[["trial_id", "host", *settings]], on="trial_id", how="left")
    table["setting"] = settings_of(table["arm"])
    origin = table["start"].min()
    for name in ("start", "end"):
        table[name] = (table[name] - origin) / 3600
    table["busy"] = table["busy"] / 3600
    table = table.sort_values(["start", "trial_id"], kind="stable").reset_index(drop=True)
    table["worker"] = _workers(table)
    return table[[*columns, *settings]]


def _workers(table: pd.DataFrame) -> list[int]:
    """The lowest worker of its host that is free, for every stretch in the order of their starts."""
    free: dict[str, list[int]] = {}
    busy: dict[str, list[tuple[float, int]]] = {}
    workers = []
    for host, start, end in zip(table["host"], table["start"], table["end"], strict=True):
        idle, running = free.setdefault(host, []), busy.setdefault(host, [])
        # Half a second of tolerance: an epoch's time is taken when the driver writes it down.
        while running and running[0][0] <= start + 0.5 / 3600:
            heapq.heappush(idle, heapq.heappop(running)[1])
        worker = heapq.heappop(idle) if idle else len(running)
        heapq.heappush(running, (end, worker))
        workers.append(worker)
    return workers


def busy_share(table: pd.DataFrame) -> float:
    """Share of the workers' time, from the first epoch's begin to the last one's end, that was spent in epochs."""
    if not len(table):
        return float("nan")
    places = len(table[["host", "worker"]].drop_duplicates())
    span = float(table["end"].max() - table["start"].min())
    return float(table["busy"].sum() / (places * span)) if span > 0 else float("nan")


def draw_worker_timeline(table: pd.DataFrame, colours: dict[str, str]) -> go.Figure:
    """Draw `worker_timeline_table`: bars per worker above, busy workers below."""
    if not len(table):
        return empty_figure("No epoch has been recorded yet.")
    bars = len(table) <= BARS
    scale, unit = (60.0, "minutes") if table["end"].max() < 2 else (1.0, "hours")
    places = table[["host", "worker"]].drop_duplicates().sort_values(["host", "worker"])
    hosts = places["host"].nunique()
    names = {
        (host, worker): f"{safe(host)}, worker {worker + 1}" if hosts > 1 else f"worker {worker + 1}"
        for host, worker in places.itertuples(index=False)
    }
    figure = make_subplots(
        rows=2 if bars else 1,
        cols=1,
        shared_xaxes=True,
        vertical_spacing=0.08,
        row_heights=[0.7, 0.3] if bars else [1.0],
    )
    last = 2 if bars else 1
    if bars:
        _add_bars(figure, table, colours, names, scale, unit)
    _add_busy_workers(figure, table, len(names), scale, unit, row=last)
    figure.update_yaxes(title_text="busy", rangemode="tozero", row=last, col=1)
    figure.update_xaxes(title_text=f"{unit} since the first epoch began", row=last, col=1)
    height = (190 + min(28 * len(names), 700)) if bars else 260
    figure.update_layout(template=TEMPLATE, height=max(height, 280), barmode="overlay", legend={"y": -0.25})
    return figure


def _add_bars(
    figure: go.Figure,
    table: pd.DataFrame,
    colours: dict[str, str],
    names: dict[tuple[str, int], str],
    scale: float,
    unit: str,
) -> None:
    """A bar for each stretch of training; ``names`` are those of the workers, ``scale`` the units in an hour."""
    for setting in [name for name in colours if name in set(table["setting"].unique())]:
        rows = table[table["setting"] == setting]
        epochs = [f"{row.phase}, epochs {row.first_epoch} to {row.last_epoch}" for row in rows.itertuples()]
        figure.add_trace(
            go.Bar(
                y=[names[place] for place in zip(rows["host"], rows["worker"], strict=True)],
                base=(scale * rows["start"]).round(4).tolist(),
                x=(scale * (rows["end"] - rows["start"])).round(4).tolist(),
                orientation="h",
                name=legend_title(setting),
                marker={
                    "color": colours[setting],
                    "opacity": [1.0 if phase == Phase.SEARCH else 0.6 for phase in rows["phase"]],
                    "line": {"color": "rgba(255,255,255,0.7)", "width": 0.5},
                },
                customdata=trial_hover(rows, epochs),
                hovertemplate=TRIAL_HOVER.replace("VALUE", f"%{{base:.2f}} to %{{x:.2f}} {unit}"),
            ),
            row=1,
            col=1,
        )
    listed = list(names.values())
    figure.update_yaxes(categoryorder="array", categoryarray=listed[::-1], ticks="", row=1, col=1)


def _add_busy_workers(
    figure: go.Figure, table: pd.DataFrame, workers: int, scale: float, unit: str, *, row: int
) -> None:
    times, counts = _busy_workers(table)
    figure.add_trace(
        go.Scatter(
            x=(scale * times).round(4).tolist(),
            y=counts.tolist(),
            mode="lines",
            line={"shape": "hv", "color": GREY, "width": 1.5},
            fill="tozeroy",
            fillcolor="rgba(128,128,128,0.25)",
            name="busy workers",
            showlegend=False,
            hovertemplate=f"%{{x:.2f}} {unit}: %{{y:.1f}} of {workers} workers busy<extra></extra>",
        ),
        row=row,
        col=1,
    )


def _busy_workers(table: pd.DataFrame, most: int = TIMES) -> tuple[np.ndarray, np.ndarray]:
    """Number of stretches under way at each time; means over equal spans where there are too many changes."""
    times = np.concatenate([table["start"], table["end"]])
    steps = np.repeat([1.0, -1.0], len(table))
    order = np.lexsort((steps, times))
    times, counts = times[order], steps[order].cumsum()
    if len(times) <= most:
        return times, counts
    edges = np.linspace(times[0], times[-1], most + 1)
    # Integral of the step function up to each edge.
    area = np.concatenate([[0.0], np.cumsum(counts[:-1] * np.diff(times))])
    at = np.interp(edges, times, area)
    return edges, np.append(np.diff(at) / np.diff(edges), 0.0)
