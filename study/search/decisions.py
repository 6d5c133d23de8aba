"""What a report leads to: the trial goes on, is stopped at a rung, is complete, or has diverged. Nothing changes here."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from analysis.records.schema import Decision, TrialStatus
from study.errors import StudyFailed

if TYPE_CHECKING:
    from study.design.trials import EpochReport
    from study.search.queued_trials import QueuedTrial

STATUS_AFTER = {
    Decision.STOP: TrialStatus.STOPPED,
    Decision.COMPLETE: TrialStatus.COMPLETED,
    Decision.DIVERGED: TrialStatus.DIVERGED,
}
"""Final status of a trial by the decision that ended it."""


class Outcome(NamedTuple):
    """What follows from the report of an epoch."""

    decision: Decision
    rung: int | None
    """Epoch of the rung that the result enters; None where the epoch is no rung."""
    score: float
    """Score of the epoch, in [0, 1]."""
    best: float
    """Best score of the trial up to this epoch, in [0, 1]: what rungs and searchers compare."""


def decide(trial: QueuedTrial, report: EpochReport, metric: str) -> Outcome:
    """Decide about a trial after an epoch that it reports for the first time.

    Args:
        trial: State of the trial before the report.
        report: The report.
        metric: ``val_accuracy`` or ``val_macro_f1``.

    Raises:
        StudyFailed: an epoch is missing between the recorded ones and this one.
    """
    if report.epoch != trial.epochs + 1:
        raise StudyFailed(
            f"trial {trial.spec.trial_id} reported epoch {report.epoch} after epoch {trial.epochs}: its checkpoint is not its own"
        )
    score = report.score(metric)
    best = max(score, trial.best if trial.best is not None else 0.0)
    if report.diverged:
        return Outcome(Decision.DIVERGED, None, score, best)
    if report.epoch >= trial.plan.epochs:
        return Outcome(Decision.COMPLETE, None, score, best)
    if trial.plan.rungs is None:
        return Outcome(Decision.CONTINUE, None, score, best)
    rung, stops = trial.plan.rungs.decide(trial.spec.trial_id, report.epoch, best)
    return Outcome(Decision.STOP if stops else Decision.CONTINUE, rung, score, best)


def repeated_decision(trial: QueuedTrial, report: EpochReport) -> Decision:
    """The decision that an epoch got when it was first reported.

    Raises:
        StudyFailed: the epoch was reported before with another result.
    """
    recorded = trial.rows[report.epoch]
    known = {key: recorded[key] for key in report.row()}
    if known != report.row():
        raise StudyFailed(
            f"trial {trial.spec.trial_id} ({trial.spec.arm.name}) reported epoch {report.epoch} twice with different results:"
            f" {known} and {report.row()}. Training is not deterministic on this machine"
        )
    return Decision(recorded["decision"])
