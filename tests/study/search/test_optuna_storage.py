"""Storages of Optuna: what is refused before anything is opened, and journals that a killed process left."""

from __future__ import annotations

from pathlib import Path

import optuna
import pytest

from study.errors import UsageError
from study.search.optuna_storage import JOURNAL, check_storage, open_journal


def test_a_url_that_cannot_be_opened_is_refused_without_its_password() -> None:
    for url in ("postgresql+nodriver://ann:s3cret@host/db", "postgresql://ann:s3cret@host:port/db"):
        with pytest.raises(UsageError, match=r"search\.storage: found .*\*\*\*") as caught:
            check_storage(url)
        assert "s3cret" not in str(caught.value)
    with pytest.raises(UsageError, match=r"wbc-study\[postgres\]"):
        check_storage("postgresql+asyncpg://ann:s3cret@host/db")
    check_storage("sqlite:///x.db")
    check_storage("postgresql://ann@nowhere.invalid/db")


def test_a_whole_journal_is_opened_as_it_is(tmp_path: Path) -> None:
    file = tmp_path / JOURNAL
    optuna.create_study(study_name="pilot/WBC_1/off", storage=open_journal(file))
    before = file.read_bytes()
    assert [study.study_name for study in open_journal(file).get_all_studies()] == ["pilot/WBC_1/off"]
    assert file.read_bytes() == before


def test_a_line_that_was_not_written_to_its_end_is_cut_off_and_the_rest_is_kept(tmp_path: Path) -> None:
    file = tmp_path / JOURNAL
    optuna.create_study(study_name="pilot/WBC_1/off", storage=open_journal(file))
    before = file.read_bytes()
    file.write_bytes(before + b'{"op_code": 0, "worker_id": "killed')
    assert [study.study_name for study in open_journal(file).get_all_studies()] == ["pilot/WBC_1/off"]
    assert file.read_bytes() == before
