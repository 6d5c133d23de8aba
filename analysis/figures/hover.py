"""What the mark of a trial says when it is pointed at: arm, seed, trial and settings, the same in every figure."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from analysis.figures.style import safe
from analysis.hyperparameters import hyperparameter_columns, in_words

TRIAL_HOVER = "VALUE<br>%{customdata}<extra></extra>"
"""Hover template of a trial, with data from `trial_hover`. Replace VALUE by the template of the value."""


def trial_hover(rows: pd.DataFrame, more: Iterable[str] = ()) -> NDArray[np.object_]:
    """Custom data of each row for `TRIAL_HOVER`: one text a mark, which Plotly checks and copies much sooner than several.

    Args:
        rows: With columns arm, seed, trial_id, learning_rate, weight_decay, and further settings if there are any.
        more: A further line for each row, escaped; none when empty.

    Returns:
        (N,) texts: arm and seed, trial (with its status where the rows have one), settings; names are escaped.
    """
    first = [f"{arm}, seed {seed}" for arm, seed in zip(_texts(rows["arm"]), rows["seed"].tolist(), strict=True)]
    return np.array(
        ["<br>".join(lines) for lines in zip(first, trial_words(rows), *_columns(more), strict=True)], dtype=object
    )


def trial_words(rows: pd.DataFrame) -> list[str]:
    """Trial (with its status where the rows have one) and settings of each row in two lines; names are escaped."""
    names = hyperparameter_columns(rows)
    settings = zip(*(in_words(name, rows[name].tolist()) for name in names), strict=True)
    trials = _texts(rows["trial_id"])
    if "status" in rows:
        trials = [f"{trial}, {state}" for trial, state in zip(trials, _texts(rows["status"]), strict=True)]
    return [f"trial {trial}<br>{safe(', '.join(words))}" for trial, words in zip(trials, settings, strict=True)]


def run_hover(rows: pd.DataFrame) -> NDArray[np.object_]:
    """Custom data of selected runs: that of `trial_hover`, and the chosen epoch (column best_epoch)."""
    return trial_hover(rows, [f"best epoch {epoch}" for epoch in rows["best_epoch"].tolist()])


def _columns(more: Iterable[str]) -> list[list[str]]:
    lines = list(more)
    return [lines] if lines else []


def _texts(values: pd.Series[Any]) -> list[str]:
    """Escaped texts; each different one is escaped once, since a trial's name stands at each of its epochs."""
    words = values.to_numpy(dtype=object)
    escaped = {word: safe(word) for word in dict.fromkeys(words)}
    return [escaped[word] for word in words]
