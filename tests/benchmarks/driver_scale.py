"""What the driver costs when there are many trials and many workers: searches whose trials train nothing.

    python -m tests.benchmarks.driver_scale driver|workers [--quick]

Everything but the training is that of a study: searcher (the configured one, `tpe` by default), rungs, records, Optuna's journal,
Ray Tune with warm workers.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path

import psutil

from analysis.records.schema import TABLES, Phase
from analysis.records.segments import read_segments
from study.config.files import load_config
from study.config.study import StudyConfig
from study.design.arms import list_arms
from study.execution.capacity import ElasticSlots, Reservation
from study.execution.experiment import run_trials
from study.execution.ray_session import ray_session
from study.search.optuna_mirror import OptunaMirror, search_space
from study.search.plans import ArmPlan
from study.search.queue import TrialQueue
from study.search.rungs import Rungs
from study.search.searchers import make_searcher
from study.storage.records import RecordWriter
from study.storage.run_directory import RunDirectory
from tests.benchmarks.speed_table import Figure, dump_figures, figure_of
from tests.benchmarks.utilisation import utilisation
from tests.benchmarks.waiting_trials import SECONDS, WaitingTrainable

ARMS = 8

MEMORY_MB = 200
"""Resident memory that thousands of trials may add to the driver."""

IN_MEMORY = Path("/dev/shm")
"""Where there is one: a file system in memory. A disk's has work of its own with files that come and go by the hundred a second
(ext4 passes over every inode that was freed in the last minutes when it looks for one), and the difference shows how much.
"""

ROOM = 2**30
"""Bytes that must be free there: Ray keeps its objects in it too."""


def make_queue(
    config: StudyConfig, directory: RunDirectory, ended: Callable[[str, str], None] | None = None
) -> TrialQueue:
    """The queue of a search as the pipeline makes it, without images: searcher, rungs, records and Optuna's journal."""
    search = config.search
    plans = [
        ArmPlan(
            phase=Phase.SEARCH,
            arm=arm,
            searcher=make_searcher(search, config.seed, arm.name),
            seeds=[config.seed] * search.budget,
            epochs=config.training.epochs,
            cost=config.training.epochs,
            rungs=Rungs(search.grace_epochs, config.training.epochs, search.reduction_factor)
            if search.scheduler == "asha"
            else None,
        )
        for arm in list_arms(config)
    ]
    directory.folder.mkdir(parents=True)
    mirror = None
    if search.storage == "journal":
        mirror = OptunaMirror(
            "journal",
            directory.folder,
            study=config.name,
            owner="benchmark",
            space=search_space(search),
            metric=search.metric,
            warn=print,
        )
        empty = (read_segments(directory.records / name, TABLES[name]) for name in ("trials", "epochs"))
        mirror.rebuild([arm.name for arm in list_arms(config)], *empty)
    return TrialQueue(plans, RecordWriter(directory.records), metric=search.metric, ended=ended, mirror=mirror)


@dataclass
class Spent:
    """What this process spent from the end of the first trial on, when everything is warm."""

    trials: int
    cpu: float = 0.0
    wall: float = 0.0
    memory: int = 0
    """Bytes of resident memory that were added."""
    begun: bool = False

    @property
    def each(self) -> float:
        """CPU time of a trial, ms."""
        return 1e3 * self.cpu / self.trials

    def mark(self) -> None:
        """Begin at the first call, then say how much it was until now."""
        now = time.process_time(), time.perf_counter(), psutil.Process().memory_info().rss
        if not self.begun:
            self._from, self.begun = now, True
        self.cpu, self.wall, self.memory = (float(b - a) for a, b in zip(self._from, now, strict=True))


def run_waiting(config: StudyConfig, directory: RunDirectory, queue: TrialQueue) -> None:
    """Let the trials of a queue wait, as many at once as the cores allow."""
    reservation = Reservation(config.resources.cpu)
    slots = ElasticSlots(reservation, config.resources.workers, print)
    run_trials(config, directory, queue, reservation, slots, "no images", WaitingTrainable)


def run_many(count: int, folder: str | None) -> Spent:
    """A search of so many trials of two epochs, each of which ends at once, with two workers; files go below the folder."""
    overrides = [f"search.trials_per_arm={count // ARMS}", "training.epochs=2", "search.grace_epochs=1"]
    config = load_config("quick", overrides)
    spent = Spent(count - 1)
    with tempfile.TemporaryDirectory(dir=folder) as scratch, ray_session(None):
        directory = RunDirectory(Path(scratch) / "many")
        queue = make_queue(config, directory, lambda trial_id, phase: None if spent.begun else spent.mark())
        run_waiting(config, directory, queue)
        spent.mark()
        assert queue.finished
    return spent


def measure_driver(quick: bool) -> Figure:
    """Few trials and many, in processes of their own, in turn; then once more without a disk."""
    few, many = (80, 400) if quick else (200, 5000)

    def run(count: int, folder: Path | None = None) -> Spent:
        where = [] if folder is None else ["--folder", str(folder)]
        done = subprocess.run(
            [sys.executable, "-m", "tests.benchmarks.driver_scale", "run", "--trials", str(count), *where],
            check=True,
            stdout=subprocess.PIPE,
            text=True,
        )
        return Spent(**json.loads(done.stdout.splitlines()[-1]))

    before, large, after = run(few), run(many), run(few)
    note = (
        f"{many:,} trials {large.each:.1f} ms each, {few} trials {before.each:.1f} and {after.each:.1f} ms (CPU time of the"
        f" driver); {1e3 * large.wall / large.trials:.1f} ms of wall time; resident memory grew by {large.memory / 1e6:.0f} MB"
    )
    if _is_another_file_system(IN_MEMORY):
        light, heavy = run(few, IN_MEMORY), run(many, IN_MEMORY)
        note += (
            f"; with the run directory in memory {heavy.each:.1f} and {light.each:.1f} ms, a ratio of"
            f" {heavy.each / light.each:.2f} (one run each)"
        )
    return figure_of(
        "driver",
        [large.each / small.each for small in (before, after)],
        also=large.memory / 1e6 <= MEMORY_MB,
        note=note,
    )


def _is_another_file_system(folder: Path) -> bool:
    """Whether a folder is there, with room, and not where temporary files lie anyway."""
    if not folder.is_dir() or shutil.disk_usage(folder).free < ROOM:
        return False
    return folder.stat().st_dev != Path(tempfile.gettempdir()).stat().st_dev


def measure_workers(quick: bool) -> Figure:
    """Many slots on a simulated node: how much of the time trials wait in them."""
    slots, trials, seconds = (8, 40, 2.0) if quick else (64, 1000, 5.0)
    os.environ[SECONDS] = str(seconds)
    os.environ["RAY_OVERRIDE_RESOURCES"] = json.dumps({"CPU": slots})
    overrides = [f"search.trials_per_arm={trials // ARMS}", "training.epochs=1", "search.mode=random"]
    with tempfile.TemporaryDirectory() as scratch, ray_session(None):
        config = load_config("quick", overrides)
        directory = RunDirectory(Path(scratch) / "workers")
        began = time.time()
        run_waiting(config, directory, make_queue(config, directory))
        epochs, rows = (read_segments(directory.records / name, TABLES[name]) for name in ("epochs", "trials"))
    assert len(epochs) == trials
    processes = epochs["trial_id"].map(
        rows.drop_duplicates("trial_id", keep="last").set_index("trial_id")["parameters"]
    )
    begins = (epochs["time"] - epochs["seconds"] - began).tolist()
    used = utilisation(begins, processes.tolist(), seconds, slots)
    note = (
        f"{trials:,} trials; all {slots} slots had their process {used.ramp_up:.1f} s after the start (the processes share"
        f" {os.cpu_count()} cores, and each takes some seconds of one to import Ray Tune); from then until the last trial ended"
    )
    if not math.isnan(used.while_trials_were_left):
        note += f"; counted only until the last trial began: {used.while_trials_were_left:.3f}"
    return figure_of("workers", [used.share], note=note)


def main() -> None:
    """Measure, and print the figure as one line of JSON."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("part", choices=["driver", "workers", "run"], help="`run` is what `driver` runs.")
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--trials", type=int, default=200)
    parser.add_argument("--folder", help="Where `run` keeps its files; the system's temporary folder when not given.")
    arguments = parser.parse_args()
    # Workers look for modules where the project was installed; tests are not part of it.
    os.environ["PYTHONPATH"] = str(Path(__file__).parents[2])
    if arguments.part == "run":
        print(json.dumps(asdict(run_many(arguments.trials, arguments.folder))))
    else:
        measure = measure_driver if arguments.part == "driver" else measure_workers
        print(dump_figures([measure(arguments.quick)]))


if __name__ == "__main__":
    main()
