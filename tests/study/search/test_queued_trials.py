"""State of a trial, and progress of an arm."""

from __future__ import annotations

from pathlib import Path

import pytest

from analysis.records.schema import Decision, TrialStatus
from study.design.trials import TrialSpec
from study.search.queued_trials import ArmProgress, QueuedTrial
from study.search.rungs import Rungs
from tests.study.search.queues import MakeReport, OneArm, start, take


def test_progress_counts_what_is_left(one_arm: OneArm, make_report: MakeReport, tmp_path: Path) -> None:
    queue = start([one_arm(4, epochs=3, rungs=Rungs(1, 3, 2)), one_arm(1, fusion="sum")], tmp_path)
    empty = queue.progress()[1]
    assert (empty.best, empty.seconds_per_epoch, empty.epochs_left, empty.ended) == (None, None, 3, 0)
    specs = [take(queue) for _ in range(4)]
    off = [spec for spec in specs if spec.arm.fusion == "off"]
    assert len(off) == 3
    for epoch in (1, 2, 3):
        queue.report(off[0].trial_id, make_report(epoch, correct=15, seconds=2))
    queue.report(off[1].trial_id, make_report(1, correct=1, seconds=6))
    queue.report(off[2].trial_id, make_report(1, correct=16, seconds=4))
    progress = queue.progress()[0]
    assert (progress.arm, progress.planned) == ("WBC_100/off", 4)
    assert (progress.running, progress.completed, progress.stopped, progress.failed) == (1, 1, 1, 0)
    assert progress.ended == 2
    assert progress.best == 0.8
    assert progress.epochs_left == 2 + 3
    assert progress.seconds_per_epoch == pytest.approx((3 * 2 + 6 + 4) / 5)


def test_only_a_running_trial_has_epochs_left(one_arm: OneArm) -> None:
    plan = one_arm(7, epochs=5)
    trials = [
        QueuedTrial(TrialSpec.at(plan.phase, plan.arm, index, 7, plan.searcher.suggest(index)), plan, status, epochs=2)
        for index, status in enumerate(TrialStatus)
    ]
    progress = ArmProgress.of(plan, trials)
    # Three of the one that runs, and all of two that were not handed out.
    assert progress.epochs_left == 3 + 2 * 5
    assert (progress.running, progress.completed, progress.stopped, progress.failed) == (1, 1, 1, 2)
    assert progress.ended == 4
    assert [trial.is_running for trial in trials] == [True] + [False] * 4


def test_an_epoch_that_diverged_is_never_the_best(one_arm: OneArm, make_report: MakeReport) -> None:
    plan = one_arm(1)
    trial = QueuedTrial(TrialSpec.at(plan.phase, plan.arm, 0, 7, plan.searcher.suggest(0)), plan)
    for epoch, decision, score in (
        (1, Decision.CONTINUE, 0.5),
        (2, Decision.CONTINUE, 0.4),
        (3, Decision.DIVERGED, 1.0),
    ):
        trial.remember_epoch(make_report(epoch, seconds=epoch), decision, score)
    assert (trial.epochs, trial.best, trial.seconds) == (3, 0.5, 6)
    assert [trial.rows[epoch]["decision"] for epoch in (1, 2, 3)] == ["continue", "continue", "diverged"]
