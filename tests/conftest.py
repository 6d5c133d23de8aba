"""What holds for all tests, and an object store that misbehaves on demand."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

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


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """The longest go first: where tests run side by side, the last one would otherwise run alone."""
    items.sort(key=lambda item: "tests/chaos" not in item.nodeid)
