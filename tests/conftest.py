"""What holds for all tests, and an object store that misbehaves on demand."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.order import dealt, shuffled
from tests.study.object_storage import FaultyProxy, environment, running_store


@pytest.fixture(scope="session")
def s3_server() -> Iterator[FaultyProxy]:
    with running_store() as proxy:
        yield proxy


@pytest.fixture
def s3(s3_server: FaultyProxy, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> FaultyProxy:
    """An S3 server without faults yet, known to this process and those that it starts."""
    for name, value in environment(s3_server).items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("WBC_STUDY_CACHE", str(tmp_path / "cache"))
    s3_server.reset()
    return s3_server


@pytest.fixture
def ray_here(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Studies that this test runs train in its own process; see `tests.study.ray_here`."""
    from tests.study.ray_here import play_ray  # Ray is dear to import for tests that do not ask about it

    play_ray(monkeypatch, tmp_path)


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--shuffle", type=int, metavar="SEED", help="files in another order, and the tests of each file")


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Where tests run side by side, every process begins with its share of the slow ones; see `tests.order`."""
    seed, processes = config.getoption("--shuffle"), getattr(config, "workerinput", {}).get("workercount", 1)
    if seed is not None:
        items[:] = shuffled(items, seed)
    elif processes > 1:
        items[:] = dealt(items, processes)
