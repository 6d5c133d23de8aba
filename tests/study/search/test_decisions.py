"""What follows from a report, without any queue."""

from __future__ import annotations

from dataclasses import replace

import pytest

from analysis.records.schema import Decision, TrialStatus
from study.design.arms import Arm
from study.design.points import Point
from study.design.trials import TrialSpec
from study.errors import StudyFailed
from study.search.decisions import STATUS_AFTER, Outcome, decide, repeated_decision
from study.search.queued_trials import QueuedTrial
from study.search.rungs import Rungs
from tests.study.search.queues import MakeReport, OneArm


def trial_of(one_arm: OneArm, epochs: int = 0, best: float | None = None, **options: object) -> QueuedTrial:
    """A running trial that has reported so many epochs."""
    plan = one_arm(1, **options)
    spec = TrialSpec.at(plan.phase, Arm(1.0, "off"), 0, 7, Point(1e-3, 1e-4))  # type: ignore[arg-type]  # a test's shorthand
    return QueuedTrial(spec, plan, epochs=epochs, best=best)


def test_a_trial_goes_on_until_its_last_epoch(one_arm: OneArm, make_report: MakeReport) -> None:
    assert decide(trial_of(one_arm), make_report(1), "val_accuracy") == Outcome(Decision.CONTINUE, None, 0.5, 0.5)
    before_the_last = trial_of(one_arm, 1, 0.6)
    assert decide(before_the_last, make_report(2), "val_accuracy") == Outcome(Decision.CONTINUE, None, 0.5, 0.6)
    last = trial_of(one_arm, 2, 0.4)
    assert decide(last, make_report(3), "val_accuracy") == Outcome(Decision.COMPLETE, None, 0.5, 0.5)


def test_a_loss_that_is_not_finite_decides_also_at_a_rung_and_at_the_last_epoch(
    one_arm: OneArm, make_report: MakeReport
) -> None:
    for epochs in (0, 2):
        trial = trial_of(one_arm, epochs, rungs=Rungs(1, 3, 2))
        outcome = decide(trial, make_report(epochs + 1, loss=float("inf")), "val_accuracy")
        assert (outcome.decision, outcome.rung) == (Decision.DIVERGED, None)


def test_a_rung_compares_the_best_epoch_so_far(one_arm: OneArm, make_report: MakeReport) -> None:
    rungs = Rungs(2, 4, 2)
    rungs.enter("another trial", 2, 0.7)
    poor = trial_of(one_arm, 1, 0.6, rungs=rungs)
    assert decide(poor, make_report(2, correct=2), "val_accuracy") == Outcome(Decision.STOP, 2, 0.1, 0.6)
    good = trial_of(one_arm, 1, 0.8, rungs=rungs)
    assert decide(good, make_report(2, correct=2), "val_accuracy") == Outcome(Decision.CONTINUE, 2, 0.1, 0.8)


def test_to_decide_changes_nothing(one_arm: OneArm, make_report: MakeReport) -> None:
    rungs = Rungs(1, 3, 2)
    rungs.enter("another trial", 1, 0.7)
    trial = trial_of(one_arm, rungs=rungs)
    before = replace(trial)
    # Were the second entered into the rung, the third would be below the median.
    outcomes = [decide(trial, make_report(1, correct=correct), "val_accuracy").decision for correct in (10, 20, 15)]
    assert outcomes == [Decision.STOP, Decision.CONTINUE, Decision.CONTINUE]
    assert trial == before and trial.rows == {}


def test_a_missing_epoch_is_refused(one_arm: OneArm, make_report: MakeReport) -> None:
    for epoch in (1, 3):
        with pytest.raises(StudyFailed, match=f"reported epoch {epoch} after epoch 1"):
            decide(trial_of(one_arm, 1), make_report(epoch), "val_accuracy")


def test_a_repeated_epoch_gets_the_decision_that_it_got(one_arm: OneArm, make_report: MakeReport) -> None:
    trial = trial_of(one_arm)
    trial.remember_epoch(make_report(1, seconds=1), Decision.STOP, 0.5)
    assert repeated_decision(trial, make_report(1, seconds=9)) is Decision.STOP
    with pytest.raises(StudyFailed, match="reported epoch 1 twice with different results"):
        repeated_decision(trial, make_report(1, correct=11))


def test_every_decision_but_to_go_on_ends_a_trial() -> None:
    assert set(STATUS_AFTER) == set(Decision) - {Decision.CONTINUE}
    assert set(STATUS_AFTER.values()) == set(TrialStatus) - {TrialStatus.RUNNING, TrialStatus.FAILED}
