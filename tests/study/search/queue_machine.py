"""A queue under any order of events, with kills at any write."""

from __future__ import annotations

import hashlib
import tempfile
from collections import Counter
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
)

from study.config.search import SearchConfig
from study.design.arms import Arm
from study.design.trials import EpochReport, TrialSpec
from study.errors import StudyFailed
from study.search.optuna_mirror import OptunaMirror, search_space
from study.search.optuna_storage import JOURNAL, open_journal
from study.search.plans import ArmPlan
from study.search.queue import TrialQueue
from study.search.rungs import Rungs
from study.search.searchers import FixedSearcher, make_searcher
from study.storage.records import RecordWriter
from tests.study.optuna_contents import records_of, shown_by
from tests.study.search.queues import read, start, take

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
        searcher = make_searcher(search, 0, arm.name)
        plans.append(ArmPlan("search", arm, searcher, [0] * budget, EPOCHS, cost, Rungs(1, EPOCHS, 2)))
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
    """Hands out, reports, fails and is killed in any order; independent notes say what must have happened."""

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
        self.compared: set[tuple[Path, int]] = set()
        """Files with the times of their last change, when records and Optuna were last compared."""
        self.events: dict[str, list[tuple[Any, ...]]] = {arm.name: [] for arm, _, _ in ARMS}

    @initialize(mode=st.sampled_from(["tpe", "random", "qmc"]))
    def begin(self, mode: str) -> None:
        self.mode = mode
        self.rebuild()

    def rebuild(self) -> None:
        """A new process: nothing is known but the records."""
        self.writer = MortalWriter(self.folder)
        self.mirror = OptunaMirror(
            "journal",
            self.folder,
            study="pilot",
            owner="this run",
            space=search_space(SearchConfig.model_validate({"also": ALSO})),
            metric="val_accuracy",
            warn=pytest.fail,
        )
        arms = [arm.name for arm, _, _ in ARMS]
        trials, epochs = read(self.folder, "trials"), read(self.folder, "epochs")
        self.mirror.rebuild(arms, trials, epochs)
        self.queue = TrialQueue(
            make_plans(self.mode), self.writer, metric="val_accuracy", max_failures=RETRIES, mirror=self.mirror
        )
        self.failures.clear()
        self.queue.replay(trials, epochs)
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
        written = {(path, path.stat().st_mtime_ns) for path in self.folder.rglob("*")}
        if written == self.compared:
            return  # nothing was written since
        if hasattr(self, "queue"):
            shown = shown_by(open_journal(self.folder / JOURNAL))
            assert shown == records_of(self.folder, [arm for arm, _, _ in ARMS])
            self.compared = written

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
