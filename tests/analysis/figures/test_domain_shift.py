"""Own and other images in one figure."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from analysis import load_study
from analysis.figures.domain_shift import domain_shift
from analysis.statistics.evaluations import shift_table
from tests.analysis.conftest import RIGHT

Make = Callable[..., Any]


def test_every_arm_is_drawn_in_every_panel_with_its_interval(run_directory: Make, fill_directory: Make) -> None:
    directory = fill_directory(run_directory())
    directory.evaluate("zheng", RIGHT)
    study = load_study(directory.save())
    figure = domain_shift(study)
    assert [note.text for note in figure.layout.annotations] == ["test (40 images)", "zheng (40 images)"]
    table = shift_table(study)
    table = table[table["metric"] == "accuracy"].set_index(["place", "arm"])
    drawn = {}
    for trace in figure.data:
        place = "zheng" if trace.xaxis == "x2" else "test"
        for arm, y, up in zip((row[0] for row in trace.customdata), trace.y, trace.error_y.array, strict=True):
            drawn[(place, arm)] = (y, y + up)
    assert len(drawn) == 8
    for key, (value, high) in drawn.items():
        assert (value, high) == pytest.approx((table.loc[key, "value"], table.loc[key, "high"]))


def test_without_an_evaluation_it_says_how_to_make_one(run_directory: Make, fill_directory: Make) -> None:
    study = load_study(fill_directory(run_directory()).save())
    assert "wbc-study evaluate" in domain_shift(study).layout.annotations[0].text
