"""What an Optuna storage shows and what it must show, in one form."""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import optuna
from optuna.storages import BaseStorage
from optuna.trial import TrialState

from analysis.records.schema import TABLES
from analysis.records.segments import read_segments
from study.design.arms import Arm
from study.design.trials import EpochReport

STATES = {
    "running": TrialState.RUNNING,
    "completed": TrialState.COMPLETE,
    "stopped": TrialState.PRUNED,
    "diverged": TrialState.FAIL,
    "failed": TrialState.FAIL,
}


def records_of(folder: Path, arms: Iterable[Arm]) -> dict[str, list[tuple[Any, ...]]]:
    """What a storage must show, straight from the tables: a list of trials by name of the Optuna study."""
    trials, epochs = (
        read_segments(folder / name, TABLES[name]).sort_values("sequence") for name in ("trials", "epochs")
    )
    shown: dict[str, list[tuple[Any, ...]]] = {f"pilot/{arm.name}": [] for arm in arms}
    scores: dict[str, dict[int, float]] = {}
    for row in epochs[epochs["decision"] != "diverged"].to_dict("records"):
        report = EpochReport.recorded(row)
        scores.setdefault(row["trial_id"], {})[report.epoch] = report.score("val_accuracy")
    last = trials.drop_duplicates("trial_id", keep="last").sort_values("index")
    for row in last.to_dict("records"):
        values = scores.get(row["trial_id"], {})
        best = max(values.values()) if row["status"] == "completed" else None
        value = values[max(values)] if row["status"] == "stopped" else best
        shown[f"pilot/{row['arm']}"].append(
            (
                STATES[row["status"]],
                {
                    "learning_rate": row["learning_rate"],
                    "weight_decay": row["weight_decay"],
                    **json.loads(row["settings"]),
                },
                values,
                value,
                {"trial_id": row["trial_id"], "arm": row["arm"], "seed": row["seed"]},
            )
        )
    return shown


def shown_by(storage: BaseStorage) -> dict[str, list[tuple[Any, ...]]]:
    studies = [optuna.load_study(study_name=each.study_name, storage=storage) for each in storage.get_all_studies()]
    assert all(study.direction == optuna.study.StudyDirection.MAXIMIZE for study in studies)
    return {
        study.study_name: [
            (trial.state, trial.params, trial.intermediate_values, trial.value, trial.user_attrs)
            for trial in study.trials
        ]
        for study in studies
    }
