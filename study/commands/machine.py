"""What this machine offers for a study: processors, memory, disks, GPU, Ray and browser."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import psutil

from study.errors import StudyFailed
from study.pipeline.estimate import PROCESS_BYTES

GOOD, NOTE, BAD = "ok", "note", "missing"
"""States of a finding: nothing to do; works, but worth knowing; a study cannot run."""

BROWSERS = ("chromium", "chromium-browser", "google-chrome")

_LEAST_MEMORY, _LEAST_DISK = 2 * 2**30, 2 * 2**30
"""Bytes: a driver, Ray's processes and one worker; image cache and checkpoints of a small study."""

_LEAST_SHARED_MEMORY = 128 * 2**20
"""Bytes: below, Ray keeps its objects on the disk."""


@dataclass(frozen=True)
class Finding:
    """One thing that was looked at."""

    what: str
    """Name of the thing, such as `memory`."""
    state: str
    """`GOOD`, `NOTE` or `BAD`."""
    found: str
    """What was found, in words."""


def examine(root: Path, cache: Path) -> list[Finding]:
    """Look at processors, memory, disk, GPU, Ray and browser.

    Args:
        root: Where studies are written.
        cache: Where decoded images are kept.
    """
    return [_processors(), _memory(), *_disks(root, cache), _gpu(), _ray(), _browser()]


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
    findings = [_disk("disk, studies", root), _disk("disk, images", cache), _shared_memory()]
    return [finding for finding in findings if finding is not None]


def _disk(what: str, folder: Path) -> Finding | None:
    """The disk of a folder, or of the next folder above that is there already."""
    there = next((path for path in (folder.absolute(), *folder.absolute().parents) if path.is_dir()), None)
    if there is None:
        return None
    found, free = _free_space(there, folder)
    if not os.access(there, os.W_OK):
        return Finding(what, BAD, f"{there} cannot be written; choose another")
    return Finding(what, GOOD if free > _LEAST_DISK else NOTE, found)


def _shared_memory(folder: Path = Path("/dev/shm")) -> Finding | None:
    if not folder.is_dir():
        return None
    found, free = _free_space(folder, folder)
    if free < _LEAST_SHARED_MEMORY:
        return Finding("disk, shared memory", NOTE, f"{found}: Ray will use the disk")
    return Finding("disk, shared memory", GOOD, found)


def _free_space(there: Path, folder: Path) -> tuple[str, int]:
    """Free bytes of the disk that holds `there`, in words for `folder` and as a number."""
    free = shutil.disk_usage(there).free
    return f"{free / 2**30:.1f} GiB free in {folder}", free


def _gpu() -> Finding:
    import torch

    version = f"torch {torch.__version__}"
    if not torch.cuda.is_available():
        return Finding("GPU", NOTE, f"none that {version} can use; trials train on the CPU")
    cards = [torch.cuda.get_device_properties(number) for number in range(torch.cuda.device_count())]
    named = ", ".join(f"{card.name} ({card.total_memory / 2**30:.0f} GiB)" for card in cards)
    return Finding("GPU", GOOD, f"{named}; {version}")


def _ray() -> Finding:
    from study.execution.ray_session import measure_start, ray_version

    version = ray_version()
    try:
        started = measure_start()
    except StudyFailed as error:
        return Finding("Ray", BAD, f"{version}: {error}")
    offers = f"{started.cpus:g} CPU, {started.gpus:g} GPU"
    return Finding("Ray", GOOD, f"{version}, starts in {started.seconds:.0f} s and offers {offers}")


def _browser(find: Callable[[str], str | None] = shutil.which) -> Finding:
    found = next(filter(None, map(find, BROWSERS)), None)
    if found is None:
        return Finding("browser", NOTE, "no Chromium or Chrome: report --static-images and the browser tests need one")
    return Finding("browser", GOOD, found)
