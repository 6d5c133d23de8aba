"""How far tuning has come: the best validation score against the number of trials, and winners at the edge of the range."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from analysis.comparison import setting_of
from analysis.errors import StudyError
from analysis.intervals import CONFIDENCE

if TYPE_CHECKING:
    from analysis.study import Study

EDGE = 0.05
"""A winner within this share of a range's logarithmic length from its end lies at the edge."""

HYPERPARAMETERS = ("learning_rate", "weight_decay")


def tuning_curves(study: Study) -> pd.DataFrame:
    """Best validation score against the number of trials tried, with simultaneous 95 % bands for each arm.

    The curve at k is the median of the best of k trials; that it lies inside the band at all k at once has at least 95 %
    probability, whatever the distribution of the scores (Lourie, Cho and He 2023, "Show Your Work with Confidence"; the
    library opda; exactly 95 % where no two scores can be equal). Scores are those of the selection metric at a trial's best
    epoch: like all that is chosen on validation, optimistic.

    Returns:
        One row per arm and number of trials: fraction, subset, arm, setting, control, metric, trials, value, low, high, n
        (trials of the arm that the curve rests on). Arms with fewer than two ended trials are absent.

    Raises:
        StudyError: The trials are no independent draws: another search mode than ``random``, early stopping, or a warm
            start; or some failed, and which ones may depend on their settings.
    """
    from opda.nonparametric import EmpiricalDistribution

    reason = why_no_tuning_curves(study)
    if reason:
        raise StudyError(f"{study.path / 'study.yaml'}: no tuning curves. {reason}")
    trials = study.trials
    trials = trials[(trials["phase"] == "search") & trials["status"].isin(["completed", "diverged"])]
    columns = ["fraction", "subset", "arm", "setting", "control", "metric", "trials", "value", "low", "high", "n"]
    parts = []
    for name, rows in trials.sort_values(["fraction", "arm"], kind="stable").groupby("arm", sort=False):
        # A trial that diverged before its first epoch ended has scored nothing.
        scores = rows[study.metric].fillna(0.0).to_numpy(dtype=np.float64)
        if len(scores) < 2:
            continue
        # The band of the distribution's lower side is the curve's upper one, and the other way round. Equal-tailed bands are
        # as exact as highest-density ones and take a fraction of the time.
        lower, middle, upper = EmpiricalDistribution.confidence_bands(
            scores, CONFIDENCE, a=0.0, b=1.0, method="ld_equal_tailed", generator=np.random.default_rng(0), n_jobs=1
        )
        counts = np.arange(1, len(scores) + 1)
        first = rows.iloc[0]
        parts.append(
            pd.DataFrame(
                {
                    "fraction": float(first["fraction"]),
                    "subset": str(first["subset"]),
                    "arm": str(name),
                    "setting": setting_of(str(name)),
                    "control": str(first["control"]),
                    "metric": study.metric,
                    "trials": counts,
                    "value": middle.quantile_tuning_curve(counts),
                    "low": upper.quantile_tuning_curve(counts),
                    "high": lower.quantile_tuning_curve(counts),
                    "n": len(scores),
                }
            )
        )
    return pd.concat(parts, ignore_index=True) if parts else pd.DataFrame(columns=columns)


def why_no_tuning_curves(study: Study) -> str:
    """Why a study has no tuning curves with bands, in one or two sentences; empty when it has."""
    search = _search(study)
    mode, scheduler = search.get("mode", "tpe"), search.get("scheduler", "asha")
    if mode != "random":
        return (
            f"search.mode is {mode!r}; the bands hold for independent draws only. Use search.mode random with "
            "search.scheduler none."
        )
    if scheduler != "none":
        return (
            f"search.scheduler is {scheduler!r}: trials stopped early have no final score. Use search.scheduler none."
        )
    if search.get("warm_start"):
        return "search.warm_start is set: the first trial of each arm is no random draw. Leave it out."
    trials = study.trials
    failed = trials[(trials["phase"] == "search") & (trials["status"] == "failed")]
    if len(failed):
        return (
            f"{len(failed)} trials of the search failed, first {failed['trial_id'].iloc[0]} of {failed['arm'].iloc[0]}: which "
            "trials are missing may depend on their settings."
        )
    return ""


def winners_at_edges(study: Study) -> pd.DataFrame:
    """Winners whose learning rate or weight decay lies at the end of what was searched: better ones may lie beyond.

    In a grid the edge is the lowest and highest value, of at least two; in a range, the outer 5 % of its logarithmic length.

    Returns:
        One row per arm and hyperparameter at an edge: fraction, subset, arm, hyperparameter, value, low, high (of what was
        searched), side ("lower", "upper"), sentence. Ordered by fraction, arm.
    """
    search = _search(study)
    rows = []
    for winner in study.winners().to_dict("records"):
        for name in HYPERPARAMETERS:
            value = float(winner[name])
            bounds, side = _edge(search, name, value)
            if side:
                rows.append(
                    {
                        "fraction": winner["fraction"],
                        "subset": winner["subset"],
                        "arm": winner["arm"],
                        "hyperparameter": name,
                        "value": value,
                        "low": bounds[0],
                        "high": bounds[1],
                        "side": side,
                        "sentence": (
                            f"{winner['arm']}: the winner's {name.replace('_', ' ')} {value:.3g} lies at the {side} edge of "
                            f"what was searched ({bounds[0]:.3g} to {bounds[1]:.3g}); a better one may lie beyond."
                        ),
                    }
                )
    columns = ["fraction", "subset", "arm", "hyperparameter", "value", "low", "high", "side", "sentence"]
    return pd.DataFrame(rows, columns=columns)


def _edge(search: Mapping[str, Any], name: str, value: float) -> tuple[Sequence[float], str]:
    """What was searched, and at which edge of it the value lies: "lower", "upper" or "" for neither."""
    if search.get("mode") == "grid":
        points = sorted(float(point) for point in search.get(f"grid_{name}") or ())
        if len(points) < 2:
            return (value, value), ""
        side = "lower" if value <= points[0] else "upper" if value >= points[-1] else ""
        return (points[0], points[-1]), side
    bounds = [float(bound) for bound in search.get(name) or ()]
    if len(bounds) != 2 or bounds[0] >= bounds[1]:
        return (value, value), ""
    low, high = math.log(bounds[0]), math.log(bounds[1])
    place = (math.log(value) - low) / (high - low)
    return bounds, "lower" if place <= EDGE else "upper" if place >= 1 - EDGE else ""


def _search(study: Study) -> Mapping[str, Any]:
    search = study.config.get("search")
    return search if isinstance(search, Mapping) else {}
