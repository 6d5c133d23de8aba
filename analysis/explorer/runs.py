"""The runs that the explorer shows, read again when their records have changed."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterable, Mapping
from pathlib import Path
from time import monotonic

from analysis.explorer.view_state import ViewState
from analysis.records.errors import StudyError
from analysis.records.schema import TABLES
from analysis.records.study import Study, load_study

_LONG = 0.5
"""Seconds: a reading that takes longer is followed by a rest ..."""
_REST = 5.0
"""... of so many times its length."""


class LiveRun:
    """One run directory. `study` is as new as the last `refresh`; safe to use from several threads."""

    def __init__(self, key: str, path: Path) -> None:
        """Open a run directory.

        Args:
            key: Short name of the run in addresses, unique among the runs that are shown.
            path: The run directory.

        Raises:
            StudyError: There is no study, or it cannot be read.
        """
        self.key = key
        self.path = path
        self.problem = ""
        """Why the last `refresh` failed, e.g. a file that was being replaced; empty when it did not."""
        self._lock = threading.Lock()
        self._seen = self._state_of_files()
        self._rested = 0.0
        self.study = _read(path)
        self.version = 0
        """Grows with every change that was read."""
        self.read_at = time.time()

    def refresh(self) -> bool:
        """Read the records again if they have changed; returns whether they had.

        A study that cannot be read for a moment is kept as it was and tried again at the next call. One that takes long to
        read is left alone for a while afterwards, so that a large running study does not keep the machine busy.
        """
        with self._lock:
            if monotonic() < self._rested:
                return False
            found = self._state_of_files()
            if found == self._seen:
                return False
            began = monotonic()
            try:
                study = _read(self.path)
            except (StudyError, OSError) as error:
                self.problem = str(error)
                return False
            self._seen, self.study, self.problem = found, study, ""
            self.version += 1
            self.read_at = time.time()
            ended = monotonic()
            if ended - began > _LONG:
                self._rested = ended + _REST * (ended - began)
            return True

    def _state_of_files(self) -> tuple[tuple[str, int, int], ...]:
        """Name, size and time of everything that a study is read from."""
        files = [self.path / "study.yaml", self.path / "manifest.json", self.path / "images.parquet"]
        for table in TABLES:
            folder = self.path / "records" / table
            files += sorted(folder.iterdir()) if folder.is_dir() else []
        files += sorted(self.path.glob("pretrain/*/curve.parquet"))
        states = []
        for file in files:
            try:
                status = file.stat()
            except FileNotFoundError:
                continue  # not written yet, or replaced by a compacted segment since it was listed
            states.append((str(file), status.st_size, status.st_mtime_ns))
        return tuple(states)


def open_runs(paths: Iterable[Path]) -> dict[str, LiveRun]:
    """Open several runs; each gets its folder's name as key, numbered where two folders have the same name.

    Raises:
        StudyError: A run cannot be read.
    """
    runs: dict[str, LiveRun] = {}
    for path in paths:
        name = path.resolve().name
        key, number = name, 1
        while key in runs:
            number += 1
            key = f"{name} ({number})"
        runs[key] = LiveRun(key, path)
    return runs


def run_of(runs: Mapping[str, LiveRun], state: ViewState) -> LiveRun:
    """The run that a reader looks at; the first one where the address names none that there is."""
    return runs.get(state.run) or next(iter(runs.values()))


def read_versions(runs: Mapping[str, LiveRun]) -> dict[str, int]:
    """Key of each run -> how often its records were read again."""
    return {key: run.version for key, run in runs.items()}


def _read(path: Path) -> Study:
    """A study whose tables are in memory, so that no view has to wait for them, and errors come now."""
    study = load_study(path)
    _ = study.trials, study.epochs, study.predictions, study.confirmed
    return study
