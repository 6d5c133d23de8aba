"""Progress of the search: the best validation score against the number of trials, and winners at the edge of the range."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from analysis.arms import setting_of
from analysis.hyperparameters import LEARNING_RATE, WEIGHT_DECAY, hyperparameter_title
from analysis.records.errors import StudyError
from analysis.records.schema import Phase, TrialStatus
from analysis.statistics.intervals import CONFIDENCE

if TYPE_CHECKING:
    from analysis.records.study import Study

EDGE = 0.05
"""Width of the edges of a range, as a share of its length (logarithmic where it is searched so)."""


def tuning_curves(study: Study) -> pd.DataFrame:
    """Best validation score against the number of trials tried, with simultaneous 95 % bands for each arm.

    The curve at k is the median of the best of k trials. It lies inside the band at all k at once with a probability of at least
    95 %, whatever the distribution of the scores (exactly 95 % where no two scores can be equal; Lourie, Cho and He 2023, "Show
    Your Work with Confidence"; the library opda). A trial's score is the selection metric at its best epoch. It is optimistic,
    like all that is chosen on validation.

    Returns:
        One row per arm and number of trials: fraction, subset, arm, setting, control, metric, trials, value, low, high, n
        (trials of the arm that the curve rests on). Arms with fewer than two ended trials are absent.

    Raises:
        StudyError: The trials are no independent draws: another search mode than ``random``, early stopping, or a warm
            start; or some failed, and which ones may depend on their settings.
    """
    reason = why_no_tuning_curves(study)
    if reason:
        raise StudyError(f"{study.path / 'study.yaml'}: no tuning curves. {reason}")
    trials = study.trials
    trials = trials[
        (trials["phase"] == Phase.SEARCH) & trials["status"].isin([TrialStatus.COMPLETED, TrialStatus.DIVERGED])
    ]
    columns = ["fraction", "subset", "arm", "setting", "control", "metric", "trials", "value", "low", "high", "n"]
    arms = trials.sort_values(["fraction", "arm"], kind="stable").groupby("arm", sort=False)
    parts = [_tuning_curve(rows, study.metric) for _, rows in arms if len(rows) >= 2]
    return pd.concat(parts, ignore_index=True) if parts else pd.DataFrame(columns=columns)


def _tuning_curve(trials: pd.DataFrame, metric: str) -> pd.DataFrame:
    """The curve of one arm, from two or more ended trials."""
    from opda.nonparametric import EmpiricalDistribution

    # A trial that diverged before its first epoch ended has scored nothing.
    scores = trials[metric].fillna(0.0).to_numpy(dtype=np.float64)
    # The lower band of the distribution is the upper band of the curve, and the other way round. Equal-tailed bands are as exact
    # as highest-density ones and take a fraction of the time.
    lower, middle, upper = EmpiricalDistribution.confidence_bands(
        scores, CONFIDENCE, a=0.0, b=1.0, method="ld_equal_tailed", generator=np.random.default_rng(0), n_jobs=1
    )
    counts = np.arange(1, len(scores) + 1)
    first = trials.iloc[0]
    return pd.DataFrame(
        {
            "fraction": float(first["fraction"]),
            "subset": str(first["subset"]),
            "arm": str(first["arm"]),
            "setting": setting_of(str(first["arm"])),
            "control": str(first["control"]),
            "metric": metric,
            "trials": counts,
            "value": middle.quantile_tuning_curve(counts),
            "low": upper.quantile_tuning_curve(counts),
            "high": lower.quantile_tuning_curve(counts),
            "n": len(scores),
        }
    )


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
    failed = trials[(trials["phase"] == Phase.SEARCH) & (trials["status"] == TrialStatus.FAILED)]
    if len(failed):
        return (
            f"{len(failed)} trials of the search failed, first {failed['trial_id'].iloc[0]} of {failed['arm'].iloc[0]}: which "
            "trials are missing may depend on their settings."
        )
    return ""


def winners_at_edges(study: Study) -> pd.DataFrame:
    """Winners with a searched value at the edge of what was searched: a better value may lie beyond.

    In a grid, and among choices that are numbers, the lowest and the highest of at least two values are the edges. In a range
    the outer 5 % of its length are (logarithmic where it is searched so). 0 is no edge: nothing lies below. Settings that make
    no difference to an arm (the weight of masks without masks) are left out.

    Returns:
        One row per arm and hyperparameter at an edge: fraction, subset, arm, hyperparameter (``learning_rate``,
        ``weight_decay``, or as in ``search.also``), value, low, high (ends of what was searched), side ("lower", "upper"),
        sentence. Ordered by fraction, arm.
    """
    axes = _searched_axes(_search(study))
    rows = []
    for winner in study.winners().to_dict("records"):
        for name, axis in axes.items():
            found = winner.get(name)
            # Trials from before the setting was searched have no value of it.
            if found is None or pd.isna(found) or not _has_setting(study, winner, name):
                continue
            value = float(found)
            side = axis.side(value)
            if not side:
                continue
            sentence = (
                f"{winner['arm']}: the winner's {hyperparameter_title(name)} {value:.3g} lies at the {side} edge "
                f"of what was searched ({axis.low:.3g} to {axis.high:.3g}); a better one may lie beyond."
            )
            place = (winner["fraction"], winner["subset"], winner["arm"])
            rows.append((*place, name, value, axis.low, axis.high, side, sentence))
    columns = ["fraction", "subset", "arm", "hyperparameter", "value", "low", "high", "side", "sentence"]
    return pd.DataFrame(rows, columns=columns)


def _has_setting(study: Study, winner: Mapping[Any, Any], name: str) -> bool:
    """Whether a searched setting makes a difference to the arm that won with it."""
    if name == "training.segmentation_weight":
        return bool(winner["segmentation"])
    if name == "training.effective_beta":
        training = study.config.get("training")
        configured = training.get("loss_weights") if isinstance(training, Mapping) else None
        return bool(winner.get("training.loss_weights", configured) == "effective")
    return True


@dataclass(frozen=True)
class _Axis:
    """Values of one hyperparameter that were searched."""

    low: float
    """The lowest value."""
    high: float
    """The highest value; above `low`."""
    listed: bool
    """Whether single values were listed; else all between `low` and `high` were searched."""
    logarithmic: bool = False
    """Whether a range was searched on a logarithmic scale."""

    def side(self, value: float) -> str:
        """At which edge the value lies: "lower", "upper" or "" for neither."""
        if self.listed:
            place = 0.0 if value <= self.low else 1.0 if value >= self.high else 0.5
        elif self.logarithmic:
            place = math.log(value / self.low) / math.log(self.high / self.low)
        else:
            place = (value - self.low) / (self.high - self.low)
        # None of these settings can be negative.
        lower = place <= EDGE and self.low > 0
        return "lower" if lower else "upper" if place >= 1 - EDGE else ""


def _searched_axes(search: Mapping[str, Any]) -> dict[str, _Axis]:
    """Hyperparameter -> what was searched; without those of a single value or of words."""
    axes: dict[str, _Axis | None] = {}
    for name in (LEARNING_RATE, WEIGHT_DECAY):
        if search.get("mode") == "grid":
            axes[name] = _list_axis(search.get(f"grid_{name}"))
        elif search.get(name):
            low, high = search[name]
            axes[name] = _Axis(float(low), float(high), listed=False, logarithmic=True)
    also = search.get("also")
    for name, axis in sorted(also.items()) if isinstance(also, Mapping) else ():
        if isinstance(axis, Mapping):
            axes[name] = _Axis(float(axis["low"]), float(axis["high"]), listed=False, logarithmic=bool(axis.get("log")))
        else:
            axes[name] = _list_axis(axis)
    return {name: axis for name, axis in axes.items() if axis is not None and axis.low < axis.high}


def _list_axis(values: Sequence[Any] | None) -> _Axis | None:
    """Listed numbers; None where there are none, or words among them."""
    if not values or not all(isinstance(value, int | float) and not isinstance(value, bool) for value in values):
        return None
    return _Axis(float(min(values)), float(max(values)), listed=True)


def _search(study: Study) -> Mapping[str, Any]:
    search = study.config.get("search")
    return search if isinstance(search, Mapping) else {}
