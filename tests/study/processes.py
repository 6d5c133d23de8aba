"""What runs below a process, which of it trains, and how far it is: for tests that kill or stop it."""

from __future__ import annotations

import subprocess
import time
from contextlib import suppress
from pathlib import Path

import psutil
import pytest


def below(pid: int) -> list[psutil.Process]:
    """A process's descendants; none when it has ended."""
    with suppress(psutil.NoSuchProcess):
        return psutil.Process(pid).children(recursive=True)
    return []


def title(process: psutil.Process) -> str:
    """A process's command line; empty when it has ended."""
    with suppress(psutil.NoSuchProcess):
        return " ".join(process.cmdline())
    return ""


def trials_below(pid: int) -> list[psutil.Process]:
    """Those that train a trial; none between two phases."""
    return [process for process in below(pid) if "Trainable" in title(process)]


def wait_for_epochs(folder: Path, count: int, process: subprocess.Popen[str]) -> None:
    """Until the study has recorded `count` epochs. Polls the records: they are what the kill has to hit in the middle."""
    deadline = time.monotonic() + 240
    while process.poll() is None and time.monotonic() < deadline:
        if len(list((folder / "records" / "epochs").glob("*.jsonl"))) >= count:
            return
        time.sleep(0.05)
    output = process.communicate()[0] if process.poll() is not None else "still running"
    pytest.fail(f"the study did not record {count} epochs: {output}")
