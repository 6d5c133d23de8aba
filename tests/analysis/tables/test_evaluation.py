"""Tables of other data sets."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from analysis import load_study
from analysis.report.page import write_report
from analysis.tables.evaluation import evaluation_tables
from analysis.tables.registry import tables
from analysis.wording.formats import MISSING
from tests.analysis.conftest import RIGHT

Make = Callable[..., Any]


def test_each_arm_has_its_metrics_there_beside_its_own(run_directory: Make, fill_directory: Make) -> None:
    directory = fill_directory(run_directory())
    directory.evaluate("Zheng 2018 (Jiangxi)", RIGHT, {"also in the study's train images": 3})
    study = load_study(directory.save())
    metrics, verdicts = evaluation_tables(study)
    assert (metrics.name, verdicts.name) == ("outside_zheng_2018_jiangxi", "outside_verdicts_zheng_2018_jiangxi")
    shown = metrics.display().iloc[1]
    assert shown["Pretraining"] == "with (sum)" and shown["Accuracy %"] == "63.75"
    own = study.confirmed[study.confirmed["arm"] == "WBC_1/sum"]["test_accuracy"].mean()
    assert shown["Test accuracy %"] == f"{100 * own:.2f}"
    # The most frequent class there has 24 of 40 images.
    assert "Always answering Neutrophil scores 60.00 %" in metrics.caption
    assert "A single image of Basophil there" in metrics.caption and "No image of" not in metrics.caption
    assert set(metrics.display()["95 % interval "]) == {MISSING} and MISSING not in set(
        metrics.display()["95 % interval"]
    )
    assert "Left out: 3 also in the study's train images." in metrics.caption
    assert "out-of-domain accuracy" in verdicts.caption
    assert verdicts.display()["Difference"].tolist() == ["+10.00", "+10.00"]


def test_names_that_would_share_a_file_are_told_apart(run_directory: Make, fill_directory: Make) -> None:
    directory = fill_directory(run_directory())
    for name in ("a b", "a-b", "\N{GREEK SMALL LETTER ALPHA}"):
        directory.evaluate(name, RIGHT)
    names = [table.name for table in evaluation_tables(load_study(directory.save())) if "verdicts" not in table.name]
    assert names == ["outside_a_b", "outside_a_b_", "outside_data"]


def test_a_damaged_evaluation_does_not_hide_the_study(run_directory: Make, fill_directory: Make) -> None:
    directory = fill_directory(run_directory())
    directory.evaluate("zheng", RIGHT)
    (directory.path / "evaluations" / "zheng" / "evaluation.json").write_text("{")
    made = {table.name: table for table in tables(load_study(directory.save()))}
    assert "evaluation.json: cannot be read" in made["outside_unreadable"].caption
    assert "test_metrics" in made


def test_the_report_has_a_place_for_it_only_where_something_was_evaluated(
    run_directory: Make, fill_directory: Make
) -> None:
    directory = fill_directory(run_directory())
    path = directory.save()
    assert "Out of domain" not in write_report(load_study(path)).read_text(encoding="utf-8")
    directory.evaluate("zheng", RIGHT)
    page = write_report(load_study(path)).read_text(encoding="utf-8")
    assert 'id="outside"' in page and 'id="table-outside_zheng"' in page and "On other data sets" in page
