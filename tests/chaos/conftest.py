"""Sieges that end with their test."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.chaos.siege import Siege


@pytest.fixture
def besiege(tmp_path: Path) -> Iterator[Callable[..., Siege]]:
    """Makes a siege of the study of a configuration file, in a folder of its own."""
    sieges: list[Siege] = []

    def make(config: Path, seed: int, root: Path | None = None) -> Siege:
        sieges.append(Siege(config, root or tmp_path / "besieged" / "runs", seed))
        return sieges[-1]

    yield make
    for siege in sieges:
        siege.stop()
