"""How soon a study that was interrupted trains again.

Starts a study, interrupts it after some epochs, gives the same command again, and prints the seconds from the command to the
first gradient step: when the first new epoch was recorded, less its own duration.

    python -m tests.benchmarks.resume_start [PRESET_OR_YAML] [key=value ...]
"""

from __future__ import annotations

import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import pandas as pd

from analysis.records.schema import TABLES
from analysis.records.segments import read_segments

EPOCHS = 6
"""Recorded before the interruption."""


def main(arguments: list[str]) -> None:
    """Measure and print."""
    preset, *overrides = arguments or ["quick"]
    with tempfile.TemporaryDirectory() as scratch:
        epochs = Path(scratch) / "runs" / "resumed" / "records" / "epochs"
        command = [sys.executable, "-m", "study", "run", preset, "--name", "resumed", "--root", f"{scratch}/runs"]
        command += [part for override in overrides for part in ("--set", override)]
        _run_until(command, epochs, EPOCHS)
        known = set(_read(epochs)["sequence"])
        began = time.time()
        _run_until(command, epochs, len(known) + 1)
        new = _read(epochs)
        new = new[~new["sequence"].isin(known)]
        first = float((new["time"] - new["seconds"]).min())
        print(f"{preset}: the resumed study trained {first - began:.1f} s after the command (goal at most 20 s)")


def _run_until(command: list[str], epochs: Path, count: int) -> None:
    """Run the study until so many epochs are recorded, then interrupt it."""
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True) as process:
        while process.poll() is None and len(list(epochs.glob("*.jsonl"))) < count:
            time.sleep(0.1)
        process.send_signal(signal.SIGINT)
        code, said = process.wait(), process.stderr.read() if process.stderr else ""
    if code != 130:
        raise SystemExit(f"the study ended with {code} before it could be interrupted:\n{said}")


def _read(epochs: Path) -> pd.DataFrame:
    return read_segments(epochs, TABLES["epochs"])


if __name__ == "__main__":
    main(sys.argv[1:])
