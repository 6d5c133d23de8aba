"""How commands find the study that they are asked about."""

from __future__ import annotations

from pathlib import Path

import pytest

from study.commands.options import find_run
from study.config.study import StudyConfig
from study.errors import UsageError
from study.storage.run_directory import RunDirectory


def test_a_study_is_found_by_its_name_below_the_root_before_a_folder_of_that_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    for folder in ("root/pilot", "pilot", "elsewhere"):
        RunDirectory(tmp_path / folder).write_config(StudyConfig(name="pilot"))
    assert find_run("pilot", "root").folder.resolve() == tmp_path / "root" / "pilot"
    assert find_run("elsewhere", "root").folder.resolve() == tmp_path / "elsewhere"
    assert find_run(str(tmp_path / "elsewhere"), "root").folder == tmp_path / "elsewhere"


def test_a_study_that_is_not_there_is_told_with_those_that_are(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"'pilot': no such study in .* Found there: none"):
        find_run("pilot", str(tmp_path))
    for name in ("one", "two"):
        RunDirectory(tmp_path / name).write_config(StudyConfig(name=name))
    with pytest.raises(UsageError, match=r"Found there: one, two$"):
        find_run("pilot", str(tmp_path))
