"""Takes a study up again when its process dies: a parent without Ray or torch in it."""

from __future__ import annotations

import ctypes
import os
import signal
import subprocess
import sys
import threading
from contextlib import suppress
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

ATTEMPTS = 3
"""How often a study is taken up again after its process died."""

INTERRUPTED = 130
"""Exit code of a study that was interrupted."""

_MARK = "WBC_STUDY_SUPERVISED"
"""Set in the environment of the process that does the work."""


def is_supervised() -> bool:
    """Whether this process is the one that does the work."""
    return _MARK in os.environ


def die_with_supervisor() -> None:
    """End this process at once when its supervisor is gone, as if both had been killed: nobody would be left to stop it."""
    pipe = int(os.environ[_MARK])

    def wait() -> None:
        os.read(pipe, 1)  # nothing is ever written: this returns when the other end is closed
        kill_descendants()
        os._exit(1)

    threading.Thread(target=wait, daemon=True).start()


def kill_descendants() -> None:
    """Kill every process below this one: some of Ray's outlive the others for a minute when their parent is killed."""
    import psutil

    below = psutil.Process().children(recursive=True)
    for process in below:
        with suppress(psutil.NoSuchProcess):
            process.kill()
    psutil.wait_procs(below, timeout=10)


def _adopt_orphans() -> None:
    """Become the parent of processes whose own parent dies (Linux only; elsewhere they are not found)."""
    if sys.platform == "linux":
        pr_set_child_subreaper = 36  # linux/prctl.h
        ctypes.CDLL(None).prctl(pr_set_child_subreaper, 1, 0, 0, 0)


def supervise(arguments: Sequence[str], say: Callable[[str], None], final_codes: Mapping[int, int]) -> int:
    """Run the command again in a process of its own, and once more whenever that process dies.

    When one of Ray's daemons is killed, Ray ends the process that talks to it, at once and without an exception that could be
    caught. The records are durable, so the study continues.

    Args:
        arguments: Arguments of the command line.
        say: Prints a line.
        final_codes: Exit codes with which a process ends knowingly, and what each means to the caller.

    Returns:
        What the last process ended with; 1 when it died once too often.
    """
    _adopt_orphans()
    for attempt in range(ATTEMPTS + 1):
        code, interrupted = _run(arguments)
        kill_descendants()
        if code in final_codes:
            return final_codes[code]
        if interrupted:
            return INTERRUPTED  # the signal came before the process was ready to answer it
        reason = f"signal {signal.Signals(-code).name}" if code < 0 else f"exit code {code}"
        if attempt < ATTEMPTS:
            say(
                f"The study's process died ({reason}), perhaps with one of Ray's. Taking it up again: {attempt + 1} of {ATTEMPTS}"
            )
    say(f"Failed: the study's process died {ATTEMPTS + 1} times, at last with {reason}. The same command continues.")
    return 1


def _run(arguments: Sequence[str]) -> tuple[int, bool]:
    """One process, to its end. Signals are passed on; the process decides how to end.

    Returns:
        Its exit code, and whether a signal was passed on.
    """
    received: list[int] = []
    children: list[subprocess.Popen[bytes]] = []

    def forward(number: int, _: Any) -> None:
        received.append(number)
        for child in children:
            child.send_signal(number)

    read_end, write_end = os.pipe()
    # Before the process is there: a signal in between must not end this one alone.
    before = {number: signal.signal(number, forward) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        with subprocess.Popen(
            # Safe path: the working directory of a user may well hold a folder `models` or a file analysis.py of their own.
            [sys.executable, "-P", "-m", "study", *arguments],
            env={**os.environ, _MARK: str(read_end)},
            pass_fds=(read_end,),
            # Ctrl-C on a terminal would otherwise reach it twice.
            process_group=0,
        ) as child:
            early = list(received)
            children.append(child)
            for number in early:
                child.send_signal(number)
            return child.wait(), bool(received)
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
        os.close(read_end)
        os.close(write_end)
