"""What trackers get is what the records say."""

from __future__ import annotations

import builtins
import sqlite3
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from analysis import StudyError, load_study
from analysis.tracking.export import TRACKERS, export_tracking

Make = Callable[..., Any]


@pytest.fixture
def small(run_directory: Make) -> Path:
    """Three trials: one completed, one that failed before an epoch, one that diverged."""
    directory = run_directory()
    directory.trial("good", correct=[20, 22, 21])
    directory.trial("bad", index=1, status="failed", error="Boom")
    directory.trial("lost", index=2, status="diverged", correct=[20, 20], losses=[1.0, None])
    return directory.save()


def test_tensorboard_has_every_value_of_every_epoch(small: Path) -> None:
    from tensorboardX.proto.event_pb2 import Event
    from tensorboardX.record_writer import RecordWriter  # noqa: F401 - the format that is read below

    folder = export_tracking(load_study(small), "tensorboard")
    assert folder == small / "tracking" / "tensorboard"
    found: dict[tuple[str, int], float] = {}
    for file in (folder / "WBC_1" / "off" / "good").glob("events*"):
        content, position = file.read_bytes(), 0
        while position < len(content):
            size = int.from_bytes(content[position : position + 8], "little")
            event = Event.FromString(content[position + 12 : position + 12 + size])
            position += 16 + size
            for value in event.summary.value:
                found[(value.tag, event.step)] = value.simple_value
    assert [found[("val_accuracy", epoch)] for epoch in (1, 2, 3)] == pytest.approx([0.5, 0.55, 0.525])


def test_mlflow_has_one_run_for_each_trial_with_settings_and_ending(small: Path) -> None:
    pytest.importorskip("mlflow")
    folder = export_tracking(load_study(small), "mlflow")
    with sqlite3.connect(folder / "mlflow.db") as database:
        runs = dict(database.execute("select name, status from runs"))
        assert runs == {"WBC_1/off good": "FINISHED", "WBC_1/off bad": "FAILED", "WBC_1/off lost": "FAILED"}
        values = database.execute(
            "select step, value from metrics join runs using (run_uuid) where name like '%good' and key = 'val_accuracy'"
        )
        assert sorted(values) == [(1, 0.5), (2, 0.55), (3, 0.525)]
        rates = {value for (value,) in database.execute("select value from params where key = 'learning_rate'")}
        assert rates == {"0.001"}


def test_wandb_writes_offline_runs(small: Path) -> None:
    pytest.importorskip("wandb")
    folder = export_tracking(load_study(small), "wandb")
    assert sorted(path.name.rpartition("-")[2] for path in (folder / "wandb").glob("offline-run-*")) == [
        "bad",
        "good",
        "lost",
    ]


def test_an_export_replaces_the_one_before_but_no_folder_of_the_users(small: Path, tmp_path: Path) -> None:
    study = load_study(small)
    folder = export_tracking(study, "tensorboard")
    (folder / "old").mkdir()
    assert not (export_tracking(study, "tensorboard") / "old").exists()
    (tmp_path / "mine").mkdir()
    with pytest.raises(StudyError, match="exists already"):
        export_tracking(study, "tensorboard", tmp_path / "mine")
    with pytest.raises(StudyError, match="There are: tensorboard, mlflow, wandb"):
        export_tracking(study, "paper")


@pytest.mark.parametrize(
    ("tracker", "package"), [("tensorboard", "tensorboardX"), ("mlflow", "mlflow"), ("wandb", "wandb")]
)
def test_a_missing_package_is_named_with_its_extra(
    small: Path, monkeypatch: pytest.MonkeyPatch, tracker: str, package: str
) -> None:
    real = builtins.__import__

    def fail(name: str, *rest: Any, **named: Any) -> Any:
        if name.partition(".")[0] == package:
            raise ImportError(name)
        return real(name, *rest, **named)

    assert tracker in TRACKERS
    monkeypatch.setattr(builtins, "__import__", fail)
    with pytest.raises(StudyError, match=rf"wbc-study\[{tracker}\]"):
        export_tracking(load_study(small), tracker)
