"""The searched hyperparameters of a study's trials: which there are, how they are called, where their ranges end."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

if TYPE_CHECKING:
    from analysis.study import Study

LEARNING_RATE, WEIGHT_DECAY = "learning_rate", "weight_decay"
_LOGARITHMIC = (LEARNING_RATE, WEIGHT_DECAY)
_PREFIX = "training."
"""Further searched settings are columns with the dotted name that they have in the configuration."""


def hyperparameter_columns(trials: pd.DataFrame) -> list[str]:
    """Columns of a table of trials that hold searched values: learning rate, weight decay, then the others by name."""
    return [*_LOGARITHMIC, *sorted(str(name) for name in trials if str(name).startswith(_PREFIX))]


def hyperparameter_title(name: str) -> str:
    """``training.loss_weights`` -> "loss weights"."""
    return name.removeprefix(_PREFIX).replace("_", " ")


def is_logarithmic(name: str) -> bool:
    """Whether a hyperparameter is drawn and searched on a logarithmic scale."""
    return name in _LOGARITHMIC


def in_words(name: str, values: Iterable[object]) -> list[str]:
    """Values with their name, e.g. "learning rate 1.00e-03"."""
    title = hyperparameter_title(name)
    return [f"{title} {value:.2e}" if isinstance(value, float) else f"{title} {value}" for value in values]


def searched_range(study: Study, name: str) -> tuple[float, float] | None:
    """Ends of the range in which the study searched learning rate or weight decay.

    Returns:
        The lowest and highest value of the configured grid or range; those of the trials where the configuration does not
        say; None when there is neither.
    """
    search = study.config.get("search")
    search = search if isinstance(search, dict) else {}
    configured = search.get(f"grid_{name}" if search.get("mode") == "grid" else name)
    if isinstance(configured, list | tuple) and configured:
        return float(min(configured)), float(max(configured))
    values = study.trials.loc[study.trials["phase"] == "search", name]
    return (float(values.min()), float(values.max())) if len(values) else None


def positive_positions(values: pd.Series[float]) -> pd.Series[float]:
    """Values for a logarithmic axis: zero (no weight decay) stands a decade below the lowest positive value."""
    positive = values[values > 0]
    floor = float(positive.min()) / 10 if len(positive) else 1e-12
    return values.where(values > 0, floor)


def at_edge(value: float, bounds: tuple[float, float], share: float = 0.02) -> bool:
    """Whether a value lies within a small share of the (logarithmic) range from one of its ends.

    A range of one value has no edge.
    """
    low, high = bounds
    if not low < high:
        return False
    if low <= 0:
        return value in (low, high)
    place = (np.log(value) - np.log(low)) / (np.log(high) - np.log(low)) if value > 0 else 0.0
    return bool(place <= share or place >= 1 - share)
