"""State of all trials from the records of an earlier process of the same study."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import pandas as pd

from analysis.records.schema import Decision, Phase, TrialStatus
from study.design.trials import EpochReport, TrialSpec, recorded_point
from study.errors import StudyFailed
from study.search.decisions import STATUS_AFTER
from study.search.queued_trials import QueuedTrial

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping

    from study.search.plans import ArmPlan


@dataclass
class RecordedTrial:
    """A trial as the records tell of it."""

    trial: QueuedTrial
    epochs: int = 0
    """Number of epochs by the newest row of the trial."""
    scores: dict[int, float] = field(default_factory=dict)
    """Best score up to each recorded epoch, in [0, 1], by epoch; without epochs that diverged."""

    @property
    def unrecorded_end(self) -> TrialStatus | None:
        """Final status of a trial whose last epoch is recorded and whose end is not: the study ended between the two rows."""
        trial = self.trial
        if not trial.is_running or not trial.epochs:
            return None
        return STATUS_AFTER.get(trial.rows[trial.epochs]["decision"])


def read_recorded_trials(
    plans: Mapping[str, ArmPlan],
    trials: pd.DataFrame,
    epochs: pd.DataFrame,
    metric: str,
    with_predictions: Collection[str] = (),
) -> dict[str, RecordedTrial]:
    """Read all trials of the planned phases, and enter their results in the plans' rungs in the order of their arrival.

    A trial that ended after an epoch that is no longer there (a torn segment) has not ended: it is trained again.

    Args:
        plans: Plans by the arm's name.
        trials: Table ``trials``, all rows, by sequence.
        epochs: Table ``epochs``, all rows, by sequence.
        metric: ``val_accuracy`` or ``val_macro_f1``.
        with_predictions: Ids of the trials whose predictions are recorded.

    Returns:
        Trials by id, in the order in which they were first handed out.

    Raises:
        StudyFailed: a recorded trial does not belong to this study.
    """
    known = _read_trials(plans, trials, with_predictions)
    _read_epochs(known, epochs, metric)
    for recorded in known.values():
        if recorded.trial.epochs != recorded.epochs:
            recorded.trial.status = TrialStatus.RUNNING
    return known


def _read_trials(
    plans: Mapping[str, ArmPlan], trials: pd.DataFrame, with_predictions: Collection[str]
) -> dict[str, RecordedTrial]:
    known: dict[str, RecordedTrial] = {}
    for row in trials.to_dict("records"):
        plan = plans.get(row["arm"])
        if plan is None or plan.phase != row["phase"]:
            continue
        if plan.phase == Phase.CONFIRM and plan.searcher.suggest(row["index"]) != recorded_point(row):
            # The row belongs to an earlier winner: the search was extended and found a better one.
            continue
        trial_id = row["trial_id"]
        if trial_id not in known:
            spec = TrialSpec.recorded(row, plan.arm)
            if spec.trial_id != trial_id:
                raise StudyFailed(
                    f"the record of trial {trial_id} of arm {row['arm']} has the settings of trial {spec.trial_id}; the"
                    " records were changed by hand. Give the study another --name to start afresh"
                )
            known[trial_id] = RecordedTrial(QueuedTrial(spec, plan, has_predictions=trial_id in with_predictions))
        recorded = known[trial_id]
        recorded.trial.status = TrialStatus(row["status"])
        recorded.trial.train_images, recorded.trial.parameters = row["train_images"], row["parameters"]
        recorded.epochs = row["epochs"]
    return known


def _read_epochs(known: Mapping[str, RecordedTrial], epochs: pd.DataFrame, metric: str) -> None:
    for row in epochs.to_dict("records"):
        recorded = known.get(row["trial_id"])
        if recorded is None or row["epoch"] != recorded.trial.epochs + 1:
            # Reported twice, or after an epoch that was lost: that one comes again, and this one after it.
            continue
        trial = recorded.trial
        report = EpochReport.recorded(row, trial.train_images, trial.parameters)
        decision = Decision(row["decision"])
        trial.remember_epoch(report, decision, report.score(metric))
        if decision == Decision.DIVERGED or trial.best is None:
            continue
        recorded.scores[report.epoch] = trial.best
        if trial.plan.rungs is not None and row["rung"] is not pd.NA:
            trial.plan.rungs.enter(trial.spec.trial_id, report.epoch, trial.best)
