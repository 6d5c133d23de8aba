"""In which order tests run."""

from __future__ import annotations

import random
from collections.abc import Sequence
from itertools import chain
from pathlib import Path

import pytest


def shuffled(items: Sequence[pytest.Item], seed: int) -> list[pytest.Item]:
    """Files in a random order, and the tests of each file: what they share for the length of a file is made once all the same."""
    draw = random.Random(seed)
    files = list(_by_file(items).values())
    draw.shuffle(files)
    for tests in files:
        draw.shuffle(tests)
    return list(chain.from_iterable(files))


def dealt(items: Sequence[pytest.Item], processes: int) -> list[pytest.Item]:
    """Tests in parts of equal length, one for each process: some files' slow tests first, then quick ones.

    pytest-xdist cuts the list into equal parts; whoever has finished takes from the end of another's part. So nobody waits at the
    end for a slow test that another process began late.
    """
    slow = _by_file([item for item in items if item.get_closest_marker("slow")])
    quick = [item for item in items if not item.get_closest_marker("slow")]
    parts: list[list[pytest.Item]] = [[] for _ in range(processes)]
    for number, path in enumerate(sorted(slow, key=_longest_first)):
        parts[number % processes] += slow[path]
    filled = 0
    for number, part in enumerate(parts):
        wanted = (len(items) - filled) // (processes - number) - len(part)
        part.extend(quick[: max(wanted, 0)])
        del quick[: max(wanted, 0)]
        filled += len(part)
    assert not quick
    return list(chain.from_iterable(parts))


def _by_file(items: Sequence[pytest.Item]) -> dict[Path, list[pytest.Item]]:
    files: dict[Path, list[pytest.Item]] = {}
    for item in items:
        files.setdefault(item.path, []).append(item)
    return files


def _longest_first(path: Path) -> tuple[bool, bool, str]:
    """Files whose tests start most processes first."""
    return "chaos" not in path.parts, "cluster" not in path.parts, str(path)
