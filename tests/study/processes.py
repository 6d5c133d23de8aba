"""What runs below a process, which of it trains, and how far it is: for tests that kill or stop it."""

from __future__ import annotations

from contextlib import suppress

import psutil


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
