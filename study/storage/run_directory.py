"""The run directory: where a study's files lie, its manifest, and the lock that keeps a second driver out."""

from __future__ import annotations

import fcntl
import json
import os
import shutil
import time
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from filelock import FileLock, Timeout

from analysis.records.object_store import ObjectStore, is_remote, join_location, local_copy
from analysis.records.schema import Phase, PhaseState
from study.config.files import dump_config
from study.errors import UsageError
from study.storage.durable import write_durably
from study.storage.lease import Lease, is_held

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator

    from filelock import BaseFileLock

    from study.config.study import StudyConfig


WEIGHTS = "weights.safetensors"
"""Name of the file with the weights of a network, in an encoder's folder and in that of a confirmed trial."""

_SET_ASIDE = ".set-aside-"
"""Text between name and time in the name of a run directory that was set aside."""

_LOCK = ".lock"
"""Name of the file that is locked by the process that runs the study. It holds the number of that process."""

_LOCK_SECONDS = 5.0
"""Seconds to wait for a process that was just killed to let go of its lock."""


class RunDirectory:
    """``<root>/<study>/`` and what it holds. The layout is a contract that the analysis reads.

    Its location is a folder, of this machine's disk or shared by all nodes, or an address ``s3://bucket/prefix/<study>``. For an
    address `folder` is a working copy on this machine's disk, which the store overrules: what is written is there only once it
    is published, and what another node wrote is here only once it is fetched. In a folder there is nothing to publish or fetch.
    """

    def __init__(self, location: Path | str, folder: Path | None = None):
        """Open nothing yet.

        Args:
            location: A folder, or an address in an object store.
            folder: Folder of the working copy of an address; each node has one of its own.
        """
        self.store = ObjectStore(str(location)) if is_remote(location) else None
        self.location = location if self.store is None else self.store.url
        self._lease: Lease | None = None
        if folder is None:
            folder = Path(location) if self.store is None else local_copy(self.store.url, "run")
        self.folder = folder
        self.config_file = folder / "study.yaml"
        self.manifest_file = folder / "manifest.json"
        self.audit_file = folder / "audit.json"
        self.images_file = folder / "images.parquet"
        self.records = folder / "records"
        self.report = folder / "report"
        self.pretrained = folder / "pretrain"
        self.checkpoints = folder / "checkpoints"

    def encoder(self, name: str) -> Path:
        """Folder of one encoder's weights, curve and features."""
        return self.pretrained / name

    def checkpoint(self, trial_id: str) -> Path:
        """Folder of one trial's checkpoint."""
        return self.checkpoints / trial_id

    @property
    def portable_location(self) -> str:
        """The location for processes with another working directory, also on other nodes."""
        return str(self.location) if self.store is not None else str(self.folder.resolve())

    @classmethod
    def to_read(cls, location: Path | str) -> RunDirectory:
        """A run directory to read, with its configuration and manifest: a copy that no driver or worker uses."""
        if not is_remote(location):
            return cls(location)
        directory = cls(location, local_copy(str(location), "read"))
        for file in (directory.config_file, directory.manifest_file):
            directory.fetch(file)
        return directory

    def publish(self, path: Path, *, keep: bool = True) -> None:
        """Make a file that was written here durable in the store.

        Args:
            path: File below `folder`.
            keep: Whether the working copy keeps it.

        Raises:
            StoreUnreachable: the store does not answer.
            StudyFailed: another process may run the study by now.
        """
        if self.store is None:
            return
        if self._lease is not None:
            self._lease.check()
        self.store.upload(self._key(path), path)
        if not keep:
            path.unlink()

    def publish_below(self, folder: Path) -> None:
        """Make the store hold exactly what a folder of the working copy holds."""
        if self.store is not None:
            self.store.publish(self.folder, self._key(folder))

    def fetch(self, path: Path) -> bool:
        """Fetch the newest state of a file that another node may have written; returns whether there is one."""
        if self.store is not None:
            try:
                self.store.download(self._key(path), path)
            except FileNotFoundError:
                path.unlink(missing_ok=True)
        return path.is_file()

    def fetch_below(self, folder: Path) -> None:
        """Fetch the newest state of a folder that other nodes write. One process of a node fetches, the others find it there."""
        if self.store is None:
            return
        self.folder.mkdir(parents=True, exist_ok=True)
        with FileLock(self.folder / ".fetch", fallback_to_soft=False):
            wanted = self._key(folder)
            self.store.download_tree(self.folder, leave=lambda key: not key.startswith(f"{wanted}/"))

    def pull(self, *, checkpoints: bool = False) -> None:
        """Fetch everything, checkpoints only where asked for, and keep nothing that the store does not have."""
        if self.store is not None:
            left = (".",) if checkpoints else (".", "checkpoints/")
            self.store.download_tree(self.folder, leave=lambda key: key.startswith(left))

    def remove(self, file: Path) -> None:
        """Remove a file, here and in the store; it need not exist."""
        file.unlink(missing_ok=True)
        if self.store is not None:
            self.store.delete([self._key(file)])

    def remove_folder(self, folder: Path) -> None:
        """Remove a folder with all that is in it, here and in the store; it need not exist."""
        if folder.is_dir():
            shutil.rmtree(folder)
        if self.store is not None:
            self.store.delete_folder(self._key(folder))

    def sizes(self, folder: Path) -> dict[str, int]:
        """Files below a folder -> their size in bytes; names are relative to the run directory."""
        if self.store is not None:
            return {key: found.size for key, found in self.store.listing(self._key(folder)).items()}
        return {self._key(path): path.stat().st_size for path in folder.rglob("*") if path.is_file()}

    def _key(self, path: Path) -> str:
        relative = path.relative_to(self.folder).as_posix()
        return "" if relative == "." else relative

    @property
    def exists(self) -> bool:
        """Whether a study was begun here."""
        return self.config_file.is_file()

    def set_aside(self) -> Path | str:
        """Rename the whole run directory, so that its name is free; returns the new location."""
        name = f"{self.folder.name}{_SET_ASIDE}{time.strftime('%Y%m%d-%H%M%S')}"
        with self.lock():
            if self.store is None:
                return self.folder.rename(self.folder.with_name(name))
            target = ObjectStore(f"{self.store.url.rpartition('/')[0]}/{name}")
            self.store.move_to(target)
            return target.url

    def set_aside_runs(self) -> frozenset[str]:
        """Ids of the runs that had this name before and were set aside, as far as their folders are still there."""
        root = self.folder.parent if self.store is None else self.store.url.rpartition("/")[0]
        found = set()
        for directory in find_runs(root, f"{self.folder.name}{_SET_ASIDE}"):
            # A damaged manifest of an old run is not this run's concern.
            with suppress(UsageError):
                found.add(str(directory.read_manifest().get("run_id", "")))
        return frozenset(found - {""})

    def write_config(self, config: StudyConfig) -> None:
        """Write the resolved configuration, complete."""
        self.write(self.config_file, dump_config(config).encode())

    def write(self, path: Path, content: bytes) -> None:
        """Write a file of the run directory durably."""
        path.parent.mkdir(parents=True, exist_ok=True)
        write_durably(path, content)
        self.publish(path)

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
        self.write(self.manifest_file, (json.dumps(manifest, indent=2) + "\n").encode())

    def is_complete(self, phase: Phase) -> bool:
        """Whether a phase has been completed."""
        return bool(self.read_manifest().get("phases", {}).get(phase, {}).get("state") == PhaseState.COMPLETE)

    def reopen(self, phases: Collection[Phase]) -> None:
        """Forget that phases were completed, because they have more to do."""
        manifest = self.read_manifest()
        manifest["phases"] = {name: phase for name, phase in manifest.get("phases", {}).items() if name not in phases}
        self.write_manifest(manifest)

    @contextmanager
    def phase(self, name: Phase) -> Iterator[None]:
        """Note a phase's beginning and, when the block ends without an exception, its completion."""
        manifest = self.read_manifest()
        phases = manifest.setdefault("phases", {})
        phases[name] = {"state": PhaseState.RUNNING, "started_at": time.time()}
        self.write_manifest(manifest)
        yield
        manifest = self.read_manifest()
        manifest["phases"][name] |= {"state": PhaseState.COMPLETE, "ended_at": time.time()}
        self.write_manifest(manifest)

    @contextmanager
    def lock(self) -> Iterator[None]:
        """Hold the run directory for this process.

        The operating system lets go of a folder when the process ends in any way; the hold on an address expires. At an address,
        everything that the store has is fetched before the block begins.

        Raises:
            UsageError: another process runs this study.
        """
        lock = self._take_lock()
        try:
            (self.folder / _LOCK).write_text(str(os.getpid()))
            if self.store is None:
                yield
            else:
                self._lease = Lease(self.store)
                with self._lease.held():
                    self.pull()
                    yield
        finally:
            if self.folder.is_dir() and not self.exists and [path.name for path in self.folder.iterdir()] == [_LOCK]:
                # Refused before it began: leave nothing behind.
                (self.folder / _LOCK).unlink()
                self.folder.rmdir()
            lock.release()

    def _take_lock(self) -> BaseFileLock:
        """The lock of the folder, held by this process."""
        lock = FileLock(self.folder / _LOCK, timeout=_LOCK_SECONDS, fallback_to_soft=False)
        while True:
            self.folder.mkdir(parents=True, exist_ok=True)
            try:
                lock.acquire()
                return lock
            except FileNotFoundError:
                # Its last holder has just deleted the folder.
                continue
            except Timeout as error:
                raise UsageError(
                    f"{self.folder}: process {self._lock_owner() or 'unknown'} is running this study. Wait, stop it, or choose"
                    " another --name"
                ) from error

    def _lock_owner(self) -> str:
        """Number of the process that holds the lock, as it wrote it; empty where it has written nothing or is gone."""
        try:
            return (self.folder / _LOCK).read_text(errors="replace").strip()
        except FileNotFoundError:
            return ""

    def is_running(self) -> bool:
        """Whether a process holds the lock."""
        if self.store is not None:
            return is_held(self.store)
        # By hand: `filelock` would create the file, and a look must leave nothing behind.
        try:
            descriptor = os.open(self.folder / _LOCK, os.O_RDWR)
        except FileNotFoundError:
            return False
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
        finally:
            os.close(descriptor)
        return False


def find_runs(root: Path | str, prefix: str = "") -> list[RunDirectory]:
    """The studies below a root whose names begin with a prefix, in the order of their names, to be read."""
    if isinstance(root, str) and is_remote(root):
        names = [name for name in ObjectStore(root).folders() if name.startswith(prefix)]
        found = (RunDirectory.to_read(join_location(root, name)) for name in names)
        return [directory for directory in found if directory.exists]
    folders = sorted(path.parent for path in Path(root).glob("*/study.yaml"))
    return [RunDirectory(folder) for folder in folders if folder.name.startswith(prefix)]
