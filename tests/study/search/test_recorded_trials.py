"""Trials as an earlier process recorded them."""

from __future__ import annotations

from pathlib import Path

import pytest

from analysis.records.schema import TrialStatus
from study.errors import StudyFailed
from study.search.plans import ArmPlan
from study.search.queue import TrialQueue
from study.search.recorded_trials import read_recorded_trials
from study.search.rungs import Rungs
from study.search.searchers import FixedSearcher
from tests.study.search.queues import FullDisk, MakeReport, OneArm, Replayed, read, start, take


def test_a_trial_whose_last_epoch_was_torn_off_is_trained_again(
    one_arm: OneArm, make_report: MakeReport, tmp_path: Path, replayed: Replayed
) -> None:
    queue = start([one_arm(1)], tmp_path)
    spec = take(queue)
    for epoch in (1, 2, 3):
        queue.report(spec.trial_id, make_report(epoch))
    assert queue.finished
    segments = sorted((tmp_path / "epochs").iterdir())
    segments[-1].write_bytes(segments[-1].read_bytes()[:-20])
    queue = replayed(tmp_path, [one_arm(1)])
    assert not queue.finished
    assert queue.hand_out() == (spec, 2)
    assert queue.report(spec.trial_id, make_report(3)) == "complete"
    assert queue.finished
    assert read(tmp_path, "epochs")["epoch"].tolist() == [1, 2, 3]


def test_epochs_after_a_lost_one_do_not_count(
    one_arm: OneArm, make_report: MakeReport, tmp_path: Path, replayed: Replayed
) -> None:
    queue = start([one_arm(1)], tmp_path)
    spec = take(queue)
    for epoch in (1, 2):
        queue.report(spec.trial_id, make_report(epoch))
    min((tmp_path / "epochs").iterdir()).unlink()
    queue = replayed(tmp_path, [one_arm(1)])
    assert queue.hand_out() == (spec, 0)
    for epoch in (1, 2, 3):
        queue.report(spec.trial_id, make_report(epoch))
    assert queue.finished


def test_replay_leaves_other_phases_alone(
    one_arm: OneArm, make_report: MakeReport, tmp_path: Path, replayed: Replayed
) -> None:
    queue = start([one_arm(1, epochs=1)], tmp_path)
    queue.report(take(queue).trial_id, make_report(1))
    confirm = replayed(tmp_path, [one_arm(1, epochs=1, phase="confirm")])
    assert not confirm.exhausted
    assert take(confirm).phase == "confirm"
    assert replayed(tmp_path, [one_arm(1, epochs=1)]).finished


def test_records_that_were_changed_by_hand_are_refused(one_arm: OneArm, tmp_path: Path, replayed: Replayed) -> None:
    spec = take(start([one_arm(1)], tmp_path))
    segment = next((tmp_path / "trials").iterdir())
    segment.write_text(segment.read_text().replace('"learning_rate": 0.001', '"learning_rate": 0.002'))
    with pytest.raises(StudyFailed, match=f"the record of trial {spec.trial_id} of arm WBC_100/off"):
        replayed(tmp_path, [one_arm(1)])


def test_only_an_end_that_is_missing_is_to_be_recorded(
    one_arm: OneArm, make_report: MakeReport, tmp_path: Path
) -> None:
    """One trial ended, one runs, one has reported nothing, and one reported its last epoch when the study was killed."""
    records = FullDisk(tmp_path)
    queue = TrialQueue([one_arm(4, epochs=2)], records, metric="val_accuracy")
    ended, runs, silent, killed = (take(queue).trial_id for _ in range(4))
    for epoch in (1, 2):
        queue.report(ended, make_report(epoch))
    for trial_id in (runs, killed):
        queue.report(trial_id, make_report(1))
    records.refused = "trials"
    with pytest.raises(OSError, match="No space"):
        queue.report(killed, make_report(2))
    plans = {"WBC_100/off": one_arm(4, epochs=2)}
    known = read_recorded_trials(plans, read(tmp_path, "trials"), read(tmp_path, "epochs"), "val_accuracy")
    assert {trial_id: each.unrecorded_end for trial_id, each in known.items()} == {
        ended: None,
        runs: None,
        silent: None,
        killed: TrialStatus.COMPLETED,
    }
    assert {trial_id: each.trial.status for trial_id, each in known.items()} == {
        ended: TrialStatus.COMPLETED,
        runs: TrialStatus.RUNNING,
        silent: TrialStatus.RUNNING,
        killed: TrialStatus.RUNNING,
    }
    assert [len(each.scores) for each in known.values()] == [2, 1, 0, 2]


def test_a_confirmation_of_an_earlier_winner_is_not_taken_in(
    one_arm: OneArm, tmp_path: Path, replayed: Replayed
) -> None:
    take(start([one_arm(1, phase="confirm", searcher=FixedSearcher([(1e-3, 1e-4)]))], tmp_path))
    same = replayed(tmp_path, [one_arm(1, phase="confirm", searcher=FixedSearcher([(1e-3, 1e-4)]))])
    assert same.progress()[0].running == 1
    other = replayed(tmp_path, [one_arm(1, phase="confirm", searcher=FixedSearcher([(2e-3, 1e-4)]))])
    assert other.progress()[0].running == 0


def test_rungs_hold_after_a_restart_what_they_held_before(
    one_arm: OneArm, make_report: MakeReport, tmp_path: Path, replayed: Replayed
) -> None:
    def plans() -> list[ArmPlan]:
        return [one_arm(3, rungs=Rungs(1, 3, 2))]

    queue = start(plans(), tmp_path)
    good, diverged = take(queue), take(queue)
    queue.report(good.trial_id, make_report(1, correct=15))
    # What diverged is no result: it must not lower the rung.
    queue.report(diverged.trial_id, make_report(1, correct=1, loss=float("nan")))
    queue = replayed(tmp_path, plans())
    assert queue.hand_out() == (good, 1)
    assert queue.report(take(queue).trial_id, make_report(1, correct=14)) == "stop"
