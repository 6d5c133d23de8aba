"""Trials in the form that trackers share: names, settings, one series of numbers for each metric."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

import pandas as pd

from analysis.hyperparameters import hyperparameter_columns

if TYPE_CHECKING:
    from analysis.records.study import Study

SERIES = (
    "train_loss",
    "train_accuracy",
    "val_loss",
    "val_accuracy",
    "val_macro_f1",
    "val_weighted_f1",
    "learning_rate",
)
"""Numbers that every epoch has."""

_TESTED = ("test_accuracy", "test_macro_f1", "test_weighted_f1")


@dataclass(frozen=True)
class TrackedTrial:
    """One trial with what trackers show of it."""

    trial_id: str
    """Id of the trial, as in the records."""
    arm: str
    """Name of its arm, e.g. ``WBC_10/sum``."""
    settings: dict[str, str | float | int]
    """Hyperparameters, fraction and seed."""
    tags: dict[str, str]
    """Study, arm, phase, status, fusion, encoders, control and network."""
    epochs: pd.DataFrame
    """Columns epoch, time (seconds since 1970) and `SERIES`, one row per epoch, ascending."""
    results: dict[str, float]
    """Values at the best epoch: val_accuracy, val_macro_f1, val_weighted_f1, val_loss and, for a confirmed run, those on test."""

    def points(self) -> Iterator[tuple[int, float, dict[str, float]]]:
        """Epoch, time and numbers of each epoch; a loss that was not finite is left out."""
        for row in self.epochs.to_dict("records"):
            numbers = {name: float(row[name]) for name in SERIES if pd.notna(row[name])}
            yield int(row["epoch"]), float(row["time"]), numbers


def tracked_trials(study: Study) -> Iterator[TrackedTrial]:
    """All trials of a study in the order of their records, also those without an epoch."""
    trials = study.trials
    epochs = dict(iter(study.epochs.sort_values(["trial_id", "epoch"]).groupby("trial_id")[["epoch", "time", *SERIES]]))
    nothing = study.epochs[["epoch", "time", *SERIES]].iloc[:0]
    tested = {
        str(run["trial_id"]): {name: float(run[name]) for name in _TESTED if pd.notna(run[name])}
        for run in study.confirmed.to_dict("records")
    }
    names = hyperparameter_columns(trials)
    values = ["val_accuracy", "val_macro_f1", "val_weighted_f1", "val_loss"]
    for trial in trials.to_dict("records"):
        trial_id = str(trial["trial_id"])
        settings: dict[str, str | float | int] = {
            name: trial[name] if isinstance(trial[name], int | float) else str(trial[name]) for name in names
        }
        settings |= {"fraction": float(trial["fraction"]), "seed": int(trial["seed"])}
        results = {name: float(trial[name]) for name in values if pd.notna(trial[name])}
        if trial_id in tested:
            results |= tested[trial_id]
        tags = {
            name: str(trial[name]) for name in ("arm", "phase", "status", "fusion", "encoders", "control", "network")
        }
        yield TrackedTrial(
            trial_id, str(trial["arm"]), settings, {"study": study.name, **tags}, epochs.get(trial_id, nothing), results
        )
