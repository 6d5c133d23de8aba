"""Following records."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from analysis import Study, StudyError, load_study
from analysis.explorer.runs import LiveRun, open_runs


def test_records_that_were_appended_are_read(run_directory: Callable[..., Any]) -> None:
    directory = run_directory()
    directory.trial("a", correct=[20])
    run = LiveRun("tiny", directory.save(per_segment=1))
    assert not run.refresh()
    directory.trial("b", correct=[21, 22])
    directory.save(per_segment=1)
    assert run.refresh()
    assert (run.version, len(run.study.trials)) == (1, 2)


def test_a_study_that_cannot_be_read_for_a_moment_is_kept_and_tried_again(run_directory: Callable[..., Any]) -> None:
    directory = run_directory()
    directory.trial("a", correct=[20])
    path = directory.save()
    run = LiveRun("tiny", path)
    (path / "manifest.json").write_text("{")
    assert not run.refresh()
    assert "manifest.json" in run.problem
    assert len(run.study.trials) == 1
    (path / "manifest.json").write_text(json.dumps(directory.manifest | {"more": 1}))
    assert run.refresh()
    assert run.problem == ""


def test_runs_of_one_name_get_different_keys(finished: Path, tmp_path: Path) -> None:
    other = tmp_path / "elsewhere" / finished.name
    other.parent.mkdir()
    other.symlink_to(finished)
    copy = tmp_path / "more" / "tiny"
    copy.mkdir(parents=True)
    (copy / "study.yaml").write_text("name: tiny")
    assert list(open_runs([finished, copy])) == ["tiny", "tiny (2)"]
    with pytest.raises(StudyError, match="no such folder"):
        open_runs([tmp_path / "nothing"])


def test_a_run_that_takes_long_to_read_is_left_alone_for_a_while(
    finished: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = [100.0]
    monkeypatch.setattr("analysis.explorer.runs.monotonic", lambda: now[0])
    run = LiveRun("tiny", finished)

    def read_slowly(path: Path) -> Study:
        now[0] += 2.0
        return load_study(path)

    monkeypatch.setattr("analysis.explorer.runs._read", read_slowly)
    manifest = finished / "manifest.json"
    manifest.write_text(manifest.read_text() + " ")
    assert run.refresh()
    manifest.write_text(manifest.read_text() + " ")
    now[0] += 9.9
    assert not run.refresh()
    now[0] += 0.2
    assert run.refresh()
