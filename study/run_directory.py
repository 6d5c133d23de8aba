"""The run directory: where a study's files lie, its manifest, and the lock that keeps a second driver out."""

from __future__ import annotations

import fcntl
import json
import os
import time
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml

from study.durable import write_durably
from study.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator

    from study.config import StudyConfig


_SET_ASIDE = ".set-aside-"
"""Between the name and the time in the name of a run directory that was set aside."""

_LOCK_SECONDS = 5.0
"""How long to wait for a process that was just killed to let go of its lock."""


def _lock_soon(descriptor: int) -> None:
    deadline = time.monotonic() + _LOCK_SECONDS
    while True:
        try:
            return fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.1)


class RunDirectory:
    """``<root>/<study>/`` and what it holds. The layout is a contract that the analysis reads."""

    def __init__(self, folder: Path):
        self.folder = folder
        self.config_file = folder / "study.yaml"
        self.manifest_file = folder / "manifest.json"
        self.audit_file = folder / "audit.json"
        self.images_file = folder / "images.parquet"
        self.records = folder / "records"
        self.report = folder / "report"

    def encoder(self, name: str) -> Path:
        """Folder of one encoder's weights, curve and features."""
        return self.folder / "pretrain" / name

    def checkpoint(self, trial_id: str) -> Path:
        """Folder of one trial's checkpoint."""
        return self.folder / "checkpoints" / trial_id

    @property
    def exists(self) -> bool:
        """Whether a study was begun here."""
        return self.config_file.is_file()

    def set_aside(self) -> Path:
        """Rename the whole run directory, so that its name is free; returns the new folder."""
        target = self.folder.with_name(f"{self.folder.name}{_SET_ASIDE}{time.strftime('%Y%m%d-%H%M%S')}")
        with self.lock():
            self.folder.rename(target)
        return target

    def set_aside_runs(self) -> frozenset[str]:
        """Ids of the runs that had this name before and were set aside; those whose folder is still there."""
        prefix = f"{self.folder.name}{_SET_ASIDE}"
        found = set()
        for folder in self.folder.parent.iterdir():
            if folder.name.startswith(prefix):
                # A damaged manifest of an old run is not this run's concern.
                with suppress(UsageError):
                    found.add(str(RunDirectory(folder).read_manifest().get("run_id", "")))
        return frozenset(found - {""})

    def write_config(self, config: StudyConfig) -> None:
        """Write the resolved configuration, complete."""
        self.folder.mkdir(parents=True, exist_ok=True)
        text = yaml.safe_dump(config.model_dump(mode="json"), sort_keys=False, allow_unicode=True)
        write_durably(self.config_file, text.encode())

    def read_manifest(self) -> dict[str, Any]:
        """The manifest, or an empty one.

        Raises:
            UsageError: the file is not readable as JSON.
        """
        if not self.manifest_file.is_file():
            return {}
        try:
            manifest = json.loads(self.manifest_file.read_text())
        except ValueError as error:
            raise UsageError(
                f"{self.manifest_file}: not readable as JSON ({error}). Restore it or give the study another --name"
            ) from error
        return dict(manifest)

    def write_manifest(self, manifest: dict[str, Any]) -> None:
        """Replace the manifest."""
        write_durably(self.manifest_file, (json.dumps(manifest, indent=2) + "\n").encode())

    def is_complete(self, phase: str) -> bool:
        """Whether a phase has been completed."""
        return bool(self.read_manifest().get("phases", {}).get(phase, {}).get("state") == "complete")

    def reopen(self, phases: Collection[str]) -> None:
        """Forget that phases were completed: they have more to do."""
        manifest = self.read_manifest()
        manifest["phases"] = {name: phase for name, phase in manifest.get("phases", {}).items() if name not in phases}
        self.write_manifest(manifest)

    @contextmanager
    def phase(self, name: str) -> Iterator[None]:
        """Note a phase's beginning and, when the block ends without an exception, its completion."""
        manifest = self.read_manifest()
        phases = manifest.setdefault("phases", {})
        phases[name] = {"state": "running", "started_at": time.time()}
        self.write_manifest(manifest)
        yield
        manifest = self.read_manifest()
        manifest["phases"][name] |= {"state": "complete", "ended_at": time.time()}
        self.write_manifest(manifest)

    @contextmanager
    def lock(self) -> Iterator[None]:
        """Hold the run directory for this process; the operating system lets go when the process ends in any way.

        Raises:
            UsageError: another process runs this study.
        """
        descriptor = self._take_lock()
        try:
            os.ftruncate(descriptor, 0)
            os.pwrite(descriptor, str(os.getpid()).encode(), 0)
            yield
        finally:
            if self.folder.is_dir() and not self.exists and [path.name for path in self.folder.iterdir()] == [".lock"]:
                # Refused before it began: leave nothing behind.
                (self.folder / ".lock").unlink()
                self.folder.rmdir()
            os.close(descriptor)

    def _take_lock(self) -> int:
        """Descriptor of the lock file, locked for this process."""
        while True:
            self.folder.mkdir(parents=True, exist_ok=True)
            descriptor = os.open(self.folder / ".lock", os.O_RDWR | os.O_CREAT, 0o644)
            try:
                _lock_soon(descriptor)
            except BlockingIOError as error:
                owner = os.read(descriptor, 32).decode(errors="replace").strip()
                os.close(descriptor)
                raise UsageError(
                    f"{self.folder}: process {owner or 'unknown'} is running this study. Wait, stop it, or choose another --name"
                ) from error
            if os.fstat(descriptor).st_nlink:
                return descriptor
            # Its last holder deleted it after we had opened it: the next process would lock another file.
            os.close(descriptor)

    def is_running(self) -> bool:
        """Whether a process holds the lock."""
        try:
            descriptor = os.open(self.folder / ".lock", os.O_RDWR)
        except FileNotFoundError:
            return False
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
        finally:
            os.close(descriptor)
        return False
