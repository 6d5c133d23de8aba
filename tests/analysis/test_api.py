"""The notebook's door: names of tables and figures, and studies that open as before."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from analysis import Study, StudyError, load_study
from analysis.records import study as records


def test_accuracy_table_has_the_published_form(finished: Path) -> None:
    table = load_study(finished).accuracy_table()
    assert table.index.tolist() == ["WBC_1", "WBC_100"]
    row = table.loc["WBC_1"]
    # Seeds score 23 and 25, with fusion 26 and 28, of 40.
    assert (row["without_mean"], row["with_mean"], row["without_n"]) == (0.6, 0.675, 2)
    assert row["difference"] == pytest.approx(0.075)
    assert row["without_sd"] == pytest.approx(np.std([23 / 40, 25 / 40], ddof=1))
    assert (row["published_without"], row["published_with"]) == pytest.approx((0.6348, 0.7413))


def test_a_table_is_found_by_its_name_and_is_that_of_the_csv_file(finished_study: Study, report_once: Path) -> None:
    study = finished_study
    folder = report_once / "tables"
    assert {path.stem for path in folder.glob("*.csv")} == set(study.tables())
    for name in study.tables():
        assert study.table(name).to_csv(index=False, lineterminator="\n") == (folder / f"{name}.csv").read_text("utf-8")
    with pytest.raises(StudyError, match="Did you mean 'test_metrics'"):
        study.table("test-metrics")


def test_what_is_dear_is_computed_once_for_a_study(finished_study: Study) -> None:
    study = finished_study
    assert study.answers is study.answers and study.verdicts() is study.verdicts()
    assert study.validation_intervals is study.validation_intervals


def test_the_records_know_none_of_the_names_of_the_door() -> None:
    assert issubclass(Study, records.Study)
    door = {"answers", "validation_intervals", "accuracy_table", "verdicts", "tables", "table", "figures", "figure"}
    assert door <= set(dir(Study)) and not door & set(dir(records.Study))
