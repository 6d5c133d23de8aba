"""What one more concurrent trial takes of a node's memory, while the images of all trials lie in memory once.

Trials at full width and 64 px train on 2,000 cached images of 360 px: first one at a time, then three at a time. Memory is the
proportional set size of the worker processes: a page that several of them map counts once. Its highest value with three less
that with one, halved, is what one more trial takes. How much of it is there before a trial trains is measured likewise, with
processes that import what a trial imports, and others that load the largest of the libraries that PyTorch's CUDA build brings.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import threading
from contextlib import suppress
from pathlib import Path

import psutil
import yaml

from study.config.files import load_config
from tests.benchmarks.input_speed import write_cells
from tests.benchmarks.speed_table import Figure, dump_figures, figure_of

MANY = 3
"""Trials at a time, beside one at a time."""


def highest_memory(settings: dict[str, object], scratch: Path, at_once: int) -> float:
    """The highest memory of the worker processes of a study with so many trials at a time, MB."""
    file = scratch / f"memory-{at_once}.yaml"
    file.write_text(yaml.safe_dump(settings | {"name": file.stem, "resources": {"workers": at_once}}), encoding="utf-8")
    command = [sys.executable, "-m", "study", "run", str(file), "--root", str(scratch / "runs")]
    # A small machine plays one with more cores.
    environment = os.environ | {"RAY_OVERRIDE_RESOURCES": json.dumps({"CPU": MANY})}
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, env=environment) as process:
        watched, highest = psutil.Process(process.pid), 0.0
        while process.poll() is None:
            highest = max(highest, sum(map(_proportional_bytes, _workers(watched))))
            threading.Event().wait(0.3)
    if process.returncode:
        raise SystemExit(f"the study ended with {process.returncode}")
    return highest / 1e6


def _workers(study: psutil.Process) -> list[psutil.Process]:
    """Worker processes of Ray below the study's that hold a trial."""
    found = []
    with suppress(psutil.NoSuchProcess):
        for process in study.children(recursive=True):
            with suppress(psutil.NoSuchProcess):
                title = " ".join(process.cmdline())
                if title.startswith("ray::") and "Trainable" in title:
                    found.append(process)
    return found


def _proportional_bytes(process: psutil.Process) -> int:
    with suppress(psutil.NoSuchProcess):
        return int(process.memory_full_info().pss)
    return 0


_IMPORTS = "import study.design.trials, models.classifier, ray.tune"

_CUDA_LIBRARIES = """
import ctypes, importlib.util, pathlib
found = importlib.util.find_spec("nvidia")
for folder in found.submodule_search_locations if found else []:
    for name in ("nvJitLink", "cublasLt", "nvrtc", "cufft", "cusparse"):
        for file in sorted(pathlib.Path(folder).glob(f"*/lib/lib{name}.so.*"))[:1]:
            ctypes.CDLL(str(file), mode=ctypes.RTLD_GLOBAL)
"""


def idle_memory(statements: str) -> float:
    """What one more process that has run these statements takes, MB; with `MANY` of them beside one."""
    totals = []
    for count in (1, MANY):
        command = [sys.executable, "-c", f"{statements}\nprint(flush=True)\ninput()"]
        processes = [
            subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) for _ in range(count)
        ]
        for process in processes:
            assert process.stdout is not None
            if process.stdout.readline() != "\n":
                raise SystemExit(f"a process that ran {statements!r} ended")
        totals.append(sum(_proportional_bytes(psutil.Process(process.pid)) for process in processes))
        for process in processes:
            process.communicate("\n")
    return (totals[1] - totals[0]) / (MANY - 1) / 1e6


def measure(scratch: Path, images: int) -> Figure:
    """One trial at a time beside several."""
    root = write_cells(scratch / "cells", images)
    overrides = [
        f"data.root={root}",
        f"data.cache_dir={scratch / 'cache'}",
        "data.test=none",
        "data.stored_size=original",
    ]
    overrides += ["training.epochs=2", "training.steps_per_epoch=6", "confirm.seeds=0", "search.scheduler=none"]
    overrides += ["arms.fractions=[1.0]", "arms.fusion=[off]", f"search.trials_per_arm={MANY}"]
    settings = load_config("local", overrides).model_dump(mode="json")
    one, many = (highest_memory(settings, scratch, at_once) for at_once in (1, MANY))
    pixels = sum(file.stat().st_size for file in (scratch / "cache").rglob("pixels.bin")) / 1e6
    imports = idle_memory(_IMPORTS)
    cuda = idle_memory(_CUDA_LIBRARIES) - idle_memory("import ctypes, importlib.util, pathlib")
    note = (
        f"one trial {one:.0f} MB, {MANY} at a time {many:.0f} MB, of which {pixels:.0f} MB at most are the images' pages; a"
        f" process that has imported what a trial needs and does nothing {imports:.0f} MB, CUDA libraries among it"
        f" {cuda:.0f} MB"
    )
    return figure_of("memory", [(many - one) / (MANY - 1)], note=note)


def main() -> None:
    """Measure, and print the figure as one line of JSON."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true")
    quick = parser.parse_args().quick
    with tempfile.TemporaryDirectory() as scratch:
        print(dump_figures([measure(Path(scratch), 400 if quick else 2000)]))


if __name__ == "__main__":
    main()
