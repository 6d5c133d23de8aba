"""How far a study is, from its files alone."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from analysis import load_study
from study.config.study import StudyConfig
from study.design.arms import list_arms
from study.design.trials import EpochReport, TrialSpec
from study.search.plans import ArmPlan
from study.search.queue import TrialQueue
from study.search.queued_trials import ArmProgress
from study.search.rungs import Rungs
from study.search.searchers import FixedSearcher
from study.storage.records import RecordWriter
from study.storage.run_directory import RunDirectory
from study.terminal.status import arm_progress, describe_phases

CONFIG = StudyConfig.model_validate(
    {
        "name": "pilot",
        "arms": {"fractions": [0.1, 1.0]},
        "training": {"epochs": 3},
        "search": {"mode": "qmc", "trials_per_arm": 3},
        "confirm": {"seeds": 2},
    }
)


@pytest.fixture
def directory(tmp_path: Path) -> RunDirectory:
    directory = RunDirectory(tmp_path / "pilot")
    directory.write_config(CONFIG)
    return directory


def test_a_study_is_finished_with_its_report(directory: RunDirectory) -> None:
    assert describe_phases(directory) == "interrupted before its first phase"
    with directory.phase("audit"):
        pass
    assert describe_phases(directory) == "interrupted after audit"
    with pytest.raises(KeyboardInterrupt), directory.phase("search"):
        raise KeyboardInterrupt
    assert describe_phases(directory) == "interrupted in search"
    with directory.lock():
        assert describe_phases(directory) == "running in search"
    for phase in ("search", "confirm", "report"):
        with directory.phase(phase):
            pass
    assert describe_phases(directory) == "finished"


def queue_of(directory: RunDirectory, phase: str, budget: int) -> TrialQueue:
    plans = [
        ArmPlan(
            phase,
            arm,
            FixedSearcher([(1e-3 * (i + 1), 1e-4) for i in range(budget)]),
            list(range(budget)),
            CONFIG.training.epochs,
            1,
            Rungs(1, 3, 2) if phase == "search" else None,
        )
        for arm in list_arms(CONFIG)
    ]
    return TrialQueue(plans, RecordWriter(directory.records), metric="val_accuracy")


def rounded(arms: list[ArmProgress]) -> list[tuple[object, ...]]:
    return [
        (
            *(arm.arm, arm.planned, arm.running, arm.completed, arm.stopped, arm.failed, arm.ended, arm.epochs_left),
            arm.best and round(arm.best, 9),
            arm.seconds_per_epoch and round(arm.seconds_per_epoch, 9),
        )
        for arm in arms
    ]


def test_the_records_tell_another_process_what_the_queue_knows(
    directory: RunDirectory,
    make_report: Callable[..., EpochReport],
    draw_correct: Callable[[TrialSpec, int], int],
) -> None:
    queue = queue_of(directory, "search", 3)
    assert arm_progress(load_study(directory.folder), "search") == []
    running: list[tuple[TrialSpec, int]] = []
    for _ in range(30):
        handed_out = queue.hand_out()
        if handed_out is not None:
            running.append(handed_out)
        if not running:
            break
        spec, epochs = running.pop(0)
        epoch = epochs + 1
        report = make_report(epoch, correct=draw_correct(spec, epoch), seconds=0.5 + epoch)
        if spec.index == 2 and spec.arm.fusion == "sum" and epoch == 2:
            # Its score is the highest of all, and counts for nothing.
            report = make_report(epoch, correct=20, loss=float("nan"))
        if spec.index == 1 and epoch == 2:
            queue.fail(spec.trial_id, "broken")
        elif queue.report(spec.trial_id, report) == "continue":
            running.append((spec, epoch))
        assert rounded(arm_progress(load_study(directory.folder), "search")) == rounded(queue.progress())
    assert queue.finished
    left = arm_progress(load_study(directory.folder), "search")
    assert sum(arm.ended for arm in left) == 12 and sum(arm.epochs_left for arm in left) == 0


def test_phases_are_counted_apart(directory: RunDirectory, make_report: Callable[..., EpochReport]) -> None:
    search = queue_of(directory, "search", 3)
    handed_out = search.hand_out()
    assert handed_out is not None
    search.report(handed_out[0].trial_id, make_report(1))
    confirm = queue_of(directory, "confirm", 2)
    confirm.hand_out()
    study = load_study(directory.folder)
    assert rounded(arm_progress(study, "confirm")) == rounded(confirm.progress())
    assert [arm.planned for arm in arm_progress(study, "confirm")] == [2] * 4
    assert rounded(arm_progress(study, "search")) == rounded(search.progress())


def test_confirmations_of_an_earlier_winner_do_not_count(
    directory: RunDirectory, make_report: Callable[..., EpochReport]
) -> None:
    """A search that was extended and found a better point: its arm is confirmed anew."""

    def finish(queue: TrialQueue, correct: int) -> None:
        while (handed_out := queue.hand_out()) is not None:
            for epoch in (1, 2, 3):
                queue.report(handed_out[0].trial_id, make_report(epoch, correct=correct))

    def confirm(point: tuple[float, float]) -> TrialQueue:
        plans = [ArmPlan("confirm", arm, FixedSearcher([point] * 2), [1, 2], 3, 1) for arm in list_arms(CONFIG)]
        return TrialQueue(plans, RecordWriter(directory.records), metric="val_accuracy")

    finish(queue_of(directory, "search", 1), correct=10)
    finish(confirm((1e-3, 1e-4)), correct=10)
    assert [(arm.ended, arm.planned) for arm in arm_progress(load_study(directory.folder), "confirm")] == [(2, 2)] * 4
    better = [
        ArmPlan("search", arm, FixedSearcher([(1e-3, 1e-4), (5e-3, 1e-4)]), [0, 1], 3, 1) for arm in list_arms(CONFIG)
    ]
    queue = TrialQueue(better, RecordWriter(directory.records), metric="val_accuracy")
    study = load_study(directory.folder)
    queue.replay(study.trials, study.epochs)
    finish(queue, correct=15)
    assert arm_progress(load_study(directory.folder), "confirm") == []
    again = confirm((5e-3, 1e-4))
    again.hand_out()
    assert [arm.ended for arm in arm_progress(load_study(directory.folder), "confirm")] == [0] * 4
