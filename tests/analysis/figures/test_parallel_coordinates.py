"""Parallel coordinates."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from analysis import Study, load_study
from analysis.figures.parallel_coordinates import parallel_coordinates, parallel_coordinates_table


def test_every_search_trial_is_a_line_coloured_by_setting(finished_study: Study) -> None:
    figure = parallel_coordinates(finished_study)
    lines = figure.data[0]
    assert sorted(lines.line.color) == [0] * 6 + [1] * 6
    axes = {axis.label: axis for axis in lines.dimensions}
    assert list(axes) == ["setting", "fraction", "learning rate", "weight decay", "epochs", "validation accuracy"]
    assert sorted(set(axes["learning rate"]["values"])) == pytest.approx([-3, -2.52288])
    assert list(axes["fraction"].ticktext) == ["1 %", "100 %"]
    assert [trace.name for trace in figure.data[1:]] == ["off", "sum"]


def test_many_trials_are_thinned_out_and_their_number_is_said(run_directory: Callable[..., Any]) -> None:
    directory = run_directory()
    for index in range(30):
        directory.trial(f"t{index:02}", index=index, correct=[5 + index])
    table = parallel_coordinates_table(load_study(directory.save()), limit=10)
    assert len(table) == 10
    assert set(table["of"]) == {30}
    assert table["score"].max() == 34 / 40
