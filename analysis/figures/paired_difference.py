"""What pretraining, and every control, changes at each fraction: differences of runs with the same seed."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd
import plotly.graph_objects as go
from numpy.typing import NDArray
from plotly.subplots import make_subplots

from analysis.arms import OFF, settings_of
from analysis.figures.hover import TRIAL_HOVER, trial_words
from analysis.figures.style import TEMPLATE, empty_figure, safe, setting_colours
from analysis.hyperparameters import hyperparameter_columns
from analysis.metrics import metric_title
from analysis.records.errors import StudyError
from analysis.records.schema import MASKS_SUFFIX
from analysis.records.study import Study
from analysis.statistics.confusion import shown_split
from analysis.statistics.verdicts import study_verdicts
from analysis.wording.captions import choice_sentence
from analysis.wording.colours import GREY

METRICS = ("accuracy", "macro_f1")
"""Shown, from above. A gain of frequent classes shows in the first, one of rare classes in the second alone."""
_BASELINE = "baseline_"
"""Before the name of a column: its value in the run that is subtracted."""
_WIDTH = 0.6
"""Share of the place of a fraction that its settings take."""


def paired_difference(study: Study) -> go.Figure:
    """Difference in accuracy and macro F1 to the arm without pretraining, seed by seed, on test images where there are some."""
    tables = {f"{shown_split(study)}_{metric}": paired_difference_table(study, metric) for metric in METRICS}
    return draw_paired_difference(tables, setting_colours(study))


def paired_difference_caption(study: Study) -> str:
    """Caption: what a mark is, what the bars are, and which marks are controls."""
    return (
        "Accuracy above, macro F1 below. Each mark is one seed: the run of the arm minus the run without pretraining that saw "
        "the same images in the same order from the same initial weights; bars: means with 95 % intervals, in which seeds and "
        "images vary (each interval by itself; the verdicts adjust for several). Open marks are controls, of which twin and "
        "classical share the labelled images alone. "
        f"{choice_sentence(shown_split(study))}"
    )


def paired_difference_table(study: Study, metric: str = "accuracy") -> pd.DataFrame:
    """Differences between runs of one seed at one fraction, of every setting minus ``off``.

    An arm that learns from masks is compared with ``off`` that does too, and ``off`` with masks with ``off``.

    Args:
        study: Any study.
        metric: "accuracy", "macro_f1" or "weighted_f1"; on test images where there are some.

    Returns:
        One row per fraction, setting and seed that both arms have: fraction, subset, setting, arm, control, seed,
        trial_id, its hyperparameters, baseline_setting, baseline_trial_id, baseline_<hyperparameter>, value, baseline,
        difference; mean (over seeds), n; low, high (95 %, of the verdicts; missing where there is no verdict). Winners
        of the search have no seeds in common that mean anything: without confirmed runs the table is empty.
    """
    runs = study.selected()
    settings = hyperparameter_columns(runs)
    columns = ["fraction", "subset", "setting", "arm", "control", "seed", "trial_id", *settings]
    column = f"{shown_split(study)}_{metric}"
    runs = runs[(runs["rule"] == "confirmed") & runs[column].notna()]
    runs = runs.assign(setting=settings_of(runs["arm"]))
    names = {"setting": "baseline_setting", "trial_id": "baseline_trial_id", column: "baseline"}
    names |= {name: f"{_BASELINE}{name}" for name in settings}
    baseline = runs.loc[runs["control"] == "", ["fraction", "seed", *names]].rename(columns=names)
    others = runs.loc[runs["setting"] != OFF, [*columns, column]].rename(columns={column: "value"})
    others["baseline_setting"] = pd.Series(
        [_baseline(name) for name in others["setting"]], index=others.index, dtype="str"
    )
    table = others.merge(baseline, on=["fraction", "seed", "baseline_setting"])
    table["difference"] = table["value"] - table["baseline"]
    grouped = table.groupby("arm")["difference"]
    table["mean"], table["n"] = grouped.transform("mean"), grouped.transform("count")
    table = table.merge(_intervals(study, metric), on=["arm", "baseline_setting"], how="left")
    return table.sort_values(["fraction", "control", "setting", "seed"], kind="stable").reset_index(drop=True)


def _baseline(setting: str) -> str:
    """Setting that a setting is compared with."""
    masks = setting.endswith(MASKS_SUFFIX) and setting != OFF + MASKS_SUFFIX
    return OFF + MASKS_SUFFIX if masks else OFF


def _intervals(study: Study, metric: str) -> pd.DataFrame:
    """Columns arm, baseline_setting, low, high of the verdicts; no rows where there can be no verdicts yet."""
    try:
        verdicts = study_verdicts(study)
    except StudyError:
        # Too few seeds, or runs that do not pair: the tables say which; the marks of the seeds are shown all the same.
        return pd.DataFrame({"arm": "", "baseline_setting": "", "low": 0.0, "high": 0.0}, index=[]).astype(
            {"arm": "str", "baseline_setting": "str"}
        )
    rows = verdicts[(verdicts["metric"] == metric) & ~verdicts["kind"].isin(["random", "weights"])]
    rows = rows.assign(baseline_setting=settings_of(rows["baseline"]))
    return rows[["arm", "baseline_setting", "low", "high"]]


def draw_paired_difference(tables: Mapping[str, pd.DataFrame], colours: dict[str, str]) -> go.Figure:
    """Draw `paired_difference_table`: a mark per seed, a bar at the mean with its interval.

    Args:
        tables: Metric -> table; one below the other, of the same runs.
        colours: Colour of each setting.
    """
    first = next(iter(tables.values()))
    if not len(first):
        return empty_figure("No two confirmed runs that are shown share a fraction and a seed.")
    subsets = first["subset"].unique().tolist()
    settings = [name for name in colours if name in set(first["setting"].unique())]
    figure = make_subplots(rows=len(tables), cols=1, shared_xaxes=True, vertical_spacing=0.06)
    for place, (metric, table) in enumerate(tables.items(), start=1):
        figure.add_hline(y=0, line={"color": GREY, "width": 1}, row=place, col=1, exclude_empty_subplots=False)
        points = metric.endswith("accuracy")
        for position, setting in enumerate(settings):
            offset = (position - (len(settings) - 1) / 2) * _WIDTH / len(settings)
            rows = table[table["setting"] == setting]
            x = [subsets.index(subset) + offset for subset in rows["subset"]]
            _add_setting(figure, rows.assign(x=np.round(x, 4)), colours[setting], points=points, row=place)
        title = f"difference in {metric_title(metric)}" + (",<br>percentage points" if points else "")
        figure.update_yaxes(title_text=title, tickformat="+" if points else "+.2f", row=place, col=1)
    figure.update_xaxes(
        tickvals=list(range(len(subsets))),
        ticktext=[safe(name) for name in subsets],
        range=[-0.5, len(subsets) - 0.5],
    )
    figure.update_xaxes(title_text="labelled training images", row=len(tables), col=1)
    height = 160 + 280 * len(tables)
    figure.update_layout(template=TEMPLATE, height=height, legend={"y": -70 / height})
    return figure


def _add_setting(figure: go.Figure, rows: pd.DataFrame, colour: str, *, points: bool, row: int) -> None:
    """One setting's marks and bars; ``x`` is where each row stands. In points of accuracy, or as they are."""
    setting, control = str(rows["setting"].iloc[0]), bool((rows["control"] != "").any())
    scale, unit, form = (100.0, " points", "+.2f") if points else (1.0, "", "+.3f")
    figure.add_trace(
        go.Scatter(
            x=rows["x"].tolist(),
            y=(scale * rows["difference"]).tolist(),
            mode="markers",
            name=safe(setting) + (" (control)" if control else ""),
            legendgroup=setting,
            showlegend=row == 1,
            marker={
                "color": colour,
                "size": 8,
                "opacity": 0.8,
                "symbol": "diamond-open" if control else "circle",
            },
            customdata=_pair_hover(rows),
            hovertemplate=TRIAL_HOVER.replace("VALUE", f"%{{y:{form}}}{unit}"),
        ),
        row=row,
        col=1,
    )
    means = rows.drop_duplicates("subset")
    above = (scale * (means["high"] - means["mean"])).fillna(0.0)
    below = (scale * (means["mean"] - means["low"])).fillna(0.0)
    figure.add_trace(
        go.Scatter(
            x=means["x"].tolist(),
            y=(scale * means["mean"]).tolist(),
            mode="markers",
            name=f"{safe(setting)}, mean",
            legendgroup=setting,
            showlegend=False,
            error_y={
                "type": "data",
                "symmetric": False,
                "array": above.tolist(),
                "arrayminus": below.tolist(),
                "color": colour,
                "thickness": 2,
                "width": 6,
            },
            marker={"color": colour, "size": 18, "symbol": "line-ew", "line": {"width": 3, "color": colour}},
            customdata=[
                [safe(each["arm"]), str(each["n"]), safe(each["baseline_setting"]), _interval_words(each, scale, form)]
                for each in means.to_dict("records")
            ],
            hovertemplate=(
                f"%{{customdata[0]}} minus %{{customdata[2]}}<br>mean %{{y:{form}}}{unit} of %{{customdata[1]}} seeds"
                "<br>%{customdata[3]}<extra></extra>"
            ),
        ),
        row=row,
        col=1,
    )


def _pair_hover(rows: pd.DataFrame) -> NDArray[np.object_]:
    """What is subtracted from what: arms and seed, then both trials with their settings."""
    names = ["trial_id", *hyperparameter_columns(rows)]
    baseline = rows[[f"{_BASELINE}{name}" for name in names]].set_axis(names, axis=1)
    pairs = zip(trial_words(rows), trial_words(baseline), rows.to_dict("records"), strict=True)
    return np.array(
        [
            f"{safe(row['arm'])} minus {safe(row['baseline_setting'])}, seed {row['seed']}<br>{run}<br>minus {other}"
            for run, other, row in pairs
        ],
        dtype=object,
    )


def _interval_words(row: Mapping[Any, Any], scale: float, form: str) -> str:
    if np.isnan(row["low"]):
        return "no interval"
    return f"95 % interval {scale * row['low']:{form}} to {scale * row['high']:{form}}"
