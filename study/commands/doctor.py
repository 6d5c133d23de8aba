"""What this machine offers, and what a study on it would take."""

from __future__ import annotations

import os
import shutil
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import psutil
from rich.console import Console
from rich.table import Table
from rich.text import Text

from study.config.files import load_config
from study.errors import StudyFailed
from study.pipeline.estimate import PROCESS_BYTES, ImageCounts, estimate_seconds, seconds_per_image_step, slots_here
from study.terminal.progress import format_duration

if TYPE_CHECKING:
    from collections.abc import Callable

    from study.config.study import StudyConfig

GOOD, NOTE, BAD = "ok", "note", "missing"
"""States of a finding: nothing to do; works, but worth knowing; a study cannot run."""

BROWSERS = ("chromium", "chromium-browser", "google-chrome")

_LEAST_MEMORY, _LEAST_DISK = 2 * 2**30, 2 * 2**30
"""Bytes: a driver, Ray's processes and one worker; image cache and checkpoints of a small study."""

_PROBED_PIXELS = 200_000
"""Of a measured training step at most: 4 crops of 224 px, which take a second on a slow core."""

PUBLISHED_TRAIN = {0.01: 82, 0.1: 842, 0.5: 4223, 1.0: 8447}
PUBLISHED_VALIDATION, PUBLISHED_SIDE = 1728, 575
"""Blood cells of the published study, and their side in px: what presets that bring no images are reckoned on."""


@dataclass(frozen=True)
class Finding:
    """One thing that was looked at."""

    what: str
    state: str
    found: str


@dataclass(frozen=True)
class PresetTime:
    """What one preset would take."""

    preset: str
    images_per_second: float
    """Training images, of one trial."""
    slots: int
    seconds: float
    """Of the whole study, with no early stopping."""
    on: str
    """Of which images."""


def examine(root: Path, cache: Path) -> list[Finding]:
    """Look at processors, memory, disk, GPU, Ray and browser.

    Args:
        root: Where studies are written.
        cache: Where decoded images are kept.
    """
    return [_processors(), _memory(), *_disks(root, cache), _gpu(), _ray(), _browser()]


def estimate_presets(names: tuple[str, ...] = ("quick", "local", "published")) -> list[PresetTime]:
    """Measure training steps of each preset for some seconds and reckon what its study would take here.

    `quick` brings its own images; the others are reckoned on as many blood cells as the published study had, with encoders that
    exist already. `wbc-study run CONFIG --dry-run` says it for your own images.
    """
    times = []
    for name in names:
        # The folder source needs a root to be valid; nothing is read from it.
        given = [] if name == "quick" else ["data.root=."]
        config = load_config(name, given)
        measured = _measure(config)
        if name == "quick":
            synthetic = config.data.synthetic
            train = {fraction: max(1, round(fraction * synthetic.train)) for fraction in config.arms.fractions}
            images = ImageCounts(train, synthetic.validation, float(config.data.image_size**2))
            pretraining = (
                synthetic.prcc * config.pretrain.prcc.epochs + synthetic.cam16_train * config.pretrain.cam16.epochs
            )
            on = f"{synthetic.train:,} generated cells"
        else:
            images, pretraining = _published_counts(config), 0
            on = f"{max(images.train.values()):,} cells, no pretraining"
        slots = slots_here(config)
        seconds = estimate_seconds(
            config, images, seconds_per_image_step=measured, pretraining_image_steps=pretraining, slots=slots
        )
        times.append(PresetTime(name, 1 / measured, slots, seconds, on))
    return times


def print_examination(findings: list[Finding], times: list[PresetTime], console: Console | None = None) -> None:
    """Print what was found, then what the presets would take."""
    console = console or Console(highlight=False)
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), show_header=False)
    table.add_column(no_wrap=True)
    table.add_column(no_wrap=True)
    table.add_column(overflow="fold")
    styles = {GOOD: "green", NOTE: "yellow", BAD: "red"}
    for finding in findings:
        table.add_row(Text(finding.what), Text(finding.state, style=styles[finding.state]), Text(finding.found))
    console.print(table)
    if not times:
        return
    console.print()
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0))
    table.add_column("preset")
    for heading in ("images/s of a trial", "trials at once", "study at most"):
        table.add_column(heading, justify="right", no_wrap=True)
    table.add_column("on")
    for each in times:
        duration = format_duration(each.seconds)
        table.add_row(each.preset, f"{each.images_per_second:,.3g}", str(each.slots), duration, each.on)
    console.print(table)
    console.print(
        "Measured just now, with whatever else runs here; early stopping makes a study shorter. For your own images:"
        " wbc-study run CONFIG --dry-run",
        markup=False,
    )


def _published_counts(config: StudyConfig) -> ImageCounts:
    wanted = config.data.validation_size
    sides = {"original": PUBLISHED_SIDE, "crop": config.data.image_size}
    side = sides[wanted] if isinstance(wanted, str) else wanted
    return ImageCounts(PUBLISHED_TRAIN, PUBLISHED_VALIDATION, float(side**2))


def _measure(config: StudyConfig) -> float:
    """Seconds of a training step for each image, with the threads of one trial, on a few generated images."""
    from data_utils.cache import prepare
    from data_utils.config import DataConfig

    stored = config.data.stored_size
    side = stored if isinstance(stored, int) else max(config.data.image_size, 48)
    few: dict[str, int] = {"train": 20, "validation": 5, "test": 5, "size": side}
    with tempfile.TemporaryDirectory() as folder:
        data = DataConfig.model_validate(
            {"image_size": config.data.image_size, "synthetic": few, "cache_dir": Path(folder)}
        )
        arrays = prepare(data, "wbc")
        batch = max(2, min(config.training.batch_size, _PROBED_PIXELS // config.data.image_size**2))
        training = config.training.model_copy(update={"batch_size": batch})
        return seconds_per_image_step(config.model_copy(update={"data": data, "training": training}), arrays, batches=3)


def _processors() -> Finding:
    from study.storage.provenance import describe_environment

    hardware = describe_environment()["hardware"]
    usable = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else hardware["cores"]
    load = psutil.getloadavg()[0]
    busy = load > 0.5 * usable
    found = f"{hardware['processor']}, {usable} cores" + (f", busy: load {load:.1f}" if busy else "")
    return Finding("CPU", NOTE if busy else GOOD, found)


def _memory() -> Finding:
    memory = psutil.virtual_memory()
    found = f"{memory.available / 2**30:.1f} GiB free of {memory.total / 2**30:.1f}"
    if memory.available < _LEAST_MEMORY:
        return Finding(
            "memory",
            BAD,
            f"{found}; a study needs {_LEAST_MEMORY / 2**30:.0f} GiB and {PROCESS_BYTES / 2**30:.1f} for each further trial",
        )
    return Finding("memory", GOOD, found)


def _disks(root: Path, cache: Path) -> list[Finding]:
    findings = []
    for what, folder in (("disk, studies", root), ("disk, images", cache), ("disk, shared memory", Path("/dev/shm"))):
        there = next((path for path in (folder.absolute(), *folder.absolute().parents) if path.is_dir()), None)
        if there is None or (what.endswith("memory") and there != folder):
            continue
        free = shutil.disk_usage(there).free
        found = f"{free / 2**30:.1f} GiB free in {folder}"
        if what.endswith("memory"):
            small = free < 128 * 2**20
            findings.append(
                Finding(what, NOTE if small else GOOD, found + (": Ray will use the disk" if small else ""))
            )
        elif not os.access(there, os.W_OK):
            findings.append(Finding(what, BAD, f"{there} cannot be written; choose another"))
        else:
            findings.append(Finding(what, GOOD if free > _LEAST_DISK else NOTE, found))
    return findings


def _gpu() -> Finding:
    import torch

    version = f"torch {torch.__version__}"
    if not torch.cuda.is_available():
        return Finding("GPU", NOTE, f"none that {version} can use; trials train on the CPU")
    cards = [torch.cuda.get_device_properties(number) for number in range(torch.cuda.device_count())]
    named = ", ".join(f"{card.name} ({card.total_memory / 2**30:.0f} GiB)" for card in cards)
    return Finding("GPU", GOOD, f"{named}; {version}")


def _ray() -> Finding:
    """Start Ray as a study does, and stop it again."""
    import ray

    from study.execution.ray_session import ray_session

    began = time.perf_counter()
    try:
        with ray_session(None):
            resources = ray.cluster_resources()
            started = time.perf_counter() - began
    except StudyFailed as error:
        return Finding("Ray", BAD, f"{ray.__version__}: {error}")
    offers = f"{resources.get('CPU', 0):g} CPU, {resources.get('GPU', 0):g} GPU"
    return Finding("Ray", GOOD, f"{ray.__version__}, starts in {started:.0f} s and offers {offers}")


def _browser(find: Callable[[str], str | None] = shutil.which) -> Finding:
    found = next(filter(None, map(find, BROWSERS)), None)
    if found is None:
        return Finding("browser", NOTE, "no Chromium or Chrome: report --static-images and the browser tests need one")
    return Finding("browser", GOOD, found)
