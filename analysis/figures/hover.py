"""What the mark of a trial says when it is pointed at: arm, seed, trial and settings, the same in every figure."""

from __future__ import annotations

import pandas as pd

from analysis.figures.style import safe
from analysis.hyperparameters import hyperparameter_columns, in_words

TRIAL_HOVER = (
    "%{customdata[0]}, seed %{customdata[1]}<br>VALUE<br>trial %{customdata[2]}<br>%{customdata[3]}<extra></extra>"
)
"""Hover template of a trial; VALUE is to be replaced. Its data comes from `trial_hover`."""


def trial_hover(rows: pd.DataFrame) -> list[list[str]]:
    """Custom data of each row for `TRIAL_HOVER`.

    Args:
        rows: With columns arm, seed, trial_id, learning_rate, weight_decay, and further settings if there are any.

    Returns:
        Arm, seed, trial (with its status where the rows have one), settings; names are escaped.
    """
    names = hyperparameter_columns(rows)
    texts = [safe(", ".join(words)) for words in zip(*(in_words(name, rows[name]) for name in names), strict=True)]
    status = rows["status"] if "status" in rows else [""] * len(rows)
    trials = [
        safe(f"{trial}, {state}" if state else trial) for trial, state in zip(rows["trial_id"], status, strict=True)
    ]
    arms = [safe(arm) for arm in rows["arm"]]
    seeds = [str(seed) for seed in rows["seed"]]
    return [list(row) for row in zip(arms, seeds, trials, texts, strict=True)]


RUN_HOVER = TRIAL_HOVER.replace("%{customdata[3]}", "%{customdata[3]}<br>best epoch %{customdata[4]}")
"""Hover template of a run of which one epoch was chosen; its data comes from `run_hover`."""


def run_hover(rows: pd.DataFrame) -> list[list[str]]:
    """Custom data of each row for `RUN_HOVER`: that of `trial_hover` and the chosen epoch (column best_epoch)."""
    return [[*texts, str(epoch)] for texts, epoch in zip(trial_hover(rows), rows["best_epoch"], strict=True)]
