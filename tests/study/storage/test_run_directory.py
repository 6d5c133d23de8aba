"""The run directory keeps a second driver out and never shows half a manifest."""

from __future__ import annotations

import fcntl
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

import study
from study.config.files import load_config
from study.config.study import StudyConfig
from study.errors import UsageError
from study.storage import run_directory
from study.storage.records import RecordWriter
from study.storage.run_directory import RunDirectory, find_runs
from tests.study.object_storage import BUCKET

_HOLD = """
import sys
from pathlib import Path
from study.storage.run_directory import RunDirectory
with RunDirectory(Path(sys.argv[1])).lock():
    print("held", flush=True)
    sys.stdin.read()
"""


@contextmanager
def another_process(folder: Path) -> Iterator[subprocess.Popen[str]]:
    """A real process that holds the lock until its input is closed."""
    environment = {**os.environ, "PYTHONPATH": str(Path(study.__file__).parents[1])}
    with subprocess.Popen(
        [sys.executable, "-c", _HOLD, str(folder)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        env=environment,
    ) as process:
        try:
            assert process.stdout is not None and process.stdout.readline() == "held\n"
            yield process
        finally:
            process.kill()


@pytest.fixture
def directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> RunDirectory:
    # Nobody here lets go of a lock by waiting for it.
    monkeypatch.setattr(run_directory, "_LOCK_SECONDS", 0.0)
    return RunDirectory(tmp_path / "pilot")


def test_the_layout_is_the_one_that_the_analysis_reads(directory: RunDirectory) -> None:
    paths = [
        directory.config_file,
        directory.manifest_file,
        directory.audit_file,
        directory.images_file,
        directory.records,
        directory.report,
        directory.encoder("prcc"),
        directory.checkpoint("0123"),
    ]
    assert [path.relative_to(directory.folder).as_posix() for path in paths] == [
        "study.yaml",
        "manifest.json",
        "audit.json",
        "images.parquet",
        "records",
        "report",
        "pretrain/prcc",
        "checkpoints/0123",
    ]


def test_a_study_exists_once_its_configuration_is_written(directory: RunDirectory) -> None:
    assert not directory.exists
    config = StudyConfig(name="pilot", about="ÄÖÜ")
    directory.write_config(config)
    assert directory.exists
    assert load_config(str(directory.config_file)) == config
    assert "ÄÖÜ" in directory.config_file.read_text()


def test_the_lock_keeps_a_second_process_out(directory: RunDirectory) -> None:
    with another_process(directory.folder) as holder:
        assert directory.is_running()
        with pytest.raises(UsageError, match=f"process {holder.pid} is running this study") as caught, directory.lock():
            pass
        assert str(directory.folder) in str(caught.value)
        assert "--name" in str(caught.value)


def test_a_killed_holder_leaves_no_lock(directory: RunDirectory) -> None:
    with another_process(directory.folder) as holder:
        holder.send_signal(signal.SIGKILL)
        holder.wait()
        assert not directory.is_running()
        with directory.lock():
            assert directory.is_running()


def test_a_holder_that_is_just_being_killed_is_waited_for(
    directory: RunDirectory, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(run_directory, "_LOCK_SECONDS", 60.0)
    with another_process(directory.folder) as holder:
        holder.send_signal(signal.SIGKILL)
        with directory.lock():
            assert directory.is_running()


def test_the_lock_can_be_taken_again(directory: RunDirectory) -> None:
    for _ in range(2):
        with directory.lock():
            assert (directory.folder / ".lock").read_text() == str(os.getpid())
    assert not directory.is_running()


def test_an_exception_frees_the_lock(directory: RunDirectory) -> None:
    with pytest.raises(KeyboardInterrupt), directory.lock():
        raise KeyboardInterrupt
    assert not directory.is_running()


def test_one_that_is_kept_out_leaves_the_lock_to_its_holder(directory: RunDirectory) -> None:
    # Also while the holder has written nothing else yet.
    with directory.lock():
        for _ in range(2):
            with pytest.raises(UsageError, match=f"process {os.getpid()} is running"), directory.lock():
                pass
        assert directory.is_running()


def test_a_study_that_is_refused_before_it_began_leaves_nothing(directory: RunDirectory) -> None:
    with pytest.raises(UsageError, match="bad images"), directory.lock():
        raise UsageError("bad images")
    assert not directory.folder.exists()
    directory.write_config(StudyConfig(name="pilot"))
    with pytest.raises(KeyboardInterrupt), directory.lock():
        raise KeyboardInterrupt
    assert directory.exists


def test_a_lock_that_its_holder_deleted_meanwhile_is_not_taken(
    directory: RunDirectory, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Two processes would hold one lock each: the deleted file and the new one.
    take, deleted = fcntl.flock, []

    def deleted_first(descriptor: int, operation: int) -> None:
        if not deleted:
            deleted.append((directory.folder / ".lock").unlink())
        take(descriptor, operation)

    monkeypatch.setattr(fcntl, "flock", deleted_first)
    monkeypatch.setattr(run_directory, "_LOCK_SECONDS", 60.0)
    with directory.lock():
        monkeypatch.setattr(run_directory, "_LOCK_SECONDS", 0.0)
        with pytest.raises(UsageError, match="is running"), directory.lock():
            pass
    assert deleted == [None]


def test_a_folder_without_lock_is_not_running(directory: RunDirectory) -> None:
    assert not directory.is_running()
    directory.folder.mkdir()
    assert not directory.is_running()
    assert list(directory.folder.iterdir()) == []


def test_a_phase_is_complete_only_when_its_work_ended(directory: RunDirectory) -> None:
    directory.folder.mkdir()
    directory.write_manifest({"schema_version": 1})
    with pytest.raises(KeyboardInterrupt), directory.phase("search"):
        assert not directory.is_complete("search")
        raise KeyboardInterrupt
    assert directory.read_manifest()["phases"]["search"]["state"] == "running"
    assert not directory.is_complete("search")
    with directory.phase("search"):
        pass
    assert directory.is_complete("search")
    assert not directory.is_complete("confirm")
    manifest = directory.read_manifest()
    assert manifest["schema_version"] == 1
    assert manifest["phases"]["search"]["started_at"] <= manifest["phases"]["search"]["ended_at"]


def test_what_a_phase_writes_into_the_manifest_stays(directory: RunDirectory) -> None:
    directory.folder.mkdir()
    with directory.phase("audit"):
        directory.write_manifest({**directory.read_manifest(), "classes": ["Neutrophil"]})
    assert directory.read_manifest()["classes"] == ["Neutrophil"]
    assert directory.is_complete("audit")


def test_no_manifest_is_an_empty_one_and_a_damaged_one_is_named(directory: RunDirectory) -> None:
    assert directory.read_manifest() == {}
    directory.folder.mkdir()
    directory.manifest_file.write_text('{"phases": ')
    with pytest.raises(UsageError, match=r"manifest\.json: not readable as JSON"):
        directory.read_manifest()


def test_a_study_set_aside_keeps_everything_and_frees_its_name(tmp_path):
    directory = RunDirectory(tmp_path / "pilot")
    directory.write_config(StudyConfig(name="pilot"))
    (directory.folder / "records").mkdir()
    directory.write_manifest({"run_id": "the old one"})
    neighbour = RunDirectory(tmp_path / "pilot2.set-aside-20260101-000000")
    neighbour.write_config(StudyConfig(name="pilot2"))
    neighbour.write_manifest({"run_id": "of another name"})
    assert directory.set_aside_runs() == frozenset()
    aside = directory.set_aside()
    assert not directory.folder.exists()
    assert aside.name.startswith("pilot.set-aside-")
    assert RunDirectory(aside).exists
    assert (aside / "records").is_dir()
    assert directory.set_aside_runs() == {"the old one"}
    RunDirectory(aside).manifest_file.write_text("{")
    assert directory.set_aside_runs() == frozenset()
    with directory.lock():
        assert not directory.exists


def test_a_running_study_is_not_set_aside(tmp_path, monkeypatch):
    monkeypatch.setattr("study.storage.run_directory._LOCK_SECONDS", 0)
    directory = RunDirectory(tmp_path / "pilot")
    directory.write_config(StudyConfig(name="pilot"))
    with directory.lock(), pytest.raises(UsageError, match="is running"):
        RunDirectory(tmp_path / "pilot").set_aside()
    assert directory.exists


@pytest.fixture
def stored(s3, tmp_path):
    """A study's address and its run directory as the driver opens it."""
    url = f"s3://{BUCKET}/{tmp_path.name}/pilot"
    return url, RunDirectory(url)


def test_what_is_written_at_an_address_is_seen_by_another_machine(stored, tmp_path, monkeypatch):
    url, directory = stored
    with directory.lock():
        directory.write_config(StudyConfig(name="pilot"))
        with directory.phase("audit"):
            pass
        directory.write(directory.checkpoint("a") / "checkpoint.safetensors", b"weights")
    monkeypatch.setenv("WBC_STUDY_CACHE", str(tmp_path / "other machine"))
    other = RunDirectory.to_read(url)
    assert other.exists and other.is_complete("audit") and other.location == url
    assert [found.folder.name for found in find_runs(url.rpartition("/")[0])] == ["pilot"]
    worker = RunDirectory(other.portable_location)
    assert worker.fetch(worker.checkpoint("a") / "checkpoint.safetensors")
    assert not worker.fetch(worker.checkpoint("b") / "checkpoint.safetensors")


def test_the_store_overrules_what_a_lost_driver_left_on_the_disk(stored):
    url, directory = stored
    with directory.lock():
        directory.write_config(StudyConfig(name="pilot"))
        directory.write(directory.records / "epochs" / "0000000001-0000000001.jsonl", b"{}\n")
    unpublished = directory.records / "epochs" / "0000000002-0000000002.jsonl"
    unpublished.write_bytes(b"{}\n")
    with RunDirectory(url).lock():
        assert [path.name for path in (directory.records / "epochs").iterdir()] == ["0000000001-0000000001.jsonl"]


def test_records_at_an_address_are_durable_when_append_returns_and_compacted_there(stored):
    _, directory = stored
    row = {"trial_id": "t", "epoch": 1, "steps": 1, "confusion": [1], "decision": "continue"}
    with directory.lock():
        writer = RecordWriter(directory.records, directory.publish, directory.remove)
        for number in range(3):
            writer.append("epochs", [{**row, "epoch": number}])
            assert len(directory.sizes(directory.records / "epochs")) == number + 1
        writer.compact()
        assert list(directory.sizes(directory.records)) == ["records/epochs/0000000001-0000000003.parquet"]


def test_a_worker_keeps_no_copy_of_what_the_store_has(stored):
    _, directory = stored
    file = directory.checkpoint("a") / "checkpoint.safetensors"
    file.parent.mkdir(parents=True)
    file.write_bytes(b"weights")
    directory.publish(file, keep=False)
    assert not file.exists()
    assert directory.sizes(directory.checkpoints) == {"checkpoints/a/checkpoint.safetensors": 7}
    directory.remove_folder(directory.checkpoint("a"))
    assert directory.sizes(directory.checkpoints) == {}


def test_a_study_at_an_address_is_set_aside_whole(stored):
    url, directory = stored
    with directory.lock():
        directory.write_config(StudyConfig(name="pilot"))
    aside = directory.set_aside()
    assert str(aside).startswith(f"{url}.set-aside-")
    assert RunDirectory.to_read(aside).exists and not RunDirectory.to_read(url).exists


def test_a_second_driver_of_an_address_is_refused_on_the_same_machine_at_once(stored):
    url, directory = stored
    with directory.lock():
        assert directory.is_running()
        with pytest.raises(UsageError, match="is running this study"), RunDirectory(url).lock():
            pass
    assert not directory.is_running()
