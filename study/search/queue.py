"""The study's own book about its trials: who is next, what was reported, what is decided. Knows no Ray and no torch.

Every change is written to the records before it takes effect, and the book can be rebuilt from the records alone.
"""

from __future__ import annotations

import socket
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Protocol

import pandas as pd

from analysis.records.schema import Decision, Phase, TrialStatus
from study.design.trials import EpochReport, TrialSpec, recorded_point, score_of
from study.errors import StudyFailed
from study.search.plans import ArmPlan

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from study.design.trials import Predictions
    from study.storage.records import RecordWriter


HOPELESS_ARMS = 4
"""So many arms whose first trials fail before anything was trained: the study, not the arms, is to blame."""

_STATUS_AFTER = {
    Decision.STOP: TrialStatus.STOPPED,
    Decision.COMPLETE: TrialStatus.COMPLETED,
    Decision.DIVERGED: TrialStatus.DIVERGED,
}


@dataclass
class _Trial:
    spec: TrialSpec
    plan: ArmPlan
    status: TrialStatus = TrialStatus.RUNNING
    rows: dict[int, dict[str, Any]] = field(default_factory=dict)
    """Reported epochs with their decisions; emptied when the trial has ended."""
    epochs: int = 0
    best: float | None = None
    seconds: float = 0.0
    train_images: int = 0
    parameters: int = 0
    tune_id: str = ""
    host: str = ""
    """Name of the node that reported last."""
    has_predictions: bool = False
    failures: int = 0
    """In a row, without an epoch between them."""


@dataclass(frozen=True)
class ArmProgress:
    """How far one arm is in one phase."""

    arm: str
    planned: int
    running: int
    completed: int
    stopped: int
    failed: int
    """Failed or diverged."""
    best: float | None
    """Best validation score so far, in [0, 1]."""
    epochs_left: int
    """At most: as if no further trial were stopped."""
    seconds_per_epoch: float | None

    @property
    def ended(self) -> int:
        """Trials that will not go on."""
        return self.completed + self.stopped + self.failed


class TrialQueue:
    """Hands out the trials of all arms, takes their reports, decides and records."""

    def __init__(
        self,
        plans: Sequence[ArmPlan],
        records: RecordWriter,
        *,
        metric: str,
        max_failures: int = 0,
        predictions_to_rows: Callable[[str, Predictions], list[dict[str, Any]]] | None = None,
        ended: Callable[[str, str], None] | None = None,
        mirror: TrialMirror | None = None,
    ):
        """Make a queue without trials.

        Args:
            plans: One for each arm.
            records: Where everything is written before it takes effect.
            metric: ``val_accuracy`` or ``val_macro_f1``; what a score is.
            max_failures: How often in a row, without an epoch between, a trial may fail and is handed out again.
            predictions_to_rows: Makes rows of the table ``predictions`` of a trial id and its predictions.
            ended: Told the id and phase of each trial that has ended, after that is recorded.
            mirror: Told what happens to trials, after that is recorded.
        """
        self._plans = {plan.arm.name: plan for plan in plans}
        self._records = records
        self._metric = metric
        self._max_failures = max_failures
        self._predictions_to_rows = predictions_to_rows
        self._tell_ended = ended
        self._mirror = mirror
        self._trials: dict[str, _Trial] = {}
        self._handed_out = dict.fromkeys(self._plans, 0)
        self._unfinished: list[str] = []
        self._given_up: dict[str, str] = {}
        """Trials that failed for good before any trial was trained, with the reason. Recorded once one has come through."""

    def replay(
        self, trials: pd.DataFrame, epochs: pd.DataFrame, with_predictions: frozenset[str] = frozenset()
    ) -> None:
        """Take in what an earlier run of the same study recorded.

        Args:
            trials: Table ``trials``, all rows, by sequence.
            epochs: Table ``epochs``, all rows, by sequence.
            with_predictions: Ids of the trials whose predictions are recorded.

        A trial that ended after an epoch that is no longer there (a torn segment) has not ended: it is trained again.

        Raises:
            StudyFailed: a recorded trial does not belong to this study.
        """
        ended_after = self._replay_trials(trials, with_predictions)
        history = self._replay_epochs(epochs)
        for trial_id, trial in self._trials.items():
            if trial.status != TrialStatus.RUNNING and trial.epochs != ended_after[trial_id]:
                trial.status = TrialStatus.RUNNING
            decision = trial.rows[trial.epochs]["decision"] if trial.epochs else Decision.CONTINUE
            if trial.status == TrialStatus.RUNNING and decision != Decision.CONTINUE:
                # The study ended between the last epoch's row and the trial's own.
                self._write_trial(trial, _STATUS_AFTER[decision])
            spec = trial.spec
            trial.plan.searcher.replay(spec.index, spec.point, history[trial_id], trial.status)
            if trial.status == TrialStatus.RUNNING:
                self._unfinished.append(trial_id)
            else:
                trial.rows.clear()

    def _replay_trials(self, trials: pd.DataFrame, with_predictions: frozenset[str]) -> dict[str, int]:
        """Know the trials that were handed out, and their status; returns the epochs that their newest rows tell of."""
        epochs: dict[str, int] = {}
        for row in trials.to_dict("records"):
            plan = self._plans.get(row["arm"])
            if plan is None or plan.phase != row["phase"]:
                continue
            if plan.phase == Phase.CONFIRM and plan.searcher.suggest(row["index"]) != recorded_point(row):
                # Of an earlier winner: the search was extended and found a better one.
                continue
            trial_id = row["trial_id"]
            if trial_id not in self._trials:
                spec = TrialSpec.recorded(row, plan.arm)
                if spec.trial_id != trial_id:
                    raise StudyFailed(
                        f"the record of trial {trial_id} of arm {row['arm']} has the settings of trial {spec.trial_id}; the"
                        " records were changed by hand. Give the study another --name to start afresh"
                    )
                self._trials[trial_id] = _Trial(spec, plan, has_predictions=trial_id in with_predictions)
                self._handed_out[row["arm"]] = max(self._handed_out[row["arm"]], row["index"] + 1)
            trial = self._trials[trial_id]
            trial.status = TrialStatus(row["status"])
            trial.train_images, trial.parameters = row["train_images"], row["parameters"]
            epochs[trial_id] = row["epochs"]
        return epochs

    def _replay_epochs(self, epochs: pd.DataFrame) -> dict[str, dict[int, float]]:
        """Know the epochs, in the order of their arrival; returns the best score so far by trial and epoch."""
        history: dict[str, dict[int, float]] = {trial_id: {} for trial_id in self._trials}
        for row in epochs.to_dict("records"):
            known = self._trials.get(row["trial_id"])
            if known is None or row["epoch"] != known.epochs + 1:
                # Reported twice, or after an epoch that was lost: that one comes again, and this one after it.
                continue
            report = EpochReport(
                epoch=row["epoch"],
                steps=row["steps"],
                learning_rate=row["learning_rate"],
                train_loss=row["train_loss"],
                train_accuracy=row["train_accuracy"],
                val_loss=row["val_loss"],
                confusion=tuple(int(count) for count in row["confusion"]),
                train_images=known.train_images,
                parameters=known.parameters,
                seconds=row["seconds"],
            )
            self._take(known, report, Decision(row["decision"]))
            if row["decision"] == Decision.DIVERGED or known.best is None:
                continue
            history[row["trial_id"]][report.epoch] = known.best
            if known.plan.rungs is not None and row["rung"] is not pd.NA:
                known.plan.rungs.enter(row["trial_id"], report.epoch, known.best)
        return history

    @property
    def finished(self) -> bool:
        """Whether every trial of every arm has been handed out and has ended."""
        return (
            not self._unfinished
            and all(self._handed_out[name] == len(plan.seeds) for name, plan in self._plans.items())
            and all(trial.status != TrialStatus.RUNNING for trial in self._trials.values())
        )

    @property
    def exhausted(self) -> bool:
        """Whether nothing is left to hand out."""
        return not self._unfinished and all(
            self._handed_out[name] == len(plan.seeds) for name, plan in self._plans.items()
        )

    def hand_out(self, tune_id: str = "") -> tuple[TrialSpec, int] | None:
        """The next trial and how many of its epochs are recorded; None when nothing is left.

        Interrupted trials come first, then the costliest arms; arms of equal cost take turns. While nothing has been trained,
        arms whose trial failed wait for the others.
        """
        if self._unfinished:
            trial = self._trials[self._unfinished.pop(0)]
            trial.tune_id = tune_id
            return trial.spec, trial.epochs
        waiting = [plan for name, plan in self._plans.items() if self._handed_out[name] < len(plan.seeds)]
        if not waiting:
            return None
        failing = {self._trials[trial_id].spec.arm.name for trial_id in self._given_up}
        plan = min(waiting, key=lambda plan: (plan.arm.name in failing, -plan.cost, self._handed_out[plan.arm.name]))
        index = self._handed_out[plan.arm.name]
        spec = TrialSpec.at(plan.phase, plan.arm, index, plan.seeds[index], plan.searcher.suggest(index))
        trial = _Trial(spec, plan, tune_id=tune_id)
        self._write_trial(trial, TrialStatus.RUNNING)
        self._trials[spec.trial_id] = trial
        self._handed_out[plan.arm.name] += 1
        return spec, 0

    def report(self, trial_id: str, report: EpochReport, host: str = "") -> Decision:
        """Record an epoch, then decide about the trial.

        An epoch that was reported before (a trial taken up again from its checkpoint) counts once and gets the decision that
        it got before.

        Raises:
            StudyFailed: the epoch was reported before with another result, or an epoch is missing.
        """
        trial = self._trials[trial_id]
        if trial.status != TrialStatus.RUNNING:
            # Ended, but its worker was lost before Tune had let go of it, and Tune began it again.
            return Decision.STOP
        if report.epoch in trial.rows:
            known = {key: trial.rows[report.epoch][key] for key in report.row()}
            if known != report.row():
                raise StudyFailed(
                    f"trial {trial_id} ({trial.spec.arm.name}) reported epoch {report.epoch} twice with different results:"
                    f" {known} and {report.row()}. Training is not deterministic on this machine"
                )
            return Decision(trial.rows[report.epoch]["decision"])
        if report.epoch != trial.epochs + 1:
            raise StudyFailed(
                f"trial {trial_id} reported epoch {report.epoch} after epoch {trial.epochs}: its checkpoint is not its own"
            )
        trial.host = host
        self._describe(trial, report)
        score = max(self._score(report), trial.best if trial.best is not None else 0.0)
        rung, stop = None, False
        if report.diverged:
            decision = Decision.DIVERGED
        elif report.epoch >= trial.plan.epochs:
            decision = Decision.COMPLETE
        else:
            if trial.plan.rungs is not None:
                rung, stop = trial.plan.rungs.decide(trial_id, report.epoch, score)
            decision = Decision.STOP if stop else Decision.CONTINUE
        if report.predictions is not None and self._predictions_to_rows is not None and not trial.has_predictions:
            self._records.append("predictions", self._predictions_to_rows(trial_id, report.predictions))
            trial.has_predictions = True
        self._records.append(
            "epochs",
            [
                {
                    "trial_id": trial_id,
                    **report.row(),
                    "rung": rung,
                    "decision": decision,
                    "seconds": report.seconds,
                    "time": time.time(),
                }
            ],
        )
        self._take(trial, report, decision)
        trial.failures = 0
        if rung is not None and trial.plan.rungs is not None:
            trial.plan.rungs.enter(trial_id, report.epoch, score)
        if decision != Decision.DIVERGED:
            self._observe(trial, report, score)
        if decision != Decision.CONTINUE:
            self._end(trial, _STATUS_AFTER[decision])
        self._end_given_up()
        return decision

    def fail(self, trial_id: str, error: str) -> None:
        """A trial raised or lost its process: it is handed out again, to go on from its checkpoint, or has failed for good.

        The queue counts the attempts itself. Ray Tune's own retries do not cover a process that dies while it is being
        prepared for its next trial, and would give up a trial that outlived many lost machines.

        Raises:
            StudyFailed: no trial has come through an epoch yet, and those of every arm (or of `HOPELESS_ARMS`) fail: the others
                would fail likewise. Nothing is recorded, so that the same command tries again once the reason is mended.
        """
        trial = self._trials[trial_id]
        if trial.status != TrialStatus.RUNNING:
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
        """Trials that failed; diverged ones do not count."""
        return sum(trial.status == TrialStatus.FAILED for trial in self._trials.values())

    def ended(self) -> list[TrialSpec]:
        """Trials that will not go on."""
        return [trial.spec for trial in self._trials.values() if trial.status != TrialStatus.RUNNING]

    def progress(self) -> list[ArmProgress]:
        """How far each arm is, in the order of the plans."""
        by_arm: dict[str, list[_Trial]] = {name: [] for name in self._plans}
        # A copy: the terminal asks from a thread of its own.
        for trial in list(self._trials.values()):
            by_arm[trial.spec.arm.name].append(trial)
        return [self._arm_progress(plan, by_arm[name]) for name, plan in self._plans.items()]

    def _arm_progress(self, plan: ArmPlan, trials: list[_Trial]) -> ArmProgress:
        count = {
            status: sum(trial.status == status for trial in trials)
            for status in (TrialStatus.RUNNING, TrialStatus.COMPLETED, TrialStatus.STOPPED)
        }
        epochs = sum(trial.epochs for trial in trials)
        bests = [trial.best for trial in trials if trial.best is not None]
        return ArmProgress(
            arm=plan.arm.name,
            planned=len(plan.seeds),
            running=count[TrialStatus.RUNNING],
            completed=count[TrialStatus.COMPLETED],
            stopped=count[TrialStatus.STOPPED],
            failed=len(trials) - sum(count.values()),
            best=max(bests, default=None),
            epochs_left=(len(plan.seeds) - len(trials)) * plan.epochs
            + sum(plan.epochs - trial.epochs for trial in trials if trial.status == TrialStatus.RUNNING),
            seconds_per_epoch=sum(trial.seconds for trial in trials) / epochs if epochs else None,
        )

    def _score(self, report: EpochReport) -> float:
        return score_of(report.confusion, self._metric)

    def _take(self, trial: _Trial, report: EpochReport, decision: Decision) -> None:
        """Remember a recorded epoch. One that diverged is never a trial's best."""
        trial.rows[report.epoch] = {**report.row(), "decision": decision}
        trial.epochs = max(trial.epochs, report.epoch)
        trial.seconds += report.seconds
        if decision != Decision.DIVERGED:
            score = self._score(report)
            trial.best = score if trial.best is None else max(trial.best, score)

    def _describe(self, trial: _Trial, report: EpochReport) -> None:
        """Record what a first report says of its trial, before its epoch.

        The row of its end may have to be written from the records alone, where the study ends between the two.
        """
        if not trial.train_images:
            trial.train_images, trial.parameters = report.train_images, report.parameters
            self._append_trial(trial, TrialStatus.RUNNING)

    def _observe(self, trial: _Trial, report: EpochReport, best: float) -> None:
        """Tell the searcher what rungs compare, the best so far; and who only looks on, the epoch's own score."""
        trial.plan.searcher.observe(trial.spec.index, report.epoch, best)
        if self._mirror is not None:
            self._mirror.observe(trial.spec, report.epoch, self._score(report))

    def _end(self, trial: _Trial, status: TrialStatus, error: str = "") -> None:
        self._write_trial(trial, status, error)
        trial.plan.searcher.end(trial.spec.index, status, trial.best)
        trial.rows.clear()
        if self._tell_ended is not None:
            self._tell_ended(trial.spec.trial_id, trial.spec.phase)

    def _end_given_up(self) -> None:
        """Something was trained: the trials that failed before have themselves to blame."""
        for trial_id in list(self._given_up):
            self._end(self._trials[trial_id], TrialStatus.FAILED, self._given_up.pop(trial_id))

    def _write_trial(self, trial: _Trial, status: TrialStatus, error: str = "") -> None:
        """Record that a trial began or ended, then let it be so."""
        self._append_trial(trial, status, error)
        trial.status = status
        if self._mirror is not None:
            if status == TrialStatus.RUNNING:
                self._mirror.begin(trial.spec)
            else:
                self._mirror.end(trial.spec, status, trial.best)

    def _append_trial(self, trial: _Trial, status: TrialStatus, error: str = "") -> None:
        self._records.append(
            "trials",
            [
                {
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
            ],
        )


class TrialMirror(Protocol):
    """Follows the trials of a queue. What it does with them must not fail the study."""

    def begin(self, spec: TrialSpec) -> None:
        """A trial was handed out for the first time."""

    def observe(self, spec: TrialSpec, epoch: int, score: float) -> None:
        """A trial reported an epoch with this score."""

    def end(self, spec: TrialSpec, status: TrialStatus, score: float | None) -> None:
        """A trial ended with a status of the record schema and its best score."""
