"""The list of trials."""

from __future__ import annotations

from analysis import Study
from analysis.explorer.choice import chosen_trials
from analysis.explorer.trial_views import sorted_trials, trial_view
from analysis.explorer.view_state import ViewState


def test_trials_of_the_opened_arm_are_sorted_as_wanted(finished_study: Study) -> None:
    study = finished_study
    state = ViewState(arm="WBC_1/off")
    rows = sorted_trials(chosen_trials(study, state), state)
    assert rows["score"].is_monotonic_decreasing
    assert set(rows["arm"]) == {"WBC_1/off"}
    state = ViewState(sort="epochs", ascending=True)
    assert sorted_trials(chosen_trials(study, state), state)["epochs"].is_monotonic_increasing


def test_a_trial_that_is_not_there_is_said_to_be_missing(finished_study: Study) -> None:
    assert "There is no trial nobody" in str(trial_view(finished_study, ViewState(trial="nobody"))[0])


def test_only_confirmed_runs_have_cells_that_open(finished_study: Study) -> None:
    study = finished_study
    confirmed = str(trial_view(study, ViewState(trial="0.01-off-c101")))
    assert "'kind': 'cell'" in confirmed
    assert "'kind': 'cell'" not in str(trial_view(study, ViewState(trial="0.01-off-0")))
