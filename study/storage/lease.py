"""One driver for each study in an object store: a claim that its holder keeps renewing, and that expires with its process.

An object store has no locks. A process that wants a study writes an object of its own below ``.lease/`` and then lists the
folder. A store shows at once what was written: when two processes claim a study at the same time, at least one sees the other,
and no process takes a study while it sees another claim. A claim says whether its owner holds the study or only tries. A process
gives up when it sees a holder renew its claim. When several processes try, the one with the least key insists, the others
withdraw and try again. A claim that is no longer renewed is nobody's. All times are the store's, so that clocks may differ.
"""

from __future__ import annotations

import json
import os
import random
import socket
import threading
import time
from contextlib import contextmanager, suppress
from pathlib import Path
from time import monotonic, sleep
from typing import TYPE_CHECKING, Any
from uuid import uuid4

import psutil

from analysis.records.errors import StudyError
from analysis.records.object_store import StoreUnreachable
from study.errors import StudyFailed, UsageError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from analysis.records.object_store import ObjectStore

_FOLDER = ".lease"
"""Folder of the claims in the store."""

_SECONDS = 60.0
"""Seconds after which a claim that was not renewed is nobody's."""


class Lease:
    """The right to write to a study's address."""

    def __init__(self, store: ObjectStore, seconds: float = _SECONDS):
        """Claim nothing yet.

        Args:
            store: Object store at the study's address.
            seconds: Seconds after which a claim that was not renewed is nobody's. It is renewed six times as often.
        """
        self._store, self._seconds = store, seconds
        self._key = f"{_FOLDER}/{uuid4().hex}.json"
        self._renewed = -float("inf")
        self._ended = threading.Event()

    @contextmanager
    def held(self) -> Iterator[None]:
        """Hold the study for the length of the block.

        Raises:
            UsageError: another process holds it and is alive.
        """
        self._acquire()
        self._ended.clear()
        thread = threading.Thread(target=self._keep_renewing, daemon=True)
        thread.start()
        try:
            yield
        finally:
            self._ended.set()
            thread.join()
            with suppress(StoreUnreachable, StudyError):  # it expires
                self._withdraw()

    def check(self) -> None:
        """Raise where the study may be another's by now.

        Raises:
            StudyFailed: the claim could not be renewed in time.
        """
        if monotonic() - self._renewed > self._seconds:
            raise StudyFailed(
                f"{self._store.url}: could not be reached for {self._seconds:.0f} s, and another process may run this study by"
                " now. Nothing recorded is lost; run the same command again"
            )

    def _acquire(self) -> None:
        """Claim the study; wait while another claim may be that of a process that has died or that withdraws."""
        last_seen: dict[str, tuple[int, float]] = {}
        while True:
            began = monotonic()
            self._store.write(self._key, self._claim(holds=False))
            others = self._others()
            if not others:
                self._store.write(self._key, self._claim(holds=True))
                self._renewed = began
                return
            if self._key > min(others):
                self._withdraw()
            for key, written in others.items():
                seen, since = last_seen.setdefault(key, (written, began))
                if written > seen:
                    claim = self._read(key)
                    if claim is not None and claim["holds"]:
                        self._withdraw()
                        raise UsageError(
                            f"{self._store.url}: process {claim['process']} on {claim['host']} is running this study. Wait, stop"
                            " it, or choose another --name"
                        )
                    last_seen[key] = (written, began)
                elif began - since > self._seconds:
                    # It was not renewed for all of this time.
                    self._store.delete([key])
            sleep(self._seconds / 30 * (1 + random.random()))

    def _claim(self, *, holds: bool) -> bytes:
        """Content of this process's claim: who it is, and whether it holds the study or only tries."""
        return json.dumps(
            {
                "holds": holds,
                "host": socket.gethostname(),
                "process": os.getpid(),
                "boot": _boot(),
                "started": psutil.Process().create_time(),
            }
        ).encode()

    def _read(self, key: str) -> dict[str, Any] | None:
        """A claim; None when it was withdrawn meanwhile."""
        try:
            return dict(json.loads(self._store.read(key)))
        except FileNotFoundError:
            return None

    def _others(self) -> dict[str, int]:
        """Claims of other processes that may be alive -> when they were written, in ns of the store's clock."""
        found = self._store.listing(_FOLDER)
        now = found[self._key].time_ns
        others = {}
        for key, each in found.items():
            if key == self._key:
                continue
            expired = now - each.time_ns > (self._seconds + 1) * 1e9  # a second more: times may be whole seconds
            if expired or self._is_dead(key):
                self._store.delete([key])
            else:
                others[key] = each.time_ns
        return others

    def _is_dead(self, key: str) -> bool:
        """Whether the owner of a claim was a process of this machine and is gone: nobody has to wait until it expires."""
        claim = self._read(key)
        if claim is None:
            return True
        if claim["boot"] != _boot() or claim["host"] != socket.gethostname():
            return False
        try:
            return abs(psutil.Process(claim["process"]).create_time() - float(claim["started"])) > 1
        except psutil.NoSuchProcess:
            return True

    def _keep_renewing(self) -> None:
        """Renew the claim until the block ends."""
        while not self._ended.wait(self._seconds / 6):
            began = monotonic()
            try:
                self._store.write(self._key, self._claim(holds=True))
            except (StoreUnreachable, StudyError):
                continue  # `check` says so when it has lasted too long
            self._renewed = began

    def _withdraw(self) -> None:
        self._store.delete([self._key])


def is_held(store: ObjectStore, seconds: float = _SECONDS) -> bool:
    """Whether a process holds or wants a study, as far as this machine's clock tells."""
    return any(time.time() - each.time_ns / 1e9 < seconds for each in store.listing(_FOLDER).values())


def _boot() -> str:
    """Id of this run of this machine's kernel; empty where there is none. Containers on one machine share it."""
    try:
        return Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    except OSError:
        return ""
