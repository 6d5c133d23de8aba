"""Fixtures for the networks: one thread, real data where it is there."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

DATA = Path(__file__).parents[3] / "shared" / "data"


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="session")
def published() -> Path:
    return _folder("published")


@pytest.fixture(scope="session")
def blood_cells() -> Path:
    return _folder("wbc") / "val" / "data"


@pytest.fixture(scope="session")
def kidney() -> Path:
    return _folder("prcc")


@pytest.fixture(scope="session")
def lymph_nodes() -> Path:
    return _folder("cam16") / "val" / "data"


def _folder(name: str) -> Path:
    if not (DATA / name).is_dir():
        pytest.skip(f"real data is missing: ../shared/data/{name}")
    return DATA / name
