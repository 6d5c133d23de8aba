"""Tuning curves."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from analysis import Study, load_study
from analysis.figures.tuning_curves import tuning_curves


def test_a_search_that_allows_none_says_why(finished_study: Study) -> None:
    assert "No tuning curves" in tuning_curves(finished_study).layout.annotations[0].text


def test_a_random_search_has_a_curve_and_a_band_for_each_arm(run_directory: Callable[..., Any]) -> None:
    directory = run_directory()
    directory.config["search"] |= {"mode": "random", "scheduler": "none"}
    for fusion in ("off", "sum"):
        for index in range(6):
            directory.trial(f"{fusion}{index}", fusion=fusion, index=index, correct=[20 + index])
    figure = tuning_curves(load_study(directory.save()))
    curves = [trace for trace in figure.data if trace.showlegend]
    assert [trace.name for trace in curves] == ["without pretraining", "with (sum)"]
    assert list(curves[0].x) == [1, 2, 3, 4, 5, 6]
    assert list(curves[0].y) == sorted(curves[0].y)
