"""Optuna's storage shows what the records say, whatever happens to either."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import urllib.parse
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import optuna
import pytest
from optuna.storages import BaseStorage
from optuna.trial import TrialState

from analysis.records.schema import TABLES
from analysis.records.segments import read_segments
from study.config.search import SearchConfig
from study.config.secrets import STORAGE_VARIABLE, mask_password
from study.design.arms import Arm
from study.design.trials import EpochReport
from study.search.optuna_mirror import (
    JOURNAL,
    OptunaMirror,
    open_database,
    open_journal,
    search_space,
)
from study.search.plans import ArmPlan
from study.search.queue import TrialQueue
from study.search.rungs import Rungs
from study.search.searchers import make_searcher
from study.storage.records import RecordWriter
from tests.study.optuna_contents import STATES, records_of, shown_by
from tests.study.servers import PASSWORD, Postgres, running_dashboard, running_postgres
from tests.study.tiny import command, write_tiny

MakeReport = Callable[..., EpochReport]
ARMS = (Arm(1.0, "off"), Arm(1.0, "sum", ("prcc",)))


def search(mode: str) -> SearchConfig:
    return SearchConfig.model_validate(
        {
            "mode": mode,
            "tpe_startup": 2,
            "trials_per_arm": 4,
            "grid_learning_rate": [1e-3, 1e-2],
            "grid_weight_decay": [0],
            "also": {"training.sampling": ["natural", "balanced"]},
        }
    )


class Process:
    """One process of a study with two arms: its queue and its mirror, made from the records."""

    def __init__(
        self,
        folder: Path,
        mode: str = "tpe",
        storage: str = "journal",
        owner: str = "this run",
        replaces: frozenset[str] = frozenset(),
    ):
        self.folder, self.warnings = folder, list[str]()
        config = search(mode)
        self.mirror = OptunaMirror(
            storage,
            folder,
            study="pilot",
            owner=owner,
            replaces=replaces,
            space=search_space(config),
            metric="val_accuracy",
            warn=self.warnings.append,
        )
        self.writer = RecordWriter(folder / "records")
        self.rebuild()
        plans = [
            ArmPlan("search", arm, make_searcher(config, 0, arm.name), [7] * 4, 3, 10, Rungs(1, 3, 2)) for arm in ARMS
        ]
        self.queue = TrialQueue(plans, self.writer, metric="val_accuracy", mirror=self.mirror)
        self.queue.replay(*self.tables())

    def tables(self) -> list[Any]:
        return [
            read_segments(self.folder / "records" / name, columns)
            for name, columns in TABLES.items()
            if name != "predictions"
        ]

    def rebuild(self) -> None:
        self.mirror.rebuild([arm.name for arm in ARMS], *self.tables())

    def take(self) -> str:
        handed_out = self.queue.hand_out()
        assert handed_out is not None
        return handed_out[0].trial_id


def journal(folder: Path) -> BaseStorage:
    return optuna.storages.JournalStorage(optuna.storages.journal.JournalFileBackend(str(folder / JOURNAL)))


def run_some(process: Process, make_report: MakeReport) -> None:
    """Trials of every status: completed, stopped, diverged, failed, running without an epoch and with one."""
    queue = process.queue
    first, other, stopped, diverged = (process.take() for _ in range(4))
    for epoch, correct in ((1, 12), (2, 15), (3, 11)):
        queue.report(first, make_report(epoch, correct=correct))
    queue.report(other, make_report(1, correct=3))
    queue.report(other, make_report(2, correct=4))
    assert queue.report(stopped, make_report(1, correct=2)) == "stop"
    assert queue.report(diverged, make_report(1, correct=20, loss=float("nan"))) == "diverged"
    queue.fail(process.take(), "broken")
    process.take()


SECOND_PROCESS = """
import json, sys, optuna
from optuna.storages import JournalStorage
from optuna.storages.journal import JournalFileBackend
storage = JournalStorage(JournalFileBackend(sys.argv[1]))
for _ in sys.stdin:
    studies = [optuna.load_study(study_name=s.study_name, storage=storage) for s in storage.get_all_studies()]
    found = {s.study_name: [[t.state.name, t.params, t.value, t.intermediate_values] for t in s.trials] for s in studies}
    print(json.dumps(found))
    sys.stdout.flush()
"""


@pytest.fixture
def second_process(tmp_path: Path) -> Iterator[Callable[[], Any]]:
    """Asks another process, which keeps the journal open, what it sees."""
    with subprocess.Popen(
        [sys.executable, "-c", SECOND_PROCESS, str(tmp_path / JOURNAL)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as other:
        assert other.stdin is not None and other.stdout is not None
        reading, writing = other.stdout, other.stdin

        def look() -> Any:
            writing.write("\n")
            writing.flush()
            return json.loads(reading.readline())

        yield look
        writing.close()


@pytest.mark.parametrize("mode", ["grid", "random", "qmc", "tpe"])
def test_the_storage_shows_what_the_records_say_in_every_mode(
    mode: str, make_report: MakeReport, tmp_path: Path
) -> None:
    process = Process(tmp_path, mode)
    assert (
        shown_by(journal(tmp_path))
        == records_of(tmp_path / "records", ARMS)
        == {"pilot/WBC_100/off": [], "pilot/WBC_100/sum": []}
    )
    run_some(process, make_report)
    live = shown_by(journal(tmp_path))
    assert live == records_of(tmp_path / "records", ARMS)
    states = [trial[0] for trials in live.values() for trial in trials]
    assert {states.count(state) for state in STATES.values()} == {1, 2}
    # As the next process sees and shows it.
    Process(tmp_path, mode)
    assert shown_by(journal(tmp_path)) == live
    assert process.warnings == []


def test_another_process_follows_while_trials_run(
    make_report: MakeReport, tmp_path: Path, second_process: Callable[[], Any]
) -> None:
    process = Process(tmp_path)
    assert second_process() == {"pilot/WBC_100/off": [], "pilot/WBC_100/sum": []}
    trial = process.take()
    ((state, params, value, values),) = second_process()["pilot/WBC_100/off"]
    assert (state, value, values) == ("RUNNING", None, {})
    assert set(params) == {"learning_rate", "weight_decay", "training.sampling"}
    process.queue.report(trial, make_report(1, correct=12))
    process.queue.report(trial, make_report(2, correct=9))
    assert second_process()["pilot/WBC_100/off"][0][3] == {"1": 0.6, "2": 0.45}
    process.queue.report(trial, make_report(3, correct=8))
    done = ["COMPLETE", params, 0.6, {"1": 0.6, "2": 0.45, "3": 0.4}]
    assert second_process()["pilot/WBC_100/off"] == [done]
    # And after a restart that made the studies anew.
    again = Process(tmp_path)
    assert second_process()["pilot/WBC_100/off"] == [done]
    again.take()
    assert sum(len(trials) for trials in second_process().values()) == 2


def test_the_storage_is_never_read_back(make_report: MakeReport, tmp_path: Path) -> None:
    run_some(Process(tmp_path), make_report)
    expected = shown_by(journal(tmp_path))
    storage = journal(tmp_path)
    for study in storage.get_all_studies():
        optuna.load_study(study_name=study.study_name, storage=storage).add_trial(optuna.trial.create_trial(value=1.0))
    optuna.delete_study(study_name="pilot/WBC_100/sum", storage=storage)
    Process(tmp_path)
    assert shown_by(journal(tmp_path)) == expected
    (tmp_path / JOURNAL).unlink()
    Process(tmp_path)
    assert shown_by(journal(tmp_path)) == expected


@pytest.mark.parametrize("damage", ["torn", "garbage", "lock"])
def test_what_a_killed_process_left_is_mended(damage: str, make_report: MakeReport, tmp_path: Path) -> None:
    run_some(Process(tmp_path), make_report)
    file = tmp_path / JOURNAL
    if damage == "torn":
        file.write_bytes(file.read_bytes()[:-20])
    elif damage == "garbage":
        file.write_bytes(b"\x00" * 50 + b"\n" + file.read_bytes())
    else:
        file.with_name(JOURNAL + ".lock").symlink_to(file)
    process = Process(tmp_path)
    assert process.warnings == []
    assert shown_by(journal(tmp_path)) == records_of(tmp_path / "records", ARMS)


def test_a_kill_between_an_epoch_and_the_end_of_its_trial_reaches_the_storage(
    make_report: MakeReport, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    process = Process(tmp_path)
    trial = process.take()
    for epoch in (1, 2):
        process.queue.report(trial, make_report(epoch))
    append = process.writer.append

    def refuse(table: str, rows: Any) -> None:
        if table == "trials":
            raise OSError(28, "No space left on device")
        append(table, rows)

    monkeypatch.setattr(process.writer, "append", refuse)
    with pytest.raises(OSError, match="No space"):
        process.queue.report(trial, make_report(3))
    Process(tmp_path)
    assert shown_by(journal(tmp_path)) == records_of(tmp_path / "records", ARMS)
    assert shown_by(journal(tmp_path))["pilot/WBC_100/off"][0][0] == TrialState.COMPLETE


def test_a_study_deleted_in_the_dashboard_is_said_once_and_comes_back(make_report: MakeReport, tmp_path: Path) -> None:
    process = Process(tmp_path)
    process.take()
    for arm in ARMS:
        optuna.delete_study(study_name=f"pilot/{arm.name}", storage=journal(tmp_path))
    for _ in range(3):
        process.take()
    assert len(process.warnings) == 1 and str(tmp_path / JOURNAL) in process.warnings[0]
    assert not process.mirror.is_current
    assert len(process.tables()[0]) == 4
    process.rebuild()
    assert process.mirror.is_current
    assert shown_by(journal(tmp_path)) == records_of(tmp_path / "records", ARMS)


def test_an_interrupt_in_the_lock_of_the_journal_still_interrupts(
    make_report: MakeReport, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Optuna's lock, interrupted between its last two steps, raises an OSError in the place of the interrupt."""
    process = Process(tmp_path)
    unlink = os.unlink

    def unlink_and_interrupt(path: str) -> None:
        unlink(path)
        monkeypatch.setattr("optuna.storages.journal._file.os.unlink", unlink)
        raise KeyboardInterrupt

    monkeypatch.setattr("optuna.storages.journal._file.os.unlink", unlink_and_interrupt)
    with pytest.raises(KeyboardInterrupt):
        run_some(process, make_report)
    assert process.warnings == []


def test_a_database_that_is_lost_loses_nothing_and_no_password(make_report: MakeReport, tmp_path: Path) -> None:
    url = "postgresql://ann:s3cret@127.0.0.1:1/optuna"
    process = Process(tmp_path, storage=url)
    run_some(process, make_report)
    (warning,) = process.warnings
    assert "postgresql://ann:***@127.0.0.1:1/optuna" in warning and "s3cret" not in warning
    # The same records, now in a database that is there.
    there = f"sqlite:///{tmp_path / 'optuna.db'}"
    assert Process(tmp_path, storage=there).warnings == []
    assert shown_by(open_database(there)) == records_of(tmp_path / "records", ARMS)


def test_a_study_of_another_run_is_never_replaced(make_report: MakeReport, tmp_path: Path) -> None:
    there = f"sqlite:///{tmp_path / 'optuna.db'}"
    run_some(Process(tmp_path / "mine", storage=there), make_report)
    before = shown_by(open_database(there))
    (warning,) = Process(tmp_path / "other", storage=there, owner="another run").warnings
    assert "'pilot/WBC_100/off' of another run" in warning and "--name" in warning
    assert shown_by(open_database(there)) == before


def test_a_run_takes_the_place_of_one_that_was_set_aside(make_report: MakeReport, tmp_path: Path) -> None:
    """--restart gives the name to another run: a database would otherwise show the old one for ever."""
    there = f"sqlite:///{tmp_path / 'optuna.db'}"
    run_some(Process(tmp_path / "old", storage=there, owner="old run"), make_report)
    new = Process(tmp_path / "new", storage=there, owner="new run", replaces=frozenset({"old run"}))
    new.take()
    assert new.warnings == []
    assert shown_by(open_database(there)) == records_of(tmp_path / "new" / "records", ARMS)


def test_a_finished_study_has_its_journal(calm: Path) -> None:
    storage = open_journal(calm / JOURNAL)
    names = [each.study_name for each in storage.get_all_studies()]
    studies = {name: storage.get_study_id_from_name(name) for name in names}
    assert set(studies) == {f"tiny/WBC_{percent}/{fusion}" for percent in (10, 100) for fusion in ("off", "sum")}
    for study_id in studies.values():
        trials = storage.get_all_trials(study_id)
        assert [trial.state for trial in trials] == [TrialState.COMPLETE] * 2
        assert [trial.params["learning_rate"] for trial in trials] == [0.001, 0.003]


@pytest.fixture(scope="module")
def postgres_server() -> Iterator[Postgres]:
    with running_postgres() as server:
        yield server


@pytest.fixture
def postgres(postgres_server: Postgres) -> Iterator[Postgres]:
    """The server without a study, whatever other tests left there."""
    yield postgres_server
    storage = open_database(postgres_server.url)
    for each in storage.get_all_studies():
        optuna.delete_study(study_name=each.study_name, storage=storage)


@pytest.mark.parametrize("mode", ["grid", "tpe"])
def test_postgresql_shows_what_the_records_say(
    mode: str, make_report: MakeReport, tmp_path: Path, postgres: Postgres
) -> None:
    process = Process(tmp_path, mode, postgres.url)
    run_some(process, make_report)
    live = shown_by(open_database(postgres.url))
    assert live == records_of(tmp_path / "records", ARMS)
    process.mirror.close()
    again = Process(tmp_path, mode, postgres.url)
    assert shown_by(open_database(postgres.url)) == live
    assert process.warnings == again.warnings == []


def test_a_server_that_dies_and_comes_back_loses_nothing(
    make_report: MakeReport, tmp_path: Path, postgres: Postgres
) -> None:
    process = Process(tmp_path, storage=postgres.url)
    first = process.take()
    process.queue.report(first, make_report(1))
    postgres.stop()
    for epoch in (2, 3):
        process.queue.report(first, make_report(epoch))
    second = process.take()
    (warning,) = process.warnings
    assert f"ann:***@127.0.0.1:{postgres.port}" in warning and PASSWORD not in warning
    assert urllib.parse.quote(PASSWORD, safe="") not in warning
    postgres.start()
    # At the end of the search it is brought up to date ...
    process.rebuild()
    assert shown_by(open_database(postgres.url)) == records_of(tmp_path / "records", ARMS)
    # ... and follows again.
    process.queue.report(second, make_report(1))
    assert shown_by(open_database(postgres.url)) == records_of(tmp_path / "records", ARMS)


def test_a_wrong_password_is_a_warning_that_does_not_show_it(tmp_path: Path, postgres: Postgres) -> None:
    process = Process(tmp_path, storage=postgres.url.replace("s3cret", "other-s3cret"))
    process.take()
    (warning,) = process.warnings
    assert "password authentication failed" in warning and "s3cret" not in warning
    masked = Process(tmp_path, storage=mask_password(postgres.url))
    assert STORAGE_VARIABLE in masked.warnings[0]


@pytest.mark.parametrize("kind", ["journal", "postgresql"])
def test_the_dashboard_lists_all_arms_while_the_study_runs(
    kind: str, make_report: MakeReport, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    url = request.getfixturevalue("postgres").url if kind == "postgresql" else "journal"
    process = Process(tmp_path, storage=url)
    with running_dashboard(str(tmp_path / JOURNAL) if url == "journal" else url) as dashboard:
        assert set(dashboard.studies()) == {"pilot/WBC_100/off", "pilot/WBC_100/sum"}
        run_some(process, make_report)
        for name, expected in records_of(tmp_path / "records", ARMS).items():
            shown = dashboard.trials(name)
            assert [trial["state"].lower() for trial in shown] == [trial[0].name.lower() for trial in expected]
            for trial, (_, _, values, _, attributes) in zip(shown, expected, strict=True):
                assert {each["step"]: each["value"] for each in trial["intermediate_values"]} == values
                assert {each["key"] for each in trial["user_attrs"]} == set(attributes)
    assert process.warnings == []


@pytest.mark.slow
def test_a_study_with_its_storage_in_postgresql_never_shows_the_password(tmp_path: Path, postgres: Postgres) -> None:
    arms = {"fractions": [0.1, 1.0], "fusion": ["off"]}
    settings = write_tiny(tmp_path, arms=arms, confirm={"seeds": 0}, resources={"workers": 1})
    url = f"search.storage={postgres.url}"
    done = subprocess.run(
        command("run", settings, "--root", tmp_path / "runs", "--set", url),
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr + done.stdout
    folder = tmp_path / "runs" / "tiny"
    with running_dashboard(postgres.url) as dashboard:
        for percent in (10, 100):
            shown = dashboard.trials(f"tiny/WBC_{percent}/off")
            assert [trial["state"] for trial in shown] == ["Complete", "Complete"]
    assert not (folder / JOURNAL).exists()
    assert "ann:***@127.0.0.1" in (folder / "study.yaml").read_text()
    written = [path.read_bytes() for path in folder.rglob("*") if path.is_file()]
    for secret in (PASSWORD, urllib.parse.quote(PASSWORD, safe="")):
        assert secret not in done.stdout + done.stderr
        assert not any(secret.encode() in content for content in written)
