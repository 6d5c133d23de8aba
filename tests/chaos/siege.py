"""A study under siege: its processes are killed at random moments, and its command is given again whenever it has ended."""

from __future__ import annotations

import random
import signal
import subprocess
import time
from collections import Counter
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path

import psutil

from tests.study.processes import below, title, trials_below
from tests.study.tiny import command

PATIENCE = 600
"""Seconds that a study may take to its next epoch, however busy the machine is."""


class Siege:
    """One study and what is done to it.

    Args:
        config: Configuration file.
        root: Where the run directory is made.
        seed: Decides moments and victims.
    """

    def __init__(self, config: Path, root: Path, seed: int):
        self.folder = root / "tiny"
        self.struck: Counter[str] = Counter()
        """Number of faults that hit, by kind."""
        self._command = command("run", config, "--root", root)
        self._log = (root.parent / "output.txt").open("a+")
        self.random = random.Random(seed)
        self._process: subprocess.Popen[bytes] | None = None

    def strike(self, kind: str, after_epochs: int) -> None:
        """Wait until the study has recorded some more epochs, then hit it.

        Args:
            kind: ``trial``, ``driver``, ``command``, ``raylet``, ``gcs_server`` (all SIGKILL) or ``interrupt`` (Ctrl-C).
            after_epochs: Epochs that must be recorded first.
        """
        self._start()
        wanted = self.epochs() + after_epochs
        self._wait(lambda: self.epochs() >= wanted)
        time.sleep(self.random.random() * 0.2)  # anywhere between two epochs
        victim = self._hit(kind)
        self.struck[kind] += 1
        if kind in ("command", "interrupt"):
            assert self._process is not None
            left = below(self._process.pid)
            code = self._ended()
            assert code == (-signal.SIGKILL if kind == "command" else 130), self.output()
            _, alive = psutil.wait_procs(left, timeout=60)
            assert not alive, f"left behind: {alive}"
        elif kind != "trial":
            # The supervisor takes the study up again, or has done so too often: then the command has ended.
            psutil.wait_procs([victim], timeout=60)

    def finish(self) -> int:
        """Leave the study alone until its command ends; returns the exit code."""
        self._start()
        return self._ended()

    def stop(self) -> None:
        """End what is running, whatever became of the test."""
        if self._process is not None and self._process.poll() is None:
            left = below(self._process.pid)
            self._process.kill()
            self._process.wait()
            psutil.wait_procs(left, timeout=60)
        self._log.close()

    def epochs(self) -> int:
        """Number of recorded epochs."""
        # One file each: a siege is over before there are so many that they are merged.
        return len(list((self.folder / "records" / "epochs").glob("*.jsonl")))

    def output(self) -> str:
        """Text that all runs of the command have printed."""
        self._log.seek(0)
        return self._log.read()

    def _start(self) -> None:
        if self._process is None or self._process.poll() is not None:
            self._process = subprocess.Popen(self._command, stdout=self._log, stderr=subprocess.STDOUT)

    def _ended(self) -> int:
        assert self._process is not None
        return self._process.wait(timeout=PATIENCE)

    def _wait(self, reached: Callable[[], bool]) -> None:
        deadline = time.monotonic() + PATIENCE
        while not reached():
            assert time.monotonic() < deadline, self.output()
            assert self._process is not None
            if self._process.poll() is not None:
                # Its processes died once too often for the supervisor; a finished study would leave nothing to strike.
                assert self._process.returncode == 1 and "died 4 times" in self.output(), self.output()
                self._start()
            time.sleep(0.02)

    def _hit(self, kind: str) -> psutil.Process:
        """Send the signal to a process that is alive; returns the process."""
        found: list[psutil.Process] = []

        def look() -> bool:
            found[:] = self._victims(kind)
            return bool(found)

        while True:
            self._wait(look)
            victim = self.random.choice(found)
            with suppress(psutil.NoSuchProcess):
                victim.send_signal(signal.SIGINT if kind == "interrupt" else signal.SIGKILL)
                return victim

    def _victims(self, kind: str) -> Sequence[psutil.Process]:
        assert self._process is not None
        if kind in ("command", "interrupt"):
            return [psutil.Process(self._process.pid)] if self._process.poll() is None else []
        if kind == "trial":
            return trials_below(self._process.pid)
        victims = []
        for process in below(self._process.pid):
            with suppress(psutil.NoSuchProcess):
                if kind == "driver":
                    found = process.ppid() == self._process.pid and "-m study run" in title(process)
                else:
                    found = process.name() == kind
                victims += [process] * found
        return victims
