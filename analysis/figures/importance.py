"""Which hyperparameters set an arm's best trials apart."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pandas as pd
import plotly.graph_objects as go
from plotly.subplots import make_subplots

from analysis.arms import arm_order, setting_of
from analysis.figures.style import TEMPLATE, empty_figure, safe, setting_colours
from analysis.figures.thinning import evenly_by_rank, most_trials
from analysis.hyperparameters import hyperparameter_columns, hyperparameter_title, is_logarithmic, positive_positions
from analysis.records.schema import Phase
from analysis.records.study import Study

FEWEST_TRIALS = 10
"""An arm with fewer trials has no importances: they would be noise."""
_MOST_TRIALS = 300
"""More trials of an arm are thinned out evenly over their ranks: the upper tenth stays a tenth."""
_ALL_TRIALS, _ENOUGH = 1500, 100
"""Trials of all arms together, about, and the number that an arm keeps however many arms there are."""


def importance(study: Study) -> go.Figure:
    """Importance of every hyperparameter, one panel each, one bar per arm."""
    return draw_importance(importance_table(study), setting_colours(study))


def importance_caption(study: Study) -> str:
    """Caption: method, which arms are left out, and that it describes this search alone."""
    most, counted = most_trials(study), counted_trials(study)
    thinned = (
        f" Of up to {most:,} trials of an arm {counted} are taken, evenly over their ranks." if most > counted else ""
    )
    return (
        "How much each hyperparameter sets the upper tenth of an arm's trials apart from all of them (PED-ANOVA, shares "
        f"of one within the arm). Arms with fewer than {FEWEST_TRIALS} trials are left out; below a hundred the shares "
        f"vary much from search to search.{thinned} It describes this search; it is no statement about the settings in general."
    )


def counted_trials(study: Study) -> int:
    """How many trials of an arm are taken at most: Optuna needs about half a millisecond for each."""
    arms = study.trials.loc[study.trials["phase"] == Phase.SEARCH, "arm"].nunique()
    return min(_MOST_TRIALS, max(_ENOUGH, _ALL_TRIALS // max(1, arms)))


def importance_table(study: Study) -> pd.DataFrame:
    """Importances by PED-ANOVA (Watanabe, Bansal and Hutter 2023, "PED-ANOVA"), as Optuna computes them.

    It compares the distribution of a hyperparameter among the upper tenth of the trials with that among all. A trial
    that was stopped counts with its best epoch so far: it was stopped because others were better.

    Returns:
        fraction, setting, arm, hyperparameter, importance (shares of one within the arm), trials. Arms with fewer than
        `FEWEST_TRIALS` trials, and hyperparameters with one value, are left out.
    """
    trials = study.trials[(study.trials["phase"] == Phase.SEARCH) & study.trials[study.metric].notna()]
    counts = trials.groupby("arm")["trial_id"].count()
    trials = trials[evenly_by_rank(trials, [study.metric], "arm", counted_trials(study))]
    rows: list[dict[str, Any]] = []
    for arm, part in trials.groupby("arm", sort=False):
        names = [name for name in hyperparameter_columns(part) if (part[name] != part[name].iloc[0]).any()]
        if len(part) < FEWEST_TRIALS or not names:
            continue
        for name, value in _importances(part, names, study.metric).items():
            rows.append(
                {
                    "fraction": part["fraction"].iloc[0],
                    "setting": setting_of(str(arm)),
                    "arm": str(arm),
                    "hyperparameter": name,
                    "importance": value,
                    "trials": int(counts[arm]),
                }
            )
    columns = ["fraction", "setting", "arm", "hyperparameter", "importance", "trials"]
    table = pd.DataFrame(rows, columns=columns)
    order = {arm: rank for rank, arm in enumerate(arm_order(study))}
    return table.sort_values("arm", key=lambda arms: arms.map(order), kind="stable").reset_index(drop=True)


def _importances(trials: pd.DataFrame, names: list[str], metric: str) -> dict[str, float]:
    import optuna
    from optuna.importance import PedAnovaImportanceEvaluator

    distributions: dict[str, optuna.distributions.BaseDistribution] = {}
    values: dict[str, list[Any]] = {}
    for name in names:
        column = trials[name]
        if is_logarithmic(name):
            column = positive_positions(column)
        if pd.api.types.is_numeric_dtype(column) and not pd.api.types.is_bool_dtype(column):
            distributions[name] = optuna.distributions.FloatDistribution(
                float(column.min()), float(column.max()), log=is_logarithmic(name)
            )
            values[name] = [float(value) for value in column]
        else:
            words = [json.dumps(value, default=str) for value in column]
            distributions[name] = optuna.distributions.CategoricalDistribution(sorted(set(words)))
            values[name] = words
    verbosity = optuna.logging.get_verbosity()
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    try:
        study = optuna.create_study(direction="maximize")
        study.add_trials(
            [
                optuna.trial.create_trial(
                    params={name: values[name][position] for name in names},
                    distributions=distributions,
                    value=float(score),
                )
                for position, score in enumerate(trials[metric])
            ]
        )
        found = optuna.importance.get_param_importances(study, evaluator=PedAnovaImportanceEvaluator())
    finally:
        optuna.logging.set_verbosity(verbosity)
    return {name: float(np.nan_to_num(found.get(name, 0.0))) for name in names}


def draw_importance(table: pd.DataFrame, colours: dict[str, str]) -> go.Figure:
    """Draw `importance_table`."""
    if not len(table):
        return empty_figure(
            f"No arm has {FEWEST_TRIALS} trials with different settings yet: importances of fewer are noise."
        )
    names = table["hyperparameter"].unique().tolist()
    figure = make_subplots(
        rows=1,
        cols=len(names),
        shared_yaxes=True,
        horizontal_spacing=0.04,
        subplot_titles=[safe(hyperparameter_title(name)) for name in names],
    )
    for column, name in enumerate(names, start=1):
        rows = table[table["hyperparameter"] == name]
        figure.add_trace(
            go.Bar(
                y=[safe(arm) for arm in rows["arm"]],
                x=rows["importance"].tolist(),
                orientation="h",
                showlegend=False,
                marker={"color": [colours[setting] for setting in rows["setting"]]},
                customdata=[f"{trials:,}" for trials in rows["trials"]],
                hovertemplate=(
                    f"%{{y}}, {safe(hyperparameter_title(name))}: %{{x:.2f}}<br>from %{{customdata}} trials<extra></extra>"
                ),
            ),
            row=1,
            col=column,
        )
    arms = table["arm"].unique().tolist()
    figure.update_xaxes(title_text="share of the importance", range=[0, 1], tickformat=".1f")
    figure.update_yaxes(categoryorder="array", categoryarray=[safe(arm) for arm in reversed(arms)], ticks="")
    figure.update_layout(template=TEMPLATE, height=150 + 24 * len(arms))
    figure.update_annotations(font_size=13)
    return figure
