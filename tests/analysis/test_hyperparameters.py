"""Searched hyperparameters."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pandas as pd
import pytest

from analysis import Study, load_study
from analysis.hyperparameters import at_edge, hyperparameter_columns, hyperparameter_title, searched_range


def test_further_settings_come_after_the_two() -> None:
    trials = pd.DataFrame(
        columns=["training.sampling", "weight_decay", "arm", "training.loss_weights", "learning_rate"]
    )
    names = hyperparameter_columns(trials)
    assert names == ["learning_rate", "weight_decay", "training.loss_weights", "training.sampling"]
    assert hyperparameter_title(names[2]) == "loss weights"


@pytest.mark.parametrize(
    ("value", "bounds", "expected"),
    [
        (1e-4, (1e-4, 1e-2), True),
        (1e-2, (1e-4, 1e-2), True),
        (1e-3, (1e-4, 1e-2), False),
        (1.05e-4, (1e-4, 1e-2), True),
        (1e-3, (1e-3, 1e-3), False),
        (0.0, (0.0, 1e-3), True),
        (1e-4, (0.0, 1e-3), False),
    ],
)
def test_an_edge_is_near_an_end_of_the_logarithmic_range(
    value: float, bounds: tuple[float, float], expected: bool
) -> None:
    assert at_edge(value, bounds) is expected


def test_ranges_come_from_the_configuration_or_else_the_trials(
    finished_study: Study, run_directory: Callable[..., Any]
) -> None:
    assert searched_range(finished_study, "learning_rate") == (1e-3, 3e-3)
    directory = run_directory("empty")
    directory.config["search"]["learning_rate"] = [1e-5, 1e-1]
    assert searched_range(load_study(directory.save()), "learning_rate") == (1e-5, 1e-1)
    assert searched_range(load_study(directory.save()), "weight_decay") is None
