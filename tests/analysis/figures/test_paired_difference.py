"""Differences seed by seed."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from analysis import Study, load_study
from analysis.figures.paired_difference import paired_difference, paired_difference_table


def test_runs_of_one_seed_are_subtracted(finished_study: Study) -> None:
    table = paired_difference_table(finished_study)
    assert table["difference"].tolist() == pytest.approx([3 / 40] * 4)
    assert table["seed"].tolist() == [101, 102, 101, 102]
    assert set(table["n"]) == {2}


def test_controls_are_differences_too_and_say_that_they_are_controls(
    run_directory: Callable[..., Any], fill_directory: Callable[..., Any]
) -> None:
    directory = fill_directory(run_directory(), test=False)
    directory.trial("r", 0.01, "sum", index=0, control="random", correct=[20])
    directory.trial("rc", 0.01, "sum", "confirm", seed=101, control="random", correct=[22])
    study = load_study(directory.save())
    table = paired_difference_table(study).set_index("trial_id")
    assert table.loc["rc", "difference"] == pytest.approx(-1 / 40)
    assert "sum-random (control)" in [trace.name for trace in paired_difference(study).data]


def test_winners_of_a_search_are_not_paired(
    run_directory: Callable[..., Any], fill_directory: Callable[..., Any]
) -> None:
    study = load_study(fill_directory(run_directory(), confirm=False).save())
    assert len(paired_difference_table(study)) == 0
    assert "No two confirmed runs" in paired_difference(study).layout.annotations[0].text


def test_intervals_are_those_of_the_verdicts(finished_study: Study) -> None:
    study = finished_study
    verdicts = study.verdicts()
    verdicts = verdicts[(verdicts["metric"] == "macro_f1") & (verdicts["kind"] == "transfer")].set_index("arm")
    table = paired_difference_table(study, "macro_f1").drop_duplicates("arm").set_index("arm")
    assert table["low"].to_dict() == verdicts["low"].to_dict()
    assert table["high"].to_dict() == verdicts["high"].to_dict()
    assert table["mean"].tolist() == pytest.approx(verdicts.loc[table.index, "difference"].tolist())


def test_both_metrics_are_drawn_from_the_same_zero_and_a_setting_has_one_entry_in_the_legend(
    finished_study: Study,
) -> None:
    figure = paired_difference(finished_study)
    assert [(shape.y0, shape.yref) for shape in figure.layout.shapes] == [(0, "y"), (0, "y2")]
    drawn = {trace.yaxis: list(trace.y) for trace in figure.data if trace.name == "sum"}
    for axis, metric, scale in (("y", "accuracy", 100), ("y2", "macro_f1", 1)):
        table = paired_difference_table(finished_study, metric)
        assert drawn[axis] == pytest.approx((scale * table["difference"]).tolist())
    assert [trace.name for trace in figure.data if trace.showlegend] == ["sum"]
