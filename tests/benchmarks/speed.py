"""All measures of speed: one table with the goals beside the figures, and as JSON at the path in ``BENCH_JSON``.

    make bench          # everything, with repetitions: the machine must have nothing else to do
    make bench-quick    # a reduced one in less than three minutes
    python -m tests.benchmarks.speed step input    # some of them, by their ids

Every measure runs in a process of its own and compares two things side by side, in turn, so that both meet the same machine. No
absolute time is asserted anywhere.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

import psutil
from rich.console import Console

from tests.benchmarks.speed_table import GOALS, Figure, load_figures, markdown, print_table, write_json

JSON_VARIABLE = "BENCH_JSON"

PROGRAMS: dict[tuple[str, ...], list[str]] = {
    ("step", "step_quick", "fusion"): ["step_speed"],
    ("input",): ["input_speed"],
    ("overhead",): ["trial_overhead"],
    ("study_peer",): ["study_time", "embedded"],
    ("study_real", "study_loop"): ["study_time", "real"],
    ("makespan",): ["study_time", "makespan"],
    ("driver",): ["driver_scale", "driver"],
    ("workers",): ["driver_scale", "workers"],
    ("memory",): ["node_memory"],
}
"""Ids of measures -> the module, and its arguments, that takes them."""

QUICK = ("step", "step_quick", "fusion", "input", "overhead")
"""What fits into three minutes."""


def run_program(ids: Sequence[str], arguments: Sequence[str], quick: bool) -> tuple[list[Figure], bool]:
    """The figures of one program, without values where it failed, and whether it ended well."""
    module, *rest = arguments
    command = [sys.executable, "-m", f"tests.benchmarks.{module}", *rest, *(["--quick"] if quick else [])]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        reason = done.stderr.strip().rpartition("\n")[2] or f"exit code {done.returncode}"
        return [Figure(id_, None, note=f"could not be measured: {reason}") for id_ in ids], False
    return load_figures(done.stdout.splitlines()[-1]), True


def describe_machine() -> str:
    """Processor, cores and memory, and what else ran when it began."""
    from study.storage.provenance import describe_environment

    hardware = describe_environment()["hardware"]
    memory = psutil.virtual_memory().total / 2**30
    return (
        f"{hardware['processor']}, {hardware['cores']} cores, {memory:.0f} GiB; "
        f"load {os.getloadavg()[0]:.1f} before the start"
    )


def main() -> int:
    """Measure, print, write; 1 where a program failed (a goal that is missed is a result)."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("ids", nargs="*", choices=[*GOALS, []], metavar="ID", help="All when none is given.")
    parser.add_argument("--quick", action="store_true", help="Fewer repetitions of what fits into three minutes.")
    parser.add_argument("--markdown", type=Path, help="Also write the table to this file, as README shows it.")
    arguments = parser.parse_args()
    wanted = set(arguments.ids or (QUICK if arguments.quick else GOALS))
    console, machine, began = Console(highlight=False), describe_machine(), time.monotonic()
    found: dict[str, Figure] = {}
    all_well = True
    for ids, program in PROGRAMS.items():
        if wanted.isdisjoint(ids):
            continue
        console.print(f"[{time.monotonic() - began:4.0f} s] {', '.join(ids)} ...", markup=False)
        measured, well = run_program(ids, program, arguments.quick)
        found |= {figure.id: figure for figure in measured}
        all_well &= well
    figures = [found[id_] for id_ in GOALS if id_ in found and id_ in wanted]
    print_table(figures, machine, console)
    path = os.environ.get(JSON_VARIABLE)
    if path:
        write_json(Path(path), figures, machine)
        console.print(f"Written: {path}", markup=False)
    if arguments.markdown:
        arguments.markdown.write_text(markdown(figures, machine), encoding="utf-8")
        console.print(f"Written: {arguments.markdown}", markup=False)
    return int(not all_well)


if __name__ == "__main__":
    sys.exit(main())
