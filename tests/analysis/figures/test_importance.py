"""Importance of hyperparameters."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from analysis import load_study
from analysis.figures.importance import importance, importance_table


def test_what_decides_the_score_is_the_more_important(run_directory: Callable[..., Any]) -> None:
    directory = run_directory()
    for index in range(20):
        directory.trial(f"t{index:02}", index=index, correct=[10 + index], learning_rate=1e-4 * 1.2**index)
    # Weight decay varies too, and says nothing.
    for row in directory.rows["trials"]:
        row["weight_decay"] = 1e-4 * (1 + row["index"] * 7 % 20)
    table = importance_table(load_study(directory.save())).set_index("hyperparameter")
    assert table.loc["learning_rate", "importance"] > 0.7
    assert table["importance"].sum() == 1
    assert table["trials"].tolist() == [20, 20]


def test_few_trials_have_no_importance(run_directory: Callable[..., Any]) -> None:
    directory = run_directory()
    for index in range(5):
        directory.trial(f"t{index}", index=index, correct=[10 + index], learning_rate=1e-4 * 2**index)
    assert "noise" in importance(load_study(directory.save())).layout.annotations[0].text
