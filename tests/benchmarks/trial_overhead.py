"""What a trial takes beyond its training: start, restore, report, checkpoint, stop. Ours in a warm worker, and the peer's.

One worker trains small trials one after the other. From the end of a trial to the end of the next one passes what that one
trained, and the overhead. The first trial, which warms up, is left out.
"""

from __future__ import annotations

import argparse
import statistics
import subprocess
import sys
import tempfile
from itertools import pairwise
from pathlib import Path

import yaml

from analysis.records.schema import TABLES
from analysis.records.segments import read_segments
from tests.benchmarks.compared_work import Work, export_embedded_cells, prepare_work, study_settings
from tests.benchmarks.speed_table import Figure, dump_figures, figure_of

FACTOR = 10
"""The peer's overhead should be so many times ours."""


def our_overheads(settings: dict[str, object], root: Path, trials: int) -> list[float]:
    """Seconds of each trial but the first."""
    search = {"mode": "random", "trials_per_arm": trials, "scheduler": "none"}
    alone = {"fractions": [1.0], "fusion": ["off"]}
    changed = settings | {"name": "overhead", "arms": alone, "search": search, "resources": {"workers": 1}}
    file = root / "overhead.yaml"
    file.write_text(yaml.safe_dump(changed), encoding="utf-8")
    runs = Path(tempfile.mkdtemp(dir=root))
    command = [sys.executable, "-m", "study", "run", str(file), "--root", str(runs)]
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
    epochs = read_segments(runs / "overhead" / "records" / "epochs", TABLES["epochs"])
    by_trial = epochs.groupby("trial_id").agg(ended=("time", "max"), trained=("seconds", "sum")).sort_values("ended")
    return (by_trial["ended"].diff() - by_trial["trained"]).iloc[1:].tolist()


def peer_overheads(work: Path, trials: int) -> list[float]:
    """The same of the peer."""
    command = [sys.executable, "-m", "tests.benchmarks.trial_overhead", "--peer", str(work), "--trials", str(trials)]
    done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True)
    return [float(seconds) for seconds in done.stdout.splitlines()[-1].split()]


def run_peer(work: Work, trials: int) -> list[float]:
    """Run the peer's trials of one arm one after the other, in this process."""
    import ray

    from tests.benchmarks.peer import start_ray, tune_arm

    start_ray()
    with tempfile.TemporaryDirectory() as storage:
        results = tune_arm(work, 1.0, "off", storage, trials=trials, at_once=1)
        ends = sorted((frame["ended"].max(), frame["trained"].sum()) for frame in results)
    ray.shutdown()
    return [end - before - trained for (before, _), (end, trained) in pairwise(ends)]


def measure(quick: bool, scratch: Path) -> Figure:
    """Both, in turn."""
    root = export_embedded_cells(scratch / "cells", scratch / "exported")
    settings = study_settings("overhead", scratch, root=str(root))
    _, work = prepare_work(settings, scratch)
    ours: list[float] = []
    peers: list[float] = []
    for _ in range(1 if quick else 3):
        ours += our_overheads(settings, scratch, 12)
        peers += peer_overheads(work, 4)
    factor = statistics.median(peers) / statistics.median(ours)
    note = (
        f"the peer's {statistics.median(peers):.2f} s ({min(peers):.2f} to {max(peers):.2f}), {factor:.0f} times as much; "
        f"trials of {settings['training']['epochs']} epochs, each with its checkpoint"  # type: ignore[index]  # a nested setting
    )
    return figure_of("overhead", ours, also=factor >= FACTOR, note=note)


def main() -> None:
    """Measure, and print the figure as one line of JSON."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--peer", help="Only run the peer's trials of this work and print their overheads.")
    parser.add_argument("--trials", type=int, default=4)
    arguments = parser.parse_args()
    if arguments.peer:
        print(*run_peer(Work.load(arguments.peer), arguments.trials))
        return
    with tempfile.TemporaryDirectory() as scratch:
        print(dump_figures([measure(arguments.quick, Path(scratch))]))


if __name__ == "__main__":
    main()
