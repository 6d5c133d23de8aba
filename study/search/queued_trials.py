"""What is known of a trial while a study runs, and how far the trials of an arm are."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from analysis.records.schema import Decision, TrialStatus

if TYPE_CHECKING:
    from collections.abc import Sequence

    from study.design.trials import EpochReport, TrialSpec
    from study.search.plans import ArmPlan


@dataclass
class QueuedTrial:
    """State of one trial that was handed out."""

    spec: TrialSpec
    plan: ArmPlan
    status: TrialStatus = TrialStatus.RUNNING
    rows: dict[int, dict[str, Any]] = field(default_factory=dict)
    """Reported epochs with their decisions, by epoch; empty when the trial has ended."""
    epochs: int = 0
    """Number of recorded epochs."""
    best: float | None = None
    """Best validation score so far, in [0, 1]; None before the first epoch with a finite loss."""
    seconds: float = 0.0
    """Training and validation of all recorded epochs."""
    train_images: int = 0
    """Number of training images; 0 before the first report."""
    parameters: int = 0
    """Number of trainable parameters; 0 before the first report."""
    tune_id: str = ""
    """Tune's id of the latest attempt."""
    host: str = ""
    """Name of the node that reported last."""
    has_predictions: bool = False
    """Whether the predictions of the trial are recorded."""
    failures: int = 0
    """Number of failures in a row, without an epoch between them."""

    @property
    def is_running(self) -> bool:
        """Whether the trial has not ended; it may wait to be handed out again."""
        return self.status == TrialStatus.RUNNING

    def remember_epoch(self, report: EpochReport, decision: Decision, score: float) -> None:
        """Take in a recorded epoch.

        Args:
            report: What the trial reported.
            decision: What was decided after the epoch.
            score: Score of the epoch, in [0, 1]. It is never a trial's best when the trial diverged.
        """
        self.rows[report.epoch] = {**report.row(), "decision": decision}
        self.epochs = max(self.epochs, report.epoch)
        self.seconds += report.seconds
        if decision != Decision.DIVERGED:
            self.best = score if self.best is None else max(self.best, score)


@dataclass(frozen=True)
class ArmProgress:
    """How far one arm is in one phase."""

    arm: str
    """Name of the arm."""
    planned: int
    """Number of trials that the arm gets."""
    running: int
    """Number of trials that were handed out and have not ended."""
    completed: int
    """Number of trials that were trained to their last epoch."""
    stopped: int
    """Number of trials that ASHA stopped."""
    failed: int
    """Number of trials that failed or diverged."""
    best: float | None
    """Best validation score so far, in [0, 1]."""
    epochs_left: int
    """Largest number of epochs that may follow: as if no further trial were stopped."""
    seconds_per_epoch: float | None
    """Mean over all recorded epochs; None before the first."""

    @classmethod
    def of(cls, plan: ArmPlan, trials: Sequence[QueuedTrial]) -> ArmProgress:
        """Progress of an arm, from its plan and its trials."""
        count = {status: sum(trial.status == status for trial in trials) for status in TrialStatus}
        epochs = sum(trial.epochs for trial in trials)
        return cls(
            arm=plan.arm.name,
            planned=len(plan.seeds),
            running=count[TrialStatus.RUNNING],
            completed=count[TrialStatus.COMPLETED],
            stopped=count[TrialStatus.STOPPED],
            failed=count[TrialStatus.FAILED] + count[TrialStatus.DIVERGED],
            best=max((trial.best for trial in trials if trial.best is not None), default=None),
            epochs_left=(len(plan.seeds) - len(trials)) * plan.epochs
            + sum(plan.epochs - trial.epochs for trial in trials if trial.is_running),
            seconds_per_epoch=sum(trial.seconds for trial in trials) / epochs if epochs else None,
        )

    @property
    def ended(self) -> int:
        """Number of trials that will not go on."""
        return self.completed + self.stopped + self.failed
