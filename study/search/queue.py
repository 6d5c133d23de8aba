"""The queue of all trials of a study: it hands them out, takes their reports, and records before anything takes effect.

It knows neither Ray nor torch. The state of all trials can be read back from the records alone.
"""

from __future__ import annotations

import socket
import time
from typing import TYPE_CHECKING, Any, Protocol

from analysis.records.schema import Decision, Phase, TrialStatus
from study.design.trials import TrialSpec
from study.errors import StudyFailed
from study.search.decisions import STATUS_AFTER, Outcome, decide, repeated_decision
from study.search.queued_trials import ArmProgress, QueuedTrial
from study.search.recorded_trials import read_recorded_trials

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Sequence

    import pandas as pd

    from study.design.trials import EpochReport, TrialPredictions
    from study.search.plans import ArmPlan
    from study.storage.records import RecordWriter

HOPELESS_ARMS = 4
"""Number of arms whose first trials fail before anything was trained, from which on the study and not the arms is to blame."""


class TrialMirror(Protocol):
    """Follows the trials of a queue. What it does with them must not fail the study."""

    def begin(self, spec: TrialSpec) -> None:
        """A trial was handed out for the first time."""

    def observe(self, spec: TrialSpec, epoch: int, score: float) -> None:
        """A trial reported an epoch with this score."""

    def end(self, spec: TrialSpec, status: TrialStatus, score: float | None) -> None:
        """A trial ended with this status and this best score, None without any."""


class TrialQueue:
    """Hands out the trials of all arms, takes their reports, decides and records."""

    def __init__(
        self,
        plans: Sequence[ArmPlan],
        records: RecordWriter,
        *,
        metric: str,
        max_failures: int = 0,
        predictions_to_rows: Callable[[str, TrialPredictions], list[dict[str, Any]]] | None = None,
        ended: Callable[[str, Phase], None] | None = None,
        mirror: TrialMirror | None = None,
    ):
        """Make a queue without trials.

        Args:
            plans: One for each arm.
            records: Where everything is written before it takes effect.
            metric: ``val_accuracy`` or ``val_macro_f1``; what a score is.
            max_failures: How often in a row, without an epoch between, a trial may fail and is handed out again.
            predictions_to_rows: Makes rows of the table ``predictions`` from a trial's id and its predictions.
            ended: Called with the id and phase of each trial that has ended, after that is recorded.
            mirror: Called with what happens to trials, after that is recorded.
        """
        self._plans = {plan.arm.name: plan for plan in plans}
        self._records = records
        self._metric = metric
        self._max_failures = max_failures
        self._predictions_to_rows = predictions_to_rows
        self._tell_ended = ended
        self._mirror = mirror
        self._trials: dict[str, QueuedTrial] = {}
        self._handed_out = dict.fromkeys(self._plans, 0)
        self._unfinished: list[str] = []
        """Ids of trials that were interrupted or failed and are to be handed out again, first ones first."""
        self._given_up: dict[str, str] = {}
        """Trials that failed for good before any trial was trained, with the reason. Recorded once one has come through."""

    def replay(self, trials: pd.DataFrame, epochs: pd.DataFrame, with_predictions: Collection[str] = ()) -> None:
        """Take in what an earlier process of the same study recorded.

        Args:
            trials: Table ``trials``, all rows, by sequence.
            epochs: Table ``epochs``, all rows, by sequence.
            with_predictions: Ids of the trials whose predictions are recorded.

        Raises:
            StudyFailed: a recorded trial does not belong to this study.
        """
        recorded = read_recorded_trials(self._plans, trials, epochs, self._metric, with_predictions)
        self._trials = {trial_id: known.trial for trial_id, known in recorded.items()}
        for trial_id, known in recorded.items():
            trial, spec = known.trial, known.trial.spec
            self._handed_out[spec.arm.name] = max(self._handed_out[spec.arm.name], spec.index + 1)
            if known.unrecorded_end is not None:
                self._write_trial(trial, known.unrecorded_end)
            trial.plan.searcher.replay(spec.index, spec.point, known.scores, trial.status)
            if trial.is_running:
                self._unfinished.append(trial_id)
            else:
                trial.rows.clear()

    @property
    def finished(self) -> bool:
        """Whether every trial of every arm has been handed out and has ended."""
        return self.exhausted and not any(trial.is_running for trial in self._trials.values())

    @property
    def exhausted(self) -> bool:
        """Whether nothing is left to hand out."""
        return not self._unfinished and not self._arms_with_trials_left()

    def hand_out(self, tune_id: str = "") -> tuple[TrialSpec, int] | None:
        """The next trial and the number of its recorded epochs; None when nothing is left.

        Interrupted trials come first, then the costliest arms; arms of equal cost take turns. While nothing has been trained,
        arms with a failed trial wait for the others.
        """
        if self._unfinished:
            trial = self._trials[self._unfinished.pop(0)]
            trial.tune_id = tune_id
            return trial.spec, trial.epochs
        waiting = self._arms_with_trials_left()
        if not waiting:
            return None
        failing = {self._trials[trial_id].spec.arm.name for trial_id in self._given_up}
        plan = min(waiting, key=lambda plan: (plan.arm.name in failing, -plan.cost, self._handed_out[plan.arm.name]))
        index = self._handed_out[plan.arm.name]
        spec = TrialSpec.at(plan.phase, plan.arm, index, plan.seeds[index], plan.searcher.suggest(index))
        trial = QueuedTrial(spec, plan, tune_id=tune_id)
        self._write_trial(trial, TrialStatus.RUNNING)
        self._trials[spec.trial_id] = trial
        self._handed_out[plan.arm.name] += 1
        return spec, 0

    def report(self, trial_id: str, report: EpochReport, host: str = "") -> Decision:
        """Decide about a trial after an epoch, and record both.

        An epoch that was reported before (a trial taken up again from its checkpoint) counts once and gets the decision that
        it got before.

        Args:
            trial_id: Id of the trial.
            report: What the trial reports.
            host: Name of the node that trained the epoch.

        Raises:
            StudyFailed: the epoch was reported before with another result, or an epoch is missing.
        """
        trial = self._trials[trial_id]
        if not trial.is_running:
            # The trial has ended, but its worker was lost before Tune had let go of it, and Tune began it again.
            return Decision.STOP
        if report.epoch in trial.rows:
            return repeated_decision(trial, report)
        outcome = decide(trial, report, self._metric)
        trial.host = host
        self._commit(trial, report, outcome)
        return outcome.decision

    def fail(self, trial_id: str, error: str) -> None:
        """Take in that a trial raised or lost its process: it is handed out again, or has failed for good.

        A trial that is handed out again goes on from its checkpoint. The queue counts the attempts itself: Ray Tune's own
        retries do not cover a process that dies while it is being prepared for its next trial, and would give up a trial that
        outlived many lost machines.

        Raises:
            StudyFailed: no trial has come through an epoch yet, and those of every arm (or of `HOPELESS_ARMS`) fail: the others
                would fail likewise. Nothing is recorded, so that the same command tries again once the reason is mended.
        """
        trial = self._trials[trial_id]
        if not trial.is_running:
            return
        trial.failures += 1
        if trial.failures <= self._max_failures:
            self._unfinished.append(trial_id)
            return
        if any(known.epochs for known in self._trials.values()):
            self._end(trial, TrialStatus.FAILED, error)
            return
        failing = {self._trials[other].spec.arm.name for other in (*self._given_up, trial_id)}
        if len(failing) >= min(len(self._plans), HOPELESS_ARMS):
            raise StudyFailed(
                f"the first trials cannot be trained; mend this and run the same command again:\n{error.strip()}"
            )
        self._given_up[trial_id] = error

    @property
    def failures(self) -> int:
        """Number of trials that failed; diverged ones do not count."""
        return sum(trial.status == TrialStatus.FAILED for trial in self._trials.values())

    def ended(self) -> list[TrialSpec]:
        """Trials that will not go on."""
        return [trial.spec for trial in self._trials.values() if not trial.is_running]

    def progress(self) -> list[ArmProgress]:
        """How far each arm is, in the order of the plans."""
        by_arm: dict[str, list[QueuedTrial]] = {name: [] for name in self._plans}
        # A copy: the terminal asks from a thread of its own.
        for trial in list(self._trials.values()):
            by_arm[trial.spec.arm.name].append(trial)
        return [ArmProgress.of(plan, by_arm[name]) for name, plan in self._plans.items()]

    def _arms_with_trials_left(self) -> list[ArmPlan]:
        return [plan for name, plan in self._plans.items() if self._handed_out[name] < len(plan.seeds)]

    def _commit(self, trial: QueuedTrial, report: EpochReport, outcome: Outcome) -> None:
        """Record an epoch with what was decided, then let it take effect."""
        spec, plan = trial.spec, trial.plan
        self._record_size(trial, report)
        self._record_predictions(trial, report)
        self._record_epoch(trial, report, outcome)
        trial.remember_epoch(report, outcome.decision, outcome.score)
        trial.failures = 0
        if outcome.rung is not None and plan.rungs is not None:
            plan.rungs.enter(spec.trial_id, report.epoch, outcome.best)
        if outcome.decision != Decision.DIVERGED:
            plan.searcher.observe(spec.index, report.epoch, outcome.best)
            if self._mirror is not None:
                self._mirror.observe(spec, report.epoch, outcome.score)
        if outcome.decision != Decision.CONTINUE:
            self._end(trial, STATUS_AFTER[outcome.decision])
        self._end_given_up()

    def _record_size(self, trial: QueuedTrial, report: EpochReport) -> None:
        """Record the images and parameters that a first report tells of, before its epoch.

        The row of the trial's end may have to be written from the records alone, where the study ends between the two.
        """
        if not trial.train_images:
            trial.train_images, trial.parameters = report.train_images, report.parameters
            self._append_trial(trial, TrialStatus.RUNNING)

    def _record_predictions(self, trial: QueuedTrial, report: EpochReport) -> None:
        if report.predictions is not None and self._predictions_to_rows is not None and not trial.has_predictions:
            self._records.append("predictions", self._predictions_to_rows(trial.spec.trial_id, report.predictions))
            trial.has_predictions = True

    def _record_epoch(self, trial: QueuedTrial, report: EpochReport, outcome: Outcome) -> None:
        row = {
            "trial_id": trial.spec.trial_id,
            **report.row(),
            "rung": outcome.rung,
            "decision": outcome.decision,
            "seconds": report.seconds,
            "time": time.time(),
        }
        self._records.append("epochs", [row])

    def _end(self, trial: QueuedTrial, status: TrialStatus, error: str = "") -> None:
        self._write_trial(trial, status, error)
        trial.plan.searcher.end(trial.spec.index, status, trial.best)
        trial.rows.clear()
        if self._tell_ended is not None:
            self._tell_ended(trial.spec.trial_id, trial.spec.phase)

    def _end_given_up(self) -> None:
        """End the trials that failed before anything was trained: now that something was, they have themselves to blame."""
        for trial_id in list(self._given_up):
            self._end(self._trials[trial_id], TrialStatus.FAILED, self._given_up.pop(trial_id))

    def _write_trial(self, trial: QueuedTrial, status: TrialStatus, error: str = "") -> None:
        """Record that a trial began or ended, then let it take effect."""
        self._append_trial(trial, status, error)
        trial.status = status
        if self._mirror is None:
            return
        if status == TrialStatus.RUNNING:
            self._mirror.begin(trial.spec)
        else:
            self._mirror.end(trial.spec, status, trial.best)

    def _append_trial(self, trial: QueuedTrial, status: TrialStatus, error: str = "") -> None:
        row = {
            **trial.spec.columns(),
            "status": status,
            "epochs": trial.epochs,
            "train_images": trial.train_images,
            "parameters": trial.parameters,
            "error": error,
            "tune_id": trial.tune_id,
            "host": trial.host or socket.gethostname(),
            "time": time.time(),
        }
        self._records.append("trials", [row])
