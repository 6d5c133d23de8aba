"""Optuna's storages of a study: the journal file in its run directory, or a database. Loads Optuna when one is opened."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from study.config.secrets import mask_password
from study.errors import UsageError

if TYPE_CHECKING:
    from pathlib import Path

    from optuna.storages import BaseStorage

JOURNAL = "optuna.journal"
"""Name of the journal file in the run directory."""

_PATIENCE = 10
"""Seconds after which a database server that does not answer counts as lost."""


def check_storage(url: str) -> None:
    """Refuse a URL that could never be opened, without connecting.

    Raises:
        UsageError: SQLAlchemy does not read the URL, or the database's driver is not installed.
    """
    from sqlalchemy import create_engine
    from sqlalchemy.exc import ArgumentError, NoSuchModuleError

    try:
        create_engine(_with_driver(url)).dispose()
    except (ArgumentError, NoSuchModuleError, ValueError) as error:
        raise UsageError(
            f"search.storage: found {mask_password(url)!r}, expected a URL such as postgresql://user@host:5432/database"
            f" ({mask_password(str(error))})"
        ) from None  # the cause would show the URL
    except ImportError as error:
        raise UsageError(
            f"search.storage: the driver of {mask_password(url)!r} is not installed ({error.name}). For PostgreSQL:"
            ' pip install "wbc-study[postgres]"'
        ) from error


def open_journal(file: Path) -> BaseStorage:
    """Open the storage in a journal file, which other processes may have open, and mend what a killed process left behind."""
    from optuna.storages import JournalStorage
    from optuna.storages.journal import JournalFileBackend

    file = file.resolve()
    # This process holds the run directory: any lock was left by a killed process, and Optuna would wait 30 s for it.
    file.with_name(file.name + ".lock").unlink(missing_ok=True)
    if file.exists():
        _drop_torn_line(file)
    try:
        return JournalStorage(JournalFileBackend(str(file)))
    except (ValueError, KeyError):
        # The file is no readable journal. Everything in it is in the records.
        file.unlink()
        return JournalStorage(JournalFileBackend(str(file)))


def _drop_torn_line(file: Path) -> None:
    """Cut off an incomplete last line: Optuna would append to it and never read the file again."""
    with file.open("rb+") as journal:
        content = journal.read()
        whole = content.rfind(b"\n") + 1
        if whole < len(content):
            journal.truncate(whole)


def open_database(url: str) -> BaseStorage:
    """Open the storage on a database server."""
    from optuna.storages import RDBStorage

    options: dict[str, Any] = {"pool_pre_ping": True}
    if url.startswith("postgresql"):
        # The study's main process waits for every answer, so it must come soon or count as lost (names of libpq).
        options["connect_args"] = {"connect_timeout": _PATIENCE, "tcp_user_timeout": _PATIENCE * 1000}
    return RDBStorage(_with_driver(url), engine_kwargs=options)


def _with_driver(url: str) -> str:
    """The URL, with the driver of the extra `postgres` where it names none."""
    return url.replace("postgresql://", "postgresql+psycopg://", 1) if url.startswith("postgresql://") else url
