from __future__ import annotations

from models.errors import WeightsError


def test_weights_errors_can_be_caught_as_value_errors() -> None:
    assert issubclass(WeightsError, ValueError)
