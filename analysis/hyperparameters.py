"""Hyperparameters that a study searches: their columns, titles and scales."""

from __future__ import annotations

from collections.abc import Iterable

import pandas as pd

LEARNING_RATE, WEIGHT_DECAY = "learning_rate", "weight_decay"
_LOGARITHMIC = (LEARNING_RATE, WEIGHT_DECAY)
_PREFIX = "training."
"""Further searched settings are columns with the dotted name that they have in the configuration."""


def hyperparameter_columns(trials: pd.DataFrame) -> list[str]:
    """Columns of a table of trials with searched values: learning rate, weight decay, then the others by name."""
    return [*_LOGARITHMIC, *sorted(str(name) for name in trials if str(name).startswith(_PREFIX))]


def hyperparameter_title(name: str) -> str:
    """Words for a hyperparameter: ``training.loss_weights`` -> "loss weights"."""
    return name.removeprefix(_PREFIX).replace("_", " ")


def is_logarithmic(name: str) -> bool:
    """Whether a hyperparameter is drawn and searched on a logarithmic scale."""
    return name in _LOGARITHMIC


def in_words(name: str, values: Iterable[object]) -> list[str]:
    """Values with their name, e.g. "learning rate 1.00e-03"."""
    title = hyperparameter_title(name)
    return [f"{title} {value:.2e}" if isinstance(value, float) else f"{title} {value}" for value in values]


def positive_positions(values: pd.Series[float]) -> pd.Series[float]:
    """Values for a logarithmic axis: zero (no weight decay) stands a decade below the lowest positive value."""
    positive = values[values > 0]
    floor = float(positive.min()) / 10 if len(positive) else 1e-12
    return values.where(values > 0, floor)
