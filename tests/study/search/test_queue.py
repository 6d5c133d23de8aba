"""The book about all trials: exact budgets, arms that do not hear of each other, and restarts that change nothing."""

from __future__ import annotations

import hashlib
import json
import tempfile
from collections import Counter
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from analysis.records.schema import TABLES
from analysis.records.segments import read_segments
from study.config.search import SearchConfig
from study.design.arms import Arm
from study.design.points import Point
from study.design.trials import EpochReport, TrialPredictions, TrialSpec
from study.errors import StudyFailed
from study.search.optuna_mirror import JOURNAL, OptunaProjection, open_journal, search_space
from study.search.plans import ArmPlan
from study.search.queue import TrialQueue
from study.search.rungs import Rungs
from study.search.searchers import FixedSearcher, make_searcher
from study.storage.records import RecordWriter
from tests.study.optuna_views import records_of, shown_by

MakeReport = Callable[..., EpochReport]
OneArm = Callable[..., ArmPlan]
Replayed = Callable[..., TrialQueue]


def read(folder: Path, table: str) -> pd.DataFrame:
    return read_segments(folder / table, TABLES[table])


def start(plans: Sequence[ArmPlan], folder: Path, **options: Any) -> TrialQueue:
    return TrialQueue(plans, RecordWriter(folder), metric="val_accuracy", **options)


def take(queue: TrialQueue) -> TrialSpec:
    """The next trial, which must be a new one."""
    handed_out = queue.hand_out("tune")
    assert handed_out is not None and handed_out[1] == 0
    return handed_out[0]


class HearingSearcher:
    """Notes what it is told."""

    def __init__(self) -> None:
        self.heard: list[tuple[Any, ...]] = []

    def suggest(self, index: int) -> Point:
        return Point(1e-3, 1e-4 * (index + 1))

    def observe(self, index: int, epoch: int, score: float) -> None:
        self.heard.append(("observe", index, epoch, score))

    def end(self, index: int, status: str, score: float | None) -> None:
        self.heard.append(("end", index, status, score))

    def replay(self, index: int, point: Point, scores: dict[int, float], status: str) -> None:
        self.heard.append(("replay", index, scores, status))


class FullDisk(RecordWriter):
    """Refuses to write the named table."""

    refused = ""

    def append(self, table: str, rows: Sequence[dict[str, Any]]) -> None:
        if table == self.refused:
            raise OSError(28, "No space left on device")
        super().append(table, rows)


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


# What follows checks the same under any order of events, with kills at any write.

EPOCHS = 4
RETRIES = 1
ARMS = (
    (Arm(1.0, "off"), 30, 4),
    (Arm(1.0, "sum", ("prcc",)), 30, 3),
    (Arm(0.1, "off"), 10, 4),
)


ALSO = {"training.sampling": ["natural", "balanced"], "training.effective_beta": {"low": 0.1, "high": 0.9}}


def make_plans(mode: str) -> list[ArmPlan]:
    """Three arms with a searcher and rungs of their own; their points and rungs are those of a real study."""
    plans = []
    for arm, cost, budget in ARMS:
        search = SearchConfig.model_validate({"mode": mode, "trials_per_arm": budget, "tpe_startup": 2, "also": ALSO})
        points = make_searcher(search, 0, arm.name)
        plans.append(ArmPlan("search", arm, points, [0] * budget, EPOCHS, cost, Rungs(1, EPOCHS, 2)))
    return plans


def train(spec: TrialSpec, epoch: int, seconds: float = 1.0) -> EpochReport:
    """What a trial reports: any result, but always the same; now and then a loss that is not finite."""
    digest = hashlib.sha256(f"{spec.trial_id}/{epoch}".encode()).digest()
    correct = digest[0] % 21
    loss = float("nan") if digest[1] % 12 == 0 else digest[2] / 100
    return EpochReport(
        epoch, 3 * epoch, spec.learning_rate, loss, 0.5, loss, (correct, 20 - correct, 0, 0), 5, 6, seconds
    )


class Killed(Exception):
    """The process ends here."""


class MortalWriter(RecordWriter):
    """Writes so many segments more, then the process is killed before the next."""

    lives: int | None = None

    def append(self, table: str, rows: Sequence[dict[str, Any]]) -> None:
        if self.lives is not None:
            if self.lives == 0:
                raise Killed
            self.lives -= 1
        super().append(table, rows)


class QueueMachine(RuleBasedStateMachine):
    """Hands out, reports, fails and is killed in any order; an independent book says what must have happened."""

    def __init__(self) -> None:
        super().__init__()
        self._scratch = tempfile.TemporaryDirectory()
        self.folder = Path(self._scratch.name)
        self.specs: dict[str, TrialSpec] = {}
        self.epochs: dict[str, int] = {}
        self.failures: Counter[str] = Counter()
        """In a row, in this process."""
        self.running: list[str] = []
        self.interrupted: list[str] = []
        self.given_up: list[str] = []
        """Failed for good before anything was trained."""
        self.ended: set[str] = set()
        self.described: set[str] = set()
        """Trials of which a first report was recorded before its epoch: images and parameters."""
        self.handed_out = {arm.name: 0 for arm, _, _ in ARMS}
        self.events: dict[str, list[tuple[Any, ...]]] = {arm.name: [] for arm, _, _ in ARMS}

    @initialize(mode=st.sampled_from(["tpe", "random", "qmc"]))
    def begin(self, mode: str) -> None:
        self.mode = mode
        self.rebuild()

    def rebuild(self) -> None:
        """A new process: nothing is known but the records."""
        self.writer = MortalWriter(self.folder)
        self.projection = OptunaProjection(
            "journal",
            self.folder,
            study="pilot",
            owner="this run",
            space=search_space(SearchConfig.model_validate({"also": ALSO})),
            metric="val_accuracy",
            warn=pytest.fail,
        )
        arms = [arm.name for arm, _, _ in ARMS]
        self.projection.rebuild(arms, read(self.folder, "trials"), read(self.folder, "epochs"))
        self.queue = TrialQueue(
            make_plans(self.mode), self.writer, metric="val_accuracy", max_failures=RETRIES, mirror=self.projection
        )
        self.failures.clear()
        self.queue.replay(read(self.folder, "trials"), read(self.folder, "epochs"))
        order = list(self.specs)
        self.interrupted = sorted([*self.interrupted, *self.running, *self.given_up], key=order.index)
        self.running, self.given_up = [], []

    def failing(self) -> set[str]:
        """Arms with a trial that was given up."""
        return {self.specs[trial_id].arm.name for trial_id in self.given_up}

    def waiting(self) -> list[tuple[bool, int, int, str]]:
        """(failing, -cost, handed out, arm) of the arms with trials left."""
        return [
            (arm.name in self.failing(), -cost, self.handed_out[arm.name], arm.name)
            for arm, cost, budget in ARMS
            if self.handed_out[arm.name] < budget
        ]

    def segments(self) -> set[str]:
        return {path.as_posix() for path in self.folder.rglob("*-*")}

    def note(self, trial_id: str, event: str, *more: Any) -> None:
        self.events[self.specs[trial_id].arm.name].append((event, trial_id, *more))

    @rule()
    def hand_out(self) -> None:
        waiting = self.waiting()
        handed_out = self.queue.hand_out("tune")
        if self.interrupted:
            trial_id = self.interrupted.pop(0)
            assert handed_out == (self.specs[trial_id], self.epochs[trial_id])
            self.running.append(trial_id)
        elif not waiting:
            assert handed_out is None and self.queue.exhausted
        else:
            assert handed_out is not None
            spec, recorded = handed_out
            failing, cost, count, _ = min(waiting)
            assert (failing, cost, count, spec.arm.name) in waiting
            assert (spec.index, recorded, spec.seed) == (count, 0, 0)
            assert spec.trial_id not in self.specs
            self.specs[spec.trial_id] = spec
            self.epochs[spec.trial_id] = 0
            self.running.append(spec.trial_id)
            self.handed_out[spec.arm.name] += 1
            self.note(spec.trial_id, "hand_out")

    def took(self, trial_id: str, decision: str | None) -> None:
        self.described.add(trial_id)
        self.epochs[trial_id] += 1
        self.failures[trial_id] = 0
        self.note(trial_id, "report", self.epochs[trial_id], decision)
        if decision != "continue":
            self.running.remove(trial_id)
            self.ended.add(trial_id)
        if decision is None:
            return  # killed before it could be told that others have failed
        for failed in self.given_up:
            self.ended.add(failed)
            self.note(failed, "fail")
        self.given_up = []

    @precondition(lambda self: self.running)
    @rule(data=st.data())
    def report(self, data: st.DataObject) -> None:
        trial_id = data.draw(st.sampled_from(self.running))
        report = train(self.specs[trial_id], self.epochs[trial_id] + 1)
        decision = self.queue.report(trial_id, report)
        assert (decision == "diverged") == report.diverged
        if not report.diverged:
            assert (decision == "complete") == (report.epoch == EPOCHS)
        self.took(trial_id, decision)

    @precondition(lambda self: self.running)
    @rule(data=st.data())
    def report_again(self, data: st.DataObject) -> None:
        trial_id = data.draw(st.sampled_from(self.running))
        before = self.segments()
        for epoch in range(1, self.epochs[trial_id] + 1):
            assert self.queue.report(trial_id, train(self.specs[trial_id], epoch, seconds=9.0)) == "continue"
        assert self.segments() == before

    @precondition(lambda self: self.running)
    @rule(data=st.data())
    def report_nonsense(self, data: st.DataObject) -> None:
        trial_id = data.draw(st.sampled_from(self.running))
        before = self.segments()
        nonsense = [train(self.specs[trial_id], self.epochs[trial_id] + 2)]
        if self.epochs[trial_id]:
            nonsense.append(replace(train(self.specs[trial_id], self.epochs[trial_id]), train_accuracy=0.25))
        for report in nonsense:
            with pytest.raises(StudyFailed):
                self.queue.report(trial_id, report)
        assert self.segments() == before

    @precondition(lambda self: self.ended)
    @rule(data=st.data(), epoch=st.integers(1, EPOCHS))
    def report_late(self, data: st.DataObject, epoch: int) -> None:
        trial_id = data.draw(st.sampled_from(sorted(self.ended)))
        before = self.segments()
        assert self.queue.report(trial_id, train(self.specs[trial_id], epoch)) == "stop"
        self.queue.fail(trial_id, "late")
        assert self.segments() == before

    @precondition(lambda self: self.running)
    @rule(data=st.data())
    def fail(self, data: st.DataObject) -> None:
        trial_id = data.draw(st.sampled_from(self.running))
        before = self.segments()
        if self.failures[trial_id] < RETRIES:
            self.failures[trial_id] += 1
            self.queue.fail(trial_id, "broken")
            self.running.remove(trial_id)
            self.interrupted.append(trial_id)
            assert self.segments() == before
            return
        if not any(self.epochs.values()):
            if len(self.failing() | {self.specs[trial_id].arm.name}) == len(ARMS):
                with pytest.raises(StudyFailed, match="the first trials cannot be trained"):
                    self.queue.fail(trial_id, "broken")
            else:
                self.queue.fail(trial_id, "broken")
                self.running.remove(trial_id)
                self.given_up.append(trial_id)
            assert self.segments() == before
            return
        self.queue.fail(trial_id, "broken")
        self.running.remove(trial_id)
        self.ended.add(trial_id)
        self.note(trial_id, "fail")

    @rule()
    def kill(self) -> None:
        self.rebuild()

    @precondition(lambda self: not self.interrupted and self.waiting())
    @rule()
    def kill_while_handing_out(self) -> None:
        self.writer.lives = 0
        with pytest.raises(Killed):
            self.queue.hand_out()
        self.rebuild()

    @precondition(lambda self: self.running)
    @rule(data=st.data(), lives=st.integers(0, 2))
    def kill_while_recording_an_epoch(self, data: st.DataObject, lives: int) -> None:
        trial_id = data.draw(st.sampled_from(self.running))
        before_the_epoch = int(trial_id not in self.described)
        self.writer.lives = lives
        decision = None
        with suppress(Killed):
            decision = self.queue.report(trial_id, train(self.specs[trial_id], self.epochs[trial_id] + 1))
        if lives > before_the_epoch:
            # Killed after the epoch's row means that the trial's own row was to follow.
            self.took(trial_id, decision)
        else:
            assert decision is None
            if lives:
                self.described.add(trial_id)
        self.rebuild()

    def at_the_last_attempt(self) -> list[str]:
        return [trial_id for trial_id in self.running if self.failures[trial_id] == RETRIES]

    @precondition(lambda self: self.at_the_last_attempt() and any(self.epochs.values()))
    @rule(data=st.data())
    def kill_while_failing(self, data: st.DataObject) -> None:
        self.writer.lives = 0
        with pytest.raises(Killed):
            self.queue.fail(data.draw(st.sampled_from(self.at_the_last_attempt())), "broken")
        self.rebuild()

    @rule()
    def compact(self) -> None:
        self.writer.compact()

    @invariant()
    def budgets_hold(self) -> None:
        if not hasattr(self, "queue"):
            return
        for (arm, _, budget), progress in zip(ARMS, self.queue.progress(), strict=True):
            mine = [trial_id for trial_id, spec in self.specs.items() if spec.arm == arm]
            assert progress.arm == arm.name and progress.planned == budget
            assert progress.ended + progress.running == len(mine) <= budget
            assert progress.ended == sum(trial_id in self.ended for trial_id in mine)
        unfinished = bool(self.running or self.interrupted or self.given_up or self.waiting())
        assert self.queue.finished != unfinished

    def teardown(self) -> None:
        if hasattr(self, "queue"):
            self.finish()
            self.check_records()
            self.optuna_shows_the_records()
            for plan in make_plans(self.mode):
                self.check_arm_alone(plan)
        self._scratch.cleanup()

    def finish(self) -> None:
        """What is left runs to its end after one more restart."""
        self.rebuild()
        while not self.queue.finished:
            if not self.queue.exhausted:
                self.hand_out()
            for trial_id in list(self.running):
                epoch = self.epochs[trial_id] + 1
                self.took(trial_id, self.queue.report(trial_id, train(self.specs[trial_id], epoch)))
        assert self.handed_out == {arm.name: budget for arm, _, budget in ARMS}

    def check_records(self) -> None:
        trials, epochs = read(self.folder, "trials"), read(self.folder, "epochs")
        assert set(trials["trial_id"]) == set(self.specs) == self.ended
        for trial_id, rows in trials.groupby("trial_id"):
            *begun, ended = rows["status"]
            described = trial_id in self.described
            assert begun == ["running"] * (1 + described) and ended != "running"
            assert list(rows["epochs"]) == [0] * len(begun) + [self.epochs[trial_id]]
            assert list(rows["train_images"]) == ([0, 5, 5] if described else [0, 0])
        assert set(epochs["trial_id"]) <= set(self.specs)
        for trial_id, rows in epochs.groupby("trial_id"):
            assert list(rows["epoch"]) == list(range(1, self.epochs[trial_id] + 1))

    @invariant()
    def optuna_shows_the_records(self) -> None:
        if hasattr(self, "queue"):
            shown = shown_by(open_journal(self.folder / JOURNAL))
            assert shown == records_of(self.folder, [arm for arm, _, _ in ARMS])

    def check_arm_alone(self, plan: ArmPlan) -> None:
        """The arm's own events, given to a queue of this arm that is never killed, lead to the same trials and decisions."""
        recorded = {
            (row["trial_id"], row["epoch"]): row["decision"] for row in read(self.folder, "epochs").to_dict("records")
        }
        with tempfile.TemporaryDirectory() as scratch:
            # A trial of another arm that has come through: without any, a failure ends the study.
            other = ArmPlan("search", Arm(0.5, "off"), FixedSearcher([(1e-3, 1e-3)]), [0], 1, 1000)
            alone = start([other, plan], Path(scratch))
            healthy = take(alone)
            alone.report(healthy.trial_id, train(healthy, 1))
            for event, trial_id, *more in self.events[plan.arm.name]:
                if event == "hand_out":
                    assert take(alone) == self.specs[trial_id]
                elif event == "fail":
                    alone.fail(trial_id, "broken")
                else:
                    epoch, told = more
                    decision = alone.report(trial_id, train(self.specs[trial_id], epoch))
                    assert decision == recorded[trial_id, epoch]
                    assert told in (None, decision)
            assert alone.finished


@pytest.mark.slow
def test_no_order_of_events_and_kills_changes_budgets_arms_or_decisions(monkeypatch: pytest.MonkeyPatch) -> None:
    # Durability has tests of its own; here it would only cost time.
    monkeypatch.setattr("os.fsync", lambda descriptor: None)
    run_state_machine_as_test(QueueMachine, settings=settings(max_examples=20, stateful_step_count=30))
