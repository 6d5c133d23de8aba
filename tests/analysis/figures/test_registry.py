"""Figures with their captions."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from analysis import Study, StudyError, load_study
from analysis.figures.registry import FIGURES, figures
from analysis.figures.style import setting_colours

NOT_HERE = ("importance", "tuning_curves", "domain_shift")
"""Too few trials; no random search; nothing evaluated on other data."""


def test_captions_say_where_values_come_from(finished_study: Study) -> None:
    made = {figure.name: figure for figure in figures(finished_study)}
    assert "n = 2 seeds" in made["fraction_curve"].caption
    assert "optimistic" in made["fraction_curve"].caption
    assert "Nothing was chosen on the test images" in made["comparison_dots"].caption
    assert "no confidence interval" in made["comparison_dots"].caption


def test_an_empty_study_has_figures_that_say_so(run_directory: Callable[..., Any]) -> None:
    made = {figure.name: figure.figure for figure in figures(load_study(run_directory().save()))}
    assert set(made) == set(FIGURES) - {"pretraining_curves", "domain_shift"}
    texts = {name: figure.layout.annotations[0].text for name, figure in made.items()}
    assert texts["fraction_curve"] == "No full-length run has ended yet."
    assert texts["learning_curves_loss"] == "No epoch has been recorded yet."


def test_a_figure_is_found_by_its_name_and_a_wrong_name_suggests_one(finished_study: Study) -> None:
    study = finished_study
    assert list(study.figures()) == list(FIGURES)
    for name in study.figures():
        assert study.figure(name).data or name in NOT_HERE
    with pytest.raises(StudyError, match="Did you mean 'fraction_curve'"):
        study.figure("fraction-curve")


def test_a_study_with_one_arm_has_every_figure(run_directory: Callable[..., Any]) -> None:
    directory = run_directory()
    directory.trial("a", correct=[20, 21])
    directory.trial("c", phase="confirm", seed=1, correct=[22, 23])
    for figure in figures(load_study(directory.save())):
        assert figure.figure.layout.height


def test_an_arm_has_one_colour_in_every_figure(finished_study: Study) -> None:
    study = finished_study
    colours = setting_colours(study)
    for name in ("fraction_curve", "comparison_dots", "with_without_curves", "worker_timeline"):
        for trace in study.figure(name).data:
            for setting in ("off", "sum"):
                if trace.name and trace.legendgroup and trace.legendgroup.split()[0] == setting:
                    colour = trace.line.color if trace.mode and "lines" in trace.mode else trace.marker.color
                    assert colour == colours[setting], (name, trace.name)


def test_the_mark_of_a_trial_names_trial_arm_seed_and_every_setting(
    run_directory: Callable[..., Any], fill_directory: Callable[..., Any]
) -> None:
    directory = fill_directory(run_directory())
    for row in directory.rows["trials"]:
        row["settings"] = '{"training.sampling": "balanced"}'
    study = load_study(directory.save())
    arms = set(study.trials["arm"])
    of_trials = {
        *(
            "fraction_curve",
            "paired_difference",
            "comparison_dots",
            "with_without_curves",
            "response",
            "worker_timeline",
        ),
        *("learning_curves_accuracy", "learning_curves_loss"),
    }
    found = set()
    for name in FIGURES:
        for trace in study.figure(name).data:
            template = getattr(trace, "hovertemplate", None) or ""
            texts = trace.customdata if template.endswith("%{customdata}<extra></extra>") else ()
            for text in texts:
                if text is None or "trial " not in text:
                    continue  # the pen is lifted here, or an arm is meant
                found.add(name)
                assert any(f"{arm}, seed " in text or f"{arm} minus " in text for arm in arms)
                assert "seed 0" in text or "seed 101" in text or "seed 102" in text
                assert "learning rate " in text
                assert "weight decay 1.00e-04" in text
                assert "sampling balanced" in text
    assert found == of_trials
