"""The reliability diagram."""

from __future__ import annotations

from pathlib import Path

import pytest

from analysis import load_study
from analysis.figures.reliability import reliability
from analysis.statistics.calibration import reliability_table


def test_every_answer_of_every_confirmed_run_is_in_a_bin(finished: Path) -> None:
    study = load_study(finished)
    table = reliability_table(study)
    counted = table.groupby(["arm", "scale"])["answers"].sum()
    assert set(counted) == {2 * 40}
    plain = table[table["scale"] == "as trained"].set_index("arm")
    # The fixture is always 0.6 sure: one bin, whose accuracy is that of the arm's runs.
    assert plain["confidence"].to_numpy() == pytest.approx(0.6)
    means = study.confirmed.groupby("arm")["test_accuracy"].mean()
    assert plain["accuracy"].to_dict() == pytest.approx(means.to_dict())


def test_the_figure_draws_the_table_and_leaves_controls_out(run_directory, fill_directory) -> None:
    directory = fill_directory(run_directory())
    directory.trial("twin", 1.0, "off", "confirm", control="twin", seed=101, correct=[20])
    directory.predict("twin", 1, "val", 20)
    directory.predict("twin", 1, "test", 20)
    study = load_study(directory.save())
    table = reliability_table(study)
    assert "WBC_100/off-twin" in set(table["arm"])
    figure = reliability(study)
    drawn = [trace for trace in figure.data if trace.legendgroup != "diagonal"]
    assert {trace.customdata[0][0] for trace in drawn} == {"WBC_1/off", "WBC_1/sum", "WBC_100/off", "WBC_100/sum"}
    assert len(drawn) == 8
    for trace in drawn:
        scale = trace.name.rpartition(", ")[2]
        rows = table[(table["arm"] == trace.customdata[0][0]) & (table["scale"] == scale)]
        assert list(trace.x) == pytest.approx(rows["confidence"], abs=1e-4)
        assert list(trace.y) == pytest.approx(rows["accuracy"], abs=1e-4)
