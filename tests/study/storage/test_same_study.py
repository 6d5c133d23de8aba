"""One run directory holds one study."""

from __future__ import annotations

from pathlib import Path

import pytest

from study.config.study import StudyConfig
from study.errors import UsageError
from study.storage.run_directory import RunDirectory
from study.storage.same_study import check_same_study


def pilot(**settings: object) -> StudyConfig:
    return StudyConfig.model_validate({"name": "pilot", "confirm": {"seeds": 2}, **settings})


@pytest.fixture
def directory(tmp_path: Path) -> RunDirectory:
    return RunDirectory(tmp_path / "pilot")


def test_a_free_name_may_have_any_study(directory: RunDirectory) -> None:
    assert check_same_study(directory, pilot()) == []
    assert not directory.folder.exists()


def test_empty_folders_and_the_lock_are_in_nobodys_way(directory: RunDirectory) -> None:
    directory.checkpoints.mkdir(parents=True)
    with directory.lock():
        assert check_same_study(directory, pilot()) == []


def test_files_of_somebody_else_are_left_alone(directory: RunDirectory) -> None:
    (directory.folder / "photographs").mkdir(parents=True)
    (directory.folder / "photographs" / "cat.png").touch()
    with pytest.raises(UsageError, match=r"pilot: found files but no study\.yaml") as caught:
        check_same_study(directory, pilot())
    assert "--name" in str(caught.value)


def test_another_study_is_refused_with_every_difference(directory: RunDirectory) -> None:
    directory.write_config(pilot())
    changed = pilot(training={"batch_size": 3, "epochs": 5}, confirm={"seeds": 1})
    with pytest.raises(UsageError, match=r"holds a study with another configuration:\n") as caught:
        check_same_study(directory, changed)
    lines = str(caught.value).splitlines()
    assert [line.split(":")[0] for line in lines[1:-1]] == [
        "  training.epochs",
        "  training.batch_size",
        "  confirm.seeds",
    ]
    assert lines[-1] == "Give this one another --name, or set the old one aside with --restart"


def test_the_same_study_is_continued_and_a_larger_one_extends_it(directory: RunDirectory) -> None:
    directory.write_config(pilot())
    assert check_same_study(directory, pilot(about="the same")) == []
    assert check_same_study(directory, pilot(confirm={"seeds": 4})) == ["confirm.seeds: 2 -> 4"]
