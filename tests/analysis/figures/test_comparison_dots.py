"""Runs side by side, on test where there is one."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from analysis import Study, load_study
from analysis.figures.comparison_dots import comparison_dots, comparison_dots_table


def test_test_images_are_shown_where_there_are_some(
    finished_study: Study, run_directory: Callable[..., Any], fill_directory: Callable[..., Any]
) -> None:
    table = comparison_dots_table(finished_study)
    assert table["metric"].unique().tolist() == ["test_accuracy", "test_macro_f1", "test_weighted_f1"]
    assert table["value"].tolist()[:4] == [22 / 40, 24 / 40, 25 / 40, 27 / 40]
    other = load_study(fill_directory(run_directory("no test"), test=False).save())
    assert comparison_dots_table(other)["metric"].unique().tolist() == [
        "val_accuracy",
        "val_macro_f1",
        "val_weighted_f1",
    ]


def test_runs_of_one_seed_are_joined(finished_study: Study) -> None:
    pairs = comparison_dots(finished_study).data[0]
    assert pairs.name == "same seed"
    assert list(pairs.y)[:3] == pytest.approx([22 / 40, 25 / 40, float("nan")], nan_ok=True)
