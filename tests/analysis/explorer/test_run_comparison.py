"""Runs side by side."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from scipy import stats

from analysis import Study, load_study
from analysis.explorer.run_comparison import run_comparison_table


def test_differences_to_the_first_run_have_welchs_interval(
    finished_study: Study, run_directory: Callable[..., Any], fill_directory: Callable[..., Any]
) -> None:
    directory = fill_directory(run_directory("second"), test=False)
    directory.trial("more", 0.01, "off", "confirm", seed=103, correct=[39], learning_rate=3e-3)
    first, second = finished_study, load_study(directory.save())
    table = run_comparison_table({"a": first, "b": second}, "a", "accuracy")
    # One of the two has no test images: both are compared on validation.
    assert set(table["split"]) == {"val"}
    row = table[(table["arm"] == "WBC_1/off") & (table["run"] == "b")].iloc[0]
    mine, other = np.array([23, 25, 39]) / 40, np.array([23, 25]) / 40
    expected = stats.ttest_ind(mine, other, equal_var=False).confidence_interval(0.95)
    assert row["difference"] == pytest.approx(mine.mean() - other.mean())
    assert (row["low"], row["high"]) == pytest.approx((expected.low, expected.high))
    assert table.loc[table["run"] == "a", "difference"].isna().all()


def test_single_runs_have_no_interval(
    finished_study: Study, run_directory: Callable[..., Any], fill_directory: Callable[..., Any]
) -> None:
    other = load_study(fill_directory(run_directory("search only"), confirm=False, test=False).save())
    table = run_comparison_table({"a": finished_study, "b": other}, "a", "accuracy")
    rows = table[table["run"] == "b"]
    assert rows["n"].tolist() == [1] * 4
    assert rows["low"].isna().all()
