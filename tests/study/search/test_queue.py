"""The queue of all trials: exact budgets, arms that do not hear of each other, and restarts that change nothing."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from socket import gethostname
from typing import Any

import numpy as np
import pytest
from hypothesis import settings
from hypothesis.stateful import (
    run_state_machine_as_test,
)

from study.design.trials import TrialPredictions
from study.errors import StudyFailed
from study.search.plans import ArmPlan
from study.search.queue import HOPELESS_ARMS, TrialQueue
from study.search.rungs import Rungs
from study.storage.records import RecordWriter
from tests.study.search.queue_machine import QueueMachine
from tests.study.search.queues import FullDisk, HearingSearcher, MakeReport, OneArm, Replayed, read, start, take


def test_the_costliest_arms_go_first_and_equal_ones_take_turns(one_arm: OneArm, tmp_path: Path) -> None:
    queue = start(
        [
            one_arm(2, cost=10, fraction=0.1),
            one_arm(2, cost=90, fraction=1.0),
            one_arm(1, cost=10, fraction=0.1, fusion="sum"),
            one_arm(3, cost=90, fraction=1.0, fusion="sum"),
        ],
        tmp_path,
    )
    order = [take(queue) for _ in range(8)]
    assert [(spec.arm.name, spec.index) for spec in order] == [
        ("WBC_100/off", 0),
        ("WBC_100/sum", 0),
        ("WBC_100/off", 1),
        ("WBC_100/sum", 1),
        ("WBC_100/sum", 2),
        ("WBC_10/off", 0),
        ("WBC_10/sum", 0),
        ("WBC_10/off", 1),
    ]
    assert queue.hand_out() is None
    assert queue.exhausted and not queue.finished


def test_a_trial_is_recorded_when_it_is_handed_out_and_when_it_ends(
    one_arm: OneArm, make_report: MakeReport, tmp_path: Path
) -> None:
    ended: list[tuple[str, str]] = []
    queue = start([one_arm(1, epochs=2)], tmp_path, ended=lambda *told: ended.append(told))
    spec = take(queue)
    begun = read(tmp_path, "trials")
    assert (begun["trial_id"][0], begun["status"][0], begun["epochs"][0]) == (spec.trial_id, "running", 0)
    assert queue.report(spec.trial_id, make_report(1)) == "continue"
    assert ended == []
    assert queue.report(spec.trial_id, make_report(2)) == "complete"
    assert ended == [(spec.trial_id, "search")]
    trials = read(tmp_path, "trials")
    assert list(trials["status"]) == ["running", "running", "completed"]
    # What the first report says of the trial is recorded before its epoch.
    assert list(trials["train_images"]) == [0, 12, 12]
    assert trials["sequence"][1] < read(tmp_path, "epochs")["sequence"][0]
    last = trials.iloc[2]
    assert (last["epochs"], last["train_images"], last["parameters"], last["tune_id"]) == (2, 12, 345, "tune")
    assert list(read(tmp_path, "epochs")["decision"]) == ["continue", "complete"]
    assert queue.finished


def test_rungs_stop_what_is_below_the_median_of_its_own_arm(
    one_arm: OneArm, make_report: MakeReport, tmp_path: Path
) -> None:
    queue = start(
        [one_arm(3, rungs=Rungs(1, 3, 2)), one_arm(1, fusion="sum", rungs=Rungs(1, 3, 2))],
        tmp_path,
    )
    specs = [take(queue) for _ in range(4)]
    off = [spec for spec in specs if spec.arm.fusion == "off"]
    other = next(spec for spec in specs if spec.arm.fusion == "sum")
    assert queue.report(off[0].trial_id, make_report(1, correct=10)) == "continue"
    assert queue.report(off[1].trial_id, make_report(1, correct=9)) == "stop"
    # Worse than all of the other arm, but the first of its own.
    assert queue.report(other.trial_id, make_report(1, correct=1)) == "continue"
    # The median of 10 and 9.
    assert queue.report(off[2].trial_id, make_report(1, correct=10)) == "continue"
    epochs = read(tmp_path, "epochs")
    assert list(epochs["rung"]) == [1, 1, 1, 1]
    assert list(epochs["decision"]) == ["continue", "stop", "continue", "continue"]
    # The last epoch is no rung: the bad one completes.
    assert queue.report(other.trial_id, make_report(2, correct=1)) == "continue"
    assert queue.report(other.trial_id, make_report(3, correct=0)) == "complete"
    assert read(tmp_path, "epochs")["rung"].isna().tolist() == [False] * 5 + [True]


def test_a_stopped_trial_stays_stopped(one_arm: OneArm, make_report: MakeReport, tmp_path: Path) -> None:
    # Ray tells a stopped trial that reports its rung again to continue (ray#30838).
    queue = start([one_arm(2, rungs=Rungs(1, 3, 2))], tmp_path)
    good, bad = take(queue), take(queue)
    queue.report(good.trial_id, make_report(1, correct=15))
    assert queue.report(bad.trial_id, make_report(1, correct=1)) == "stop"
    count = len(read(tmp_path, "epochs"))
    for report in (make_report(1, correct=1), make_report(2, correct=20), make_report(1, correct=7)):
        assert queue.report(bad.trial_id, report) == "stop"
    queue.fail(bad.trial_id, "too late")
    assert len(read(tmp_path, "epochs")) == count
    assert read(tmp_path, "trials")["status"].iloc[-1] == "stopped"


def test_rungs_and_winners_judge_the_best_epoch_so_far(
    one_arm: OneArm, make_report: MakeReport, tmp_path: Path
) -> None:
    # The epoch is chosen on validation, so a dip after a good epoch does not stop a trial.
    searcher = HearingSearcher()
    queue = start([one_arm(2, rungs=Rungs(2, 4, 2), searcher=searcher, epochs=4)], tmp_path)
    first, second = take(queue), take(queue)
    for epoch, correct in ((1, 12), (2, 10)):
        queue.report(first.trial_id, make_report(epoch, correct=correct))
    queue.report(second.trial_id, make_report(1, correct=12))
    assert queue.report(second.trial_id, make_report(2, correct=2)) == "continue"
    assert searcher.heard[-1] == ("observe", 1, 2, 0.6)
    assert queue.progress()[0].best == 0.6


def test_the_configured_metric_is_what_counts(one_arm: OneArm, make_report: MakeReport, tmp_path: Path) -> None:
    # Always answering one of two present classes: accuracy 0.9, F1 of the classes 18/19, 0 and three times 0.
    report = replace(make_report(1), confusion=(18, 0, 0, 0, 0, 2, *[0] * 19))
    bests = {}
    for metric in ("val_accuracy", "val_macro_f1"):
        queue = TrialQueue([one_arm(1)], RecordWriter(tmp_path / metric), metric=metric)
        queue.report(take(queue).trial_id, report)
        bests[metric] = queue.progress()[0].best
    assert bests == {"val_accuracy": pytest.approx(0.9), "val_macro_f1": pytest.approx(36 / 38 / 5)}


def test_a_loss_that_is_not_finite_ends_the_trial_with_a_finite_record(
    one_arm: OneArm, make_report: MakeReport, tmp_path: Path, replayed: Replayed
) -> None:
    searcher = HearingSearcher()
    queue = start([one_arm(1, searcher=searcher, rungs=Rungs(1, 3, 2))], tmp_path)
    spec = take(queue)
    queue.report(spec.trial_id, make_report(1))
    assert queue.report(spec.trial_id, make_report(2, correct=20, loss=float("nan"))) == "diverged"
    line = json.loads(sorted((tmp_path / "epochs").iterdir())[-1].read_text(), parse_constant=pytest.fail)
    assert line["train_loss"] is None and line["val_loss"] is None and line["decision"] == "diverged"
    assert read(tmp_path, "trials")["status"].iloc[-1] == "diverged"
    # Optuna must not take its score for a result.
    assert [heard[:2] for heard in searcher.heard] == [("observe", 0), ("end", 0)]
    assert searcher.heard[-1][2] == "diverged"
    progress = queue.progress()[0]
    assert (progress.failed, progress.completed, queue.failures) == (1, 0, 0)
    assert progress.best == 0.5
    assert queue.finished
    # The next process tells the searcher the same.
    again = HearingSearcher()
    replayed(tmp_path, [one_arm(1, searcher=again, rungs=Rungs(1, 3, 2))])
    assert again.heard == [("replay", 0, {1: 0.5}, "diverged")]


def test_a_trial_that_diverges_at_once_has_no_score(
    one_arm: OneArm, make_report: MakeReport, tmp_path: Path, replayed: Replayed
) -> None:
    searcher = HearingSearcher()
    queue = start([one_arm(1, searcher=searcher)], tmp_path)
    assert queue.report(take(queue).trial_id, make_report(1, loss=float("inf"))) == "diverged"
    assert searcher.heard == [("end", 0, "diverged", None)]
    assert queue.progress()[0].best is None
    assert replayed(tmp_path, [one_arm(1)]).progress() == queue.progress()


def test_an_epoch_reported_twice_counts_once(
    one_arm: OneArm, make_report: MakeReport, tmp_path: Path, replayed: Replayed
) -> None:
    queue = start([one_arm(1, rungs=Rungs(1, 3, 2))], tmp_path)
    spec = take(queue)
    assert queue.report(spec.trial_id, make_report(1, seconds=1)) == "continue"
    assert queue.report(spec.trial_id, make_report(1, seconds=2)) == "continue"
    assert len(read(tmp_path, "epochs")) == 1
    # The same after a restart, when what was reported first is known from the records only.
    queue = replayed(tmp_path, [one_arm(1, rungs=Rungs(1, 3, 2))])
    assert queue.hand_out() == (spec, 1)
    assert queue.report(spec.trial_id, make_report(1, seconds=3)) == "continue"
    assert len(read(tmp_path, "epochs")) == 1
    assert queue.report(spec.trial_id, make_report(2)) == "continue"


@pytest.mark.parametrize("restarted", [False, True])
@pytest.mark.parametrize(
    "other",
    [{"train_loss": 0.5000000001}, {"confusion": (1, 2, 3, *[0] * 22)}, {"learning_rate": 5e-4}, {"steps": 7}],
    ids=lambda other: next(iter(other)),
)
def test_an_epoch_reported_twice_with_other_results_ends_the_study(
    one_arm: OneArm,
    make_report: MakeReport,
    tmp_path: Path,
    replayed: Replayed,
    other: dict[str, Any],
    restarted: bool,
) -> None:
    queue = start([one_arm(1)], tmp_path)
    spec = take(queue)
    queue.report(spec.trial_id, make_report(1))
    if restarted:
        queue = replayed(tmp_path, [one_arm(1)])
        queue.hand_out()
    with pytest.raises(StudyFailed, match=f"{spec.trial_id} .WBC_100/off. reported epoch 1 twice"):
        queue.report(spec.trial_id, replace(make_report(1), **other))
    assert len(read(tmp_path, "epochs")) == 1


def test_a_missing_epoch_ends_the_study(one_arm: OneArm, make_report: MakeReport, tmp_path: Path) -> None:
    queue = start([one_arm(1)], tmp_path)
    spec = take(queue)
    with pytest.raises(StudyFailed, match="reported epoch 2 after epoch 0"):
        queue.report(spec.trial_id, make_report(2))
    assert read(tmp_path, "epochs").empty


def test_a_failed_trial_uses_up_its_place(one_arm: OneArm, make_report: MakeReport, tmp_path: Path) -> None:
    searcher = HearingSearcher()
    queue = start([one_arm(2, searcher=searcher)], tmp_path)
    first, second = take(queue), take(queue)
    queue.report(first.trial_id, make_report(1, correct=4))
    queue.fail(first.trial_id, "Traceback: out of memory")
    queue.fail(second.trial_id, "lost")
    assert queue.hand_out() is None and queue.finished
    assert queue.failures == 2
    assert searcher.heard[1:] == [("end", 0, "failed", 0.2), ("end", 1, "failed", None)]
    trials = read(tmp_path, "trials")
    ends = trials[trials["status"] == "failed"]
    assert list(ends["error"]) == ["Traceback: out of memory", "lost"]
    assert list(ends["epochs"]) == [1, 0]


def test_a_trial_that_fails_is_handed_out_again_so_often_in_a_row(
    one_arm: OneArm, make_report: MakeReport, tmp_path: Path
) -> None:
    # A trial that outlives many lost machines, an epoch further each time, is not a broken one.
    queue = TrialQueue([one_arm(2)], RecordWriter(tmp_path), metric="val_accuracy", max_failures=2)
    first, second = take(queue), take(queue)
    for epoch in (1, 2):
        for _ in range(2):
            queue.fail(first.trial_id, "lost")
            assert not queue.exhausted
            assert queue.hand_out() == (first, epoch - 1)
        queue.report(first.trial_id, make_report(epoch))
    assert queue.failures == 0 and list(read(tmp_path, "trials")["status"]) == ["running"] * 3
    for _ in range(2):
        queue.fail(first.trial_id, "lost")
        queue.hand_out()
    queue.fail(first.trial_id, "lost for good")
    assert queue.hand_out() is None and not queue.finished
    last = read(tmp_path, "trials").iloc[-1]
    assert (last["trial_id"], last["status"], last["error"]) == (first.trial_id, "failed", "lost for good")
    for epoch in (1, 2, 3):
        queue.report(second.trial_id, make_report(epoch))
    assert queue.finished


def test_a_failure_before_any_epoch_ends_the_study_and_is_not_recorded(
    one_arm: OneArm, make_report: MakeReport, tmp_path: Path, replayed: Replayed
) -> None:
    # All trials would fail likewise: the same command must be able to try them again.
    queue = start([one_arm(2)], tmp_path)
    spec = take(queue)
    with pytest.raises(StudyFailed, match="no CUDA device"):
        queue.fail(spec.trial_id, "RuntimeError: no CUDA device\n")
    queue = replayed(tmp_path, [one_arm(2)])
    assert queue.hand_out() == (spec, 0)
    assert queue.failures == 0


def test_an_arm_that_cannot_be_trained_does_not_keep_the_others_from_trying(
    one_arm: OneArm, make_report: MakeReport, tmp_path: Path, replayed: Replayed
) -> None:
    # One worker, and the costliest arm runs out of memory at once.
    plans = [one_arm(2, cost=30), one_arm(2, cost=10, fraction=0.1), one_arm(2, cost=5, fraction=0.01)]
    queue = start(plans, tmp_path)
    large = take(queue)
    queue.fail(large.trial_id, "out of memory")
    assert read(tmp_path, "trials")["status"].tolist() == ["running"]
    other = take(queue)
    assert other.arm.fraction == 0.1
    queue.report(other.trial_id, make_report(1))
    trials = read(tmp_path, "trials")
    assert trials[trials["trial_id"] == large.trial_id]["status"].tolist() == ["running", "failed"]
    assert trials["error"].iloc[-1] == "out of memory"
    # Now that something was trained, the costliest come first again.
    assert take(queue).arm.fraction == 1.0


def test_a_study_of_many_arms_ends_with_the_fourth_that_cannot_be_trained(one_arm: OneArm, tmp_path: Path) -> None:
    queue = start([one_arm(2, cost=cost, fraction=cost / 10) for cost in range(1, 7)], tmp_path)
    for arms in range(1, 5):
        trial_id = take(queue).trial_id
        if arms < HOPELESS_ARMS:
            queue.fail(trial_id, "no CUDA device")
    assert HOPELESS_ARMS == 4
    with pytest.raises(StudyFailed, match="no CUDA device"):
        queue.fail(trial_id, "no CUDA device")


def test_a_row_names_the_node_that_reported_last_and_this_one_before_any_has(
    one_arm: OneArm, make_report: MakeReport, tmp_path: Path
) -> None:
    queue = start([one_arm(1, epochs=2)], tmp_path)
    spec = take(queue)
    queue.report(spec.trial_id, make_report(1), "one")
    queue.report(spec.trial_id, make_report(2), "another")
    assert list(read(tmp_path, "trials")["host"]) == [gethostname(), "one", "another"]


def test_trials_that_will_not_go_on_are_listed(one_arm: OneArm, make_report: MakeReport, tmp_path: Path) -> None:
    queue = start([one_arm(3, epochs=1)], tmp_path)
    completed, failed, _ = (take(queue) for _ in range(3))
    queue.report(completed.trial_id, make_report(1))
    assert queue.ended() == [completed]
    queue.fail(failed.trial_id, "broken")
    assert queue.ended() == [completed, failed]


def test_what_cannot_be_recorded_is_told_to_nobody(one_arm: OneArm, make_report: MakeReport, tmp_path: Path) -> None:
    searcher, rungs, records, ended = HearingSearcher(), Rungs(1, 3, 2), FullDisk(tmp_path), []
    queue = TrialQueue(
        [one_arm(3, searcher=searcher, rungs=rungs)],
        records,
        metric="val_accuracy",
        ended=lambda *told: ended.append(told),
    )
    records.refused = "trials"
    with pytest.raises(OSError, match="No space"):
        queue.hand_out()
    assert queue.progress()[0].running == 0
    records.refused = ""
    first, second = take(queue), take(queue)
    assert (first.index, second.index) == (0, 1)
    records.refused = "epochs"
    with pytest.raises(OSError, match="No space"):
        queue.report(first.trial_id, make_report(1, correct=20))
    assert searcher.heard == []
    records.refused = ""
    # Had the rung heard of the first, this one would be stopped.
    assert queue.report(second.trial_id, make_report(1, correct=1)) == "continue"
    assert queue.report(first.trial_id, make_report(1, correct=20)) == "continue"
    assert list(read(tmp_path, "epochs")["trial_id"]) == [second.trial_id, first.trial_id]
    records.refused = "trials"
    with pytest.raises(OSError, match="No space"):
        queue.fail(first.trial_id, "broken")
    assert [heard[0] for heard in searcher.heard] == ["observe", "observe"]
    assert ended == [] and queue.progress()[0].running == 2


def test_predictions_are_recorded_once_and_before_the_epoch(
    one_arm: OneArm, make_report: MakeReport, tmp_path: Path, replayed: Replayed
) -> None:
    def rows(trial_id: str, predictions: TrialPredictions) -> list[dict[str, Any]]:
        return [
            {
                "trial_id": trial_id,
                "epoch": predictions.epoch,
                "split": "val",
                "image": "abc",
                "label": 0,
                "probabilities": [float(p) for p in row],
            }
            for row in predictions.probabilities
        ]

    def plans() -> list[ArmPlan]:
        return [one_arm(1, epochs=1, phase="confirm")]

    predictions = TrialPredictions(1, np.array([3, 4]), np.array([[0.25, 0.75], [1.0, 0.0]], dtype=np.float32))
    last = replace(make_report(1), predictions=predictions)
    records = FullDisk(tmp_path)
    queue = TrialQueue(plans(), records, metric="val_accuracy", predictions_to_rows=rows)
    spec = take(queue)
    # The study dies between the predictions and the epoch.
    records.refused = "epochs"
    with pytest.raises(OSError, match="No space"):
        queue.report(spec.trial_id, last)
    assert len(read(tmp_path, "predictions")) == 2
    queue = replayed(tmp_path, plans(), predictions_to_rows=rows)
    assert queue.hand_out() == (spec, 0)
    assert queue.report(spec.trial_id, last) == "complete"
    found = read(tmp_path, "predictions")
    assert [list(p) for p in found["probabilities"]] == [[0.25, 0.75], [1.0, 0.0]]
    assert found["sequence"].max() < read(tmp_path, "epochs")["sequence"].min()


def test_after_a_restart_unfinished_trials_come_first_with_their_recorded_epochs(
    one_arm: OneArm, make_report: MakeReport, tmp_path: Path, replayed: Replayed
) -> None:
    def plans() -> list[ArmPlan]:
        return [one_arm(2, cost=10, fraction=0.1), one_arm(2, cost=90)]

    queue = start(plans(), tmp_path)
    first, second, third = (take(queue) for _ in range(3))
    queue.report(first.trial_id, make_report(1))
    queue.report(first.trial_id, make_report(2))
    queue.fail(second.trial_id, "")
    queue = replayed(tmp_path, plans())
    assert not queue.exhausted
    assert queue.hand_out() == (first, 2)
    assert queue.hand_out() == (third, 0)
    assert take(queue).index == 1
    assert queue.hand_out() is None
    assert queue.progress()[1].failed == 1


def test_a_kill_between_an_epoch_and_the_end_of_its_trial_is_mended(
    one_arm: OneArm, make_report: MakeReport, tmp_path: Path, replayed: Replayed
) -> None:
    def plans() -> list[ArmPlan]:
        return [one_arm(2, rungs=Rungs(1, 3, 2), searcher=HearingSearcher())]

    records = FullDisk(tmp_path)
    queue = TrialQueue(plans(), records, metric="val_accuracy")
    good, bad = take(queue), take(queue)
    queue.report(good.trial_id, make_report(1, correct=10))
    queue.report(bad.trial_id, make_report(1, correct=12))
    queue.report(good.trial_id, make_report(2, correct=20))
    records.refused = "trials"
    with pytest.raises(OSError, match="No space"):
        queue.report(bad.trial_id, make_report(2, correct=1))
    assert list(read(tmp_path, "trials")["status"]) == ["running"] * 4

    mended = plans()
    queue = replayed(tmp_path, mended)
    last = read(tmp_path, "trials").iloc[-1]
    assert (last["trial_id"], last["status"], last["epochs"]) == (bad.trial_id, "stopped", 2)
    # As if nothing had happened, also what only the trial's process knew.
    assert (last["train_images"], last["parameters"]) == (12, 345)
    heard = mended[0].searcher.heard  # type: ignore[attr-defined]  # HearingSearcher
    assert heard == [("replay", 0, {1: 0.5, 2: 1.0}, "running"), ("replay", 1, {1: 0.6, 2: 0.6}, "stopped")]
    assert queue.hand_out() == (good, 2)
    assert queue.hand_out() is None
    # Once is enough.
    count = len(read(tmp_path, "trials"))
    replayed(tmp_path, plans())
    assert len(read(tmp_path, "trials")) == count


@pytest.mark.slow
def test_no_order_of_events_and_kills_changes_budgets_arms_or_decisions(monkeypatch: pytest.MonkeyPatch) -> None:
    # Durability has tests of its own; here it would only cost time.
    monkeypatch.setattr("os.fsync", lambda descriptor: None)
    run_state_machine_as_test(QueueMachine, settings=settings(max_examples=20, stateful_step_count=30))
