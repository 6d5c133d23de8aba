"""Response to learning rate and weight decay."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pandas as pd
import pytest

from analysis import Study, load_study
from analysis.figures.response import fit_surface, response, response_table
from analysis.statistics.tuning import winners_at_edges


def test_points_are_below_the_best_full_length_trial_and_the_winner_is_marked(finished_study: Study) -> None:
    table = response_table(finished_study).set_index("trial_id")
    assert table.loc["0.01-off-1", "winner"]
    assert table.loc["0.01-off-1", "below_best"] == 0
    # 22 of 40 right, the winner 24; the stopped trial reached 19.
    assert table.loc["0.01-off-0", "below_best"] == pytest.approx(2 / 40)
    assert table.loc["0.01-off-2", "below_best"] == pytest.approx(5 / 40)


def test_a_winner_at_the_end_of_the_grid_is_marked(run_directory: Callable[..., Any]) -> None:
    directory = run_directory()
    directory.config["search"] |= {
        "mode": "grid",
        "grid_learning_rate": [1e-4, 1e-3, 1e-2],
        "grid_weight_decay": [1e-4],
    }
    directory.trial("inner", index=0, correct=[20], learning_rate=1e-3)
    directory.trial("edge", index=1, correct=[25], learning_rate=1e-2)
    table = response_table(load_study(directory.save())).set_index("trial_id")
    assert table["edge"].to_dict() == {"inner": False, "edge": True}
    # What the table of edges lists, the figure marks.
    assert winners_at_edges(load_study(directory.path))["arm"].tolist() == ["WBC_1/off"]
    directory.config["search"]["grid_learning_rate"] = [1e-4, 1e-3, 1e-2, 1e-1]
    assert not response_table(load_study(directory.save()))["edge"].any()


def test_the_surface_recovers_a_polynomial_and_needs_seven_points() -> None:
    x, y = (axis.ravel() for axis in np.meshgrid(np.linspace(-4, -2, 4), np.linspace(-6, -3, 3)))
    table = pd.DataFrame({"x": x, "y": y, "status": "completed", "below_best": (x + 3) ** 2 + 0.1 * (y + 5) ** 2})
    fitted = fit_surface(table)
    assert fitted is not None
    columns, rows, surface, explained = fitted
    expected = (columns[None, :] + 3) ** 2 + 0.1 * (rows[:, None] + 5) ** 2
    assert surface == pytest.approx(expected)
    assert explained == pytest.approx(1)
    assert fit_surface(table.head(6)) is None
    assert fit_surface(table.assign(y=1.0)) is None


def test_no_weight_decay_has_a_place_on_the_logarithmic_axis(run_directory: Callable[..., Any]) -> None:
    directory = run_directory()
    directory.trial("a", index=0, correct=[20])
    directory.trial("b", index=1, correct=[21])
    for row in directory.rows["trials"]:
        if row["trial_id"] == "b":
            row["weight_decay"] = 0.0
    study = load_study(directory.save())
    assert response_table(study).set_index("trial_id")["y"].to_dict() == pytest.approx({"a": -4, "b": -5})
    assert "0" in response(study).layout.yaxis.ticktext


def test_an_empty_study_says_so(run_directory: Callable[..., Any]) -> None:
    assert "No trial" in response(load_study(run_directory().save())).layout.annotations[0].text
