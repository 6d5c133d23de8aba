"""Runs side by side."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from scipy import stats

from analysis import Study, load_study
from analysis.explorer.run_comparison import half_width, run_comparison_table
from analysis.statistics.estimates import arm_intervals
from tests.benchmarks.simulated_studies import Truth, simulate_study


def test_differences_to_the_first_run_add_the_variances_of_both(
    finished_study: Study, run_directory: Callable[..., Any], fill_directory: Callable[..., Any]
) -> None:
    second = load_study(fill_directory(run_directory("second"), test=False).save())
    table = run_comparison_table({"a": finished_study, "b": second}, "a", "accuracy")
    # One of the two has no test images: both are compared on validation.
    assert set(table["split"]) == {"val"}
    assert table.loc[table["run"] == "a", "difference"].isna().all()
    test = run_comparison_table({"a": finished_study, "b": finished_study}, "a", "macro_f1")
    alone = arm_intervals(finished_study.answers).query("metric == 'macro_f1'").set_index("arm")
    for row in test[test["run"] == "b"].to_dict("records"):
        error, freedom = alone.loc[row["arm"], ["standard_error", "degrees_of_freedom"]]
        assert row["difference"] == 0
        # Two alike: twice the variance and twice the degrees of freedom.
        assert row["high"] == pytest.approx(stats.t.ppf(0.975, 2 * freedom) * np.sqrt(2) * error)
        assert row["low"] == -row["high"]


def test_the_interval_holds_the_truth_as_often_as_it_says() -> None:
    """Two independent studies of one truth: other seeds, other images."""
    held = []
    for seed in range(150):
        pair = [simulate_study(Truth(), np.random.default_rng([7, seed, run])) for run in (0, 1)]
        frames = [arm_intervals(answers).query("metric == 'accuracy'").set_index("arm") for answers in pair]
        for arm in frames[0].index:
            one, other = (tuple(frame.loc[arm, ["standard_error", "degrees_of_freedom"]]) for frame in frames)
            difference = frames[1].loc[arm, "value"] - frames[0].loc[arm, "value"]
            held.append(abs(difference) <= half_width(one, other))
    assert 0.92 <= np.mean(held) <= 0.985


def test_single_runs_have_no_interval(
    finished_study: Study, run_directory: Callable[..., Any], fill_directory: Callable[..., Any]
) -> None:
    other = load_study(fill_directory(run_directory("search only"), confirm=False, test=False).save())
    table = run_comparison_table({"a": finished_study, "b": other}, "a", "accuracy")
    rows = table[table["run"] == "b"]
    assert rows["n"].tolist() == [1] * 4
    assert rows["low"].isna().all()
