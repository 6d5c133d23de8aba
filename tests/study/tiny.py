"""A study small enough for a test: seconds, but every phase."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import yaml
from typer.testing import CliRunner

from study.commands.main import app

TINY: dict[str, Any] = {
    "name": "tiny",
    "data": {
        "source": "synthetic",
        "image_size": 16,
        "crop_scale": [0.5, 1.0],
        "synthetic": {
            "train": 60,
            "validation": 20,
            "test": 20,
            "size": 24,
            "cam16_train": 16,
            "cam16_validation": 8,
            "prcc": 8,
            "prcc_validation": 4,
        },
    },
    "model": {"width": 8},
    "arms": {"fractions": [0.1, 1.0]},
    "pretrain": {"prcc": {"epochs": 1, "batch_size": 4}, "cam16": {"epochs": 1, "batch_size": 8}},
    "training": {"epochs": 3, "steps_per_epoch": 2, "batch_size": 8},
    "search": {
        "mode": "grid",
        "grid_learning_rate": [0.001, 0.003],
        "grid_weight_decay": [0.0001],
        "scheduler": "none",
    },
    "confirm": {"seeds": 2},
}


def merged(values: dict[str, Any], changes: dict[str, Any]) -> dict[str, Any]:
    """Nested settings with some replaced."""
    result = dict(values)
    for key, value in changes.items():
        result[key] = merged(result[key], value) if isinstance(value, dict) and key in result else value
    return result


def write_tiny(folder: Path, **changes: Any) -> Path:
    """Write a configuration file with a cache of its own."""
    path = folder / "tiny.yaml"
    values = merged(TINY, {"data": {"cache_dir": str(folder / "cache")}})
    path.write_text(yaml.safe_dump(merged(values, changes)))
    return path


def command(*arguments: str | Path) -> list[str]:
    """The command line of `wbc-study` with the interpreter that runs the tests."""
    return [sys.executable, "-m", "study", *map(str, arguments)]


def invoke(*arguments: str | Path) -> str:
    """Run `wbc-study` in this process, where everything is imported already; returns what it prints, raises its errors."""
    result = CliRunner().invoke(app, [str(argument) for argument in arguments], catch_exceptions=False)
    assert result.exit_code == 0, result.output
    return result.output
