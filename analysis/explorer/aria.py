"""Attributes for assistive technology."""

from __future__ import annotations

from typing import Any


def aria(**values: str) -> dict[str, Any]:
    """``aria(pressed="true")`` -> ``{"aria-pressed": "true"}``, to be passed on to a Dash component."""
    return {f"aria-{name}": value for name, value in values.items()}
