"""Fields for ranges pick what a brush picks."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from analysis import Study, load_study
from analysis.explorer.choice import chosen_trials
from analysis.explorer.setting_filters import apply_field, numeric_settings, shown_range
from analysis.explorer.view_state import ViewState


def test_a_filled_field_picks_trials_and_an_emptied_one_lets_go(finished_study: Study) -> None:
    study = finished_study
    picked = apply_field(ViewState(page=3), study, "learning_rate", "low", "0.002")
    assert picked.page == 0
    rows = chosen_trials(study, picked)
    assert set(rows["learning_rate"]) == {3e-3}
    assert shown_range(picked, "learning_rate", "low") == "0.002"
    assert shown_range(picked, "learning_rate", "high") == "0.003"
    # An end that was only shown, not changed, changes nothing.
    assert apply_field(picked, study, "learning_rate", "high", "0.003") is picked
    assert apply_field(picked, study, "learning_rate", "low", "").picked == ()
    assert shown_range(ViewState(), "learning_rate", "low") == ""


@pytest.mark.parametrize("text", ["much", "-1", "nan", None])
def test_what_is_no_learning_rate_opens_the_end(finished_study: Study, text: str | None) -> None:
    assert apply_field(ViewState(), finished_study, "learning_rate", "high", text).picked == ()


def test_ends_in_the_wrong_order_are_put_right(finished_study: Study) -> None:
    state = apply_field(ViewState(), finished_study, "learning_rate", "low", "0.01")
    assert state.picked == (("learning_rate", ((-2.52288, -2.0),)),)


def test_numbers_that_are_searched_besides_have_fields_and_names_have_none(run_directory: Callable[..., Any]) -> None:
    directory = run_directory()
    directory.config["search"]["also"] = {
        "training.sampling": ["natural", "balanced"],
        "training.segmentation_weight": {"low": 0.1, "high": 1.0, "log": True},
        "training.flip": [True, False],
    }
    study = load_study(directory.save())
    assert numeric_settings([study]) == ["learning_rate", "weight_decay", "training.segmentation_weight"]
    # A study without trials has no ends to pick from.
    assert apply_field(ViewState(), study, "learning_rate", "low", "0.1") == ViewState()
