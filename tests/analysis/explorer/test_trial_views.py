"""The list of trials."""

from __future__ import annotations

from pathlib import Path

from analysis import load_study
from analysis.explorer.choice import chosen_trials
from analysis.explorer.trial_views import sorted_trials, trial_view
from analysis.explorer.view_state import ViewState


def test_trials_of_the_opened_arm_are_sorted_as_wanted(finished: Path) -> None:
    study = load_study(finished)
    state = ViewState(arm="WBC_1/off")
    rows = sorted_trials(chosen_trials(study, state), state)
    assert rows["score"].is_monotonic_decreasing
    assert set(rows["arm"]) == {"WBC_1/off"}
    state = ViewState(sort="epochs", ascending=True)
    assert sorted_trials(chosen_trials(study, state), state)["epochs"].is_monotonic_increasing


def test_a_trial_that_is_not_there_is_said_to_be_missing(finished: Path) -> None:
    assert "There is no trial nobody" in str(trial_view(load_study(finished), ViewState(trial="nobody"))[0])


def test_only_confirmed_runs_have_cells_that_open(finished: Path) -> None:
    study = load_study(finished)
    confirmed = str(trial_view(study, ViewState(trial="0.01-off-c101")))
    assert "'kind': 'cell'" in confirmed
    assert "'kind': 'cell'" not in str(trial_view(study, ViewState(trial="0.01-off-0")))
