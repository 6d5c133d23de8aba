"""Chosen trials."""

from __future__ import annotations

from analysis import Study
from analysis.explorer.choice import NarrowedStudy, chosen_trials, filtered_trials
from analysis.explorer.view_state import ViewState
from analysis.figures.registry import FIGURES, draw_figure
from analysis.statistics.verdicts import study_verdicts


def test_filters_are_combined(finished_study: Study) -> None:
    study = finished_study
    rows = filtered_trials(study, ViewState(arms=("WBC_1/off",), statuses=("stopped",)))
    assert rows["trial_id"].tolist() == ["0.01-off-2"]


def test_picked_ranges_choose_search_trials_and_the_confirmations_of_their_winners(finished_study: Study) -> None:
    study = finished_study
    # log10 of 3e-3: all winners have it, and no other trial has.
    rows = chosen_trials(study, ViewState(picked=(("learning_rate", ((-2.6, -2.4),)),)))
    assert sorted(rows.loc[rows["phase"] == "search", "trial_id"]) == [
        "0.01-off-1",
        "0.01-sum-1",
        "1.0-off-1",
        "1.0-sum-1",
    ]
    assert (rows["phase"] == "confirm").sum() == 8
    rows = chosen_trials(study, ViewState(picked=(("learning_rate", ((-3.1, -2.9),)),)))
    assert set(rows["phase"]) == {"search"}
    rows = chosen_trials(study, ViewState(picked=(("setting", ((0.9, 1.1),)), ("fraction", ((-2.1, -1.9),)))))
    assert set(rows["arm"]) == {"WBC_1/sum"}


def test_a_choice_makes_no_other_winners(finished_study: Study) -> None:
    study = finished_study
    losers = study.trials.loc[study.trials["index"] != 1, "trial_id"]
    narrowed = NarrowedStudy(study, losers)
    assert len(narrowed.trials) == len(losers)
    assert len(narrowed.winners()) == 0
    assert set(narrowed.epochs["trial_id"]) == set(losers)
    whole = NarrowedStudy(study, study.trials["trial_id"])
    assert whole.selected().equals(study.selected())
    assert study_verdicts(narrowed) is study.verdicts()
    for name in FIGURES:
        assert draw_figure(narrowed, name).layout.height
