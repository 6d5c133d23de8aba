"""What holds for all tests."""

from __future__ import annotations

import pytest


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """The longest go first: where tests run side by side, the last one would otherwise run alone."""
    items.sort(key=lambda item: "tests/chaos" not in item.nodeid)
