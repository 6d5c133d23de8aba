"""Whole studies, from the command to its end: ours, the peer's and the plain loop's, one after the other; and a longer search.

Each is a program of its own and pays for everything: imports, Ray's start, decoding, features, records, report. Ours begins
without a cache of images. Every round runs all of them, each time in another order.
"""

from __future__ import annotations

import argparse
import shutil
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

from analysis.records.schema import TABLES
from analysis.records.segments import read_segments
from study.storage.run_directory import RunDirectory
from tests.benchmarks.compared_work import (
    FRACTIONS,
    FUSIONS,
    REAL_CELLS,
    TRIALS,
    export_embedded_cells,
    prepare_work,
    study_settings,
)
from tests.benchmarks.repetition import timed
from tests.benchmarks.speed_table import Figure, dump_figures, figure_of

REAL = {"image_size": 64, "stored_size": 128, "crop_scale": [0.3, 1.0], "test": "none"}
"""Settings of `data` for real cells: those of the preset local; none are set aside, so that all programs train on the same."""

MANY_TRIALS = 6
"""Number of trials of each arm where the search alone is looked at."""

_MISSING = f"needs the real cells of {REAL_CELLS}/wbc, which are not there"


class Programs:
    """The programs that do the same work."""

    def __init__(self, settings: dict[str, Any], scratch: Path):
        self._scratch = scratch
        self._study, self._work = prepare_work(settings, scratch)

    def ours(self) -> float:
        """Wall seconds of this project."""
        runs = self._scratch / "runs"
        for folder in (runs, self._scratch / "cache"):
            shutil.rmtree(folder, ignore_errors=True)
        return timed(lambda: _run("study", "run", str(self._study), "--root", str(runs)))

    def peer(self) -> float:
        """Wall seconds of Ray Tune as its guides show it."""
        return timed(lambda: _run("tests.benchmarks.peer", str(self._work)))

    def loop(self) -> float:
        """Wall seconds of the loop without Ray."""
        return timed(lambda: _run("tests.benchmarks.plain_loop", str(self._work)))


def _run(module: str, *arguments: str) -> None:
    subprocess.run([sys.executable, "-m", module, *arguments], check=True, stdout=subprocess.DEVNULL)


def makespan(directory: RunDirectory) -> tuple[float, float]:
    """How much longer a search took than its trials would have, had every worker trained all the time.

    From the beginning of the phase, when no worker process is there, to its end. A trial's seconds are those of its training
    and validation.

    Returns:
        The ratio, and the seconds until the first trial trained.
    """
    phase = directory.read_manifest()["phases"]["search"]
    epochs = read_segments(directory.records / "epochs", TABLES["epochs"])
    workers = directory.read_manifest()["hardware"]["cores"]  # a trial takes one
    first = (epochs["time"] - epochs["seconds"]).min() - phase["started_at"]
    return float((phase["ended_at"] - phase["started_at"]) / (epochs["seconds"].sum() / workers)), float(first)


def rounds(programs: list[Callable[[], float]], repetitions: int) -> list[list[float]]:
    """Wall seconds of every program in every round."""
    found: list[list[float]] = [[] for _ in programs]
    for number in range(repetitions):
        order = range(len(programs)) if number % 2 == 0 else reversed(range(len(programs)))
        for i in order:
            found[i].append(programs[i]())
    return found


def _ratio(id_: str, others: list[float], ours: list[float], note: str) -> Figure:
    each = f"{statistics.median(others):.1f} s beside {statistics.median(ours):.1f} s; {note}"
    return figure_of(id_, [other / mine for other, mine in zip(others, ours, strict=True)], note=each)


def measure_embedded(scratch: Path, repetitions: int) -> list[Figure]:
    """Generated cells at 32 px."""
    root = export_embedded_cells(scratch / "cells", scratch / "exported")
    programs = Programs(study_settings("embedded", scratch, root=str(root)), scratch)
    ours, peer = rounds([programs.ours, programs.peer], repetitions)
    return [_ratio("study_peer", peer, ours, _amount(6))]


def measure_real(scratch: Path, repetitions: int) -> list[Figure]:
    """Real cells at 64 px."""
    if not (REAL_CELLS / "wbc").is_dir():
        return [Figure(id_, None, note=_MISSING) for id_ in ("study_real", "study_loop")]
    settings = study_settings("real", scratch, root=str(REAL_CELLS.resolve()), **REAL)
    programs = Programs(settings, scratch)
    ours, peer, loop = rounds([programs.ours, programs.peer, programs.loop], repetitions)
    return [
        _ratio("study_real", peer, ours, _amount(6)),
        _ratio("study_loop", loop, ours, "all cores for one trial at a time"),
    ]


def measure_makespan(scratch: Path) -> list[Figure]:
    """A search of minutes on real cells: the sixteen trials of the comparison are over while processes still start."""
    if not (REAL_CELLS / "wbc").is_dir():
        return [Figure("makespan", None, note=_MISSING)]
    settings = study_settings("real", scratch, root=str(REAL_CELLS.resolve()), **REAL)
    settings["search"] |= {"trials_per_arm": MANY_TRIALS, "tpe_startup": MANY_TRIALS}
    Programs(settings, scratch).ours()
    ratio, first = makespan(RunDirectory(scratch / "runs" / "real"))
    note = (
        f"a search of {len(FRACTIONS) * len(FUSIONS) * MANY_TRIALS} trials of 3 epochs on real cells at 64 px, from its beginning"
        f" without a worker process to its end; the first trial trains after {first:.1f} s; a trial's seconds are its training"
        " and validation"
    )
    return [Figure("makespan", ratio, note=note)]


def _amount(steps: int) -> str:
    return f"{len(FRACTIONS) * len(FUSIONS)} arms x {TRIALS} trials x 3 epochs of {steps} steps"


def main() -> None:
    """Measure, and print the figures as one line of JSON."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("part", choices=["embedded", "real", "makespan"])
    parser.add_argument("--quick", action="store_true")
    arguments = parser.parse_args()
    # A round of real cells takes a quarter of an hour.
    repetitions = 1 if arguments.quick else 2 if arguments.part == "real" else 3
    with tempfile.TemporaryDirectory() as folder:
        scratch = Path(folder)
        if arguments.part == "makespan":
            found = measure_makespan(scratch)
        else:
            found = (measure_embedded if arguments.part == "embedded" else measure_real)(scratch, repetitions)
        print(dump_figures(found))


if __name__ == "__main__":
    main()
