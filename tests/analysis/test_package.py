"""What a notebook needs: every public name has an example, and every example runs."""

from __future__ import annotations

import doctest
import inspect
from collections.abc import Iterator
from functools import cached_property
from pathlib import Path
from typing import Any

import pytest

import analysis
from analysis import Study, StudyError, load_study
from analysis.report import zip_report
from analysis.tables import tables
from analysis.tracking.export import export_tracking


def public() -> Iterator[tuple[str, Any]]:
    """Names and objects of the package's public functions and of everything that a study offers."""
    yield from (
        (function.__name__, function) for function in (load_study, analysis.write_report, zip_report, export_tracking)
    )
    offered = {name: member for name, member in vars(Study).items() if not name.startswith("_")}
    for name, member in offered.items():
        if callable(member) or isinstance(member, cached_property | property):
            yield f"Study.{name}", member


@pytest.mark.parametrize(("name", "member"), list(public()), ids=lambda value: value if isinstance(value, str) else "")
def test_the_example_of_a_public_name_runs(finished: Path, tmp_path: Path, name: str, member: Any) -> None:
    text = inspect.getdoc(member) or ""
    globs = {"study": load_study(finished), "tmp": tmp_path, "load_study": load_study}
    globs |= {"write_report": analysis.write_report, "zip_report": zip_report, "export_tracking": export_tracking}
    test = doctest.DocTestParser().get_doctest(text, globs, name, None, None)
    assert test.examples, f"{name} has no example"
    told: list[str] = []
    assert doctest.DocTestRunner(verbose=False).run(test, out=told.append).failed == 0, "".join(told)


def test_every_name_of_the_package_is_there() -> None:
    for name in analysis.__all__:
        assert getattr(analysis, name).__doc__


def test_columns_of_a_study_have_documented_types(finished: Path) -> None:
    study = load_study(finished)
    for frame, documented in (
        (study.trials, "trials"),
        (study.confirmed, "confirmed"),
        (study.predictions, "predictions"),
    ):
        text = inspect.getdoc(getattr(Study, documented)) or ""
        assert "Returns" in text
        for column in frame:
            name = str(column)
            known = name in text or "TRIAL_COLUMNS" in text or "_recall_" in name or name.startswith("p_")
            known |= name.startswith("test_") and "the same with" in " ".join(text.split())
            assert known, f"{documented}.{column} is not documented"
    assert {table.name for table in tables(study)} >= {"validation_accuracy", "winners"}


def test_a_table_is_found_by_its_name_and_is_that_of_the_csv_file(finished: Path, tmp_path: Path) -> None:
    study = load_study(finished)
    folder = analysis.write_report(study, tmp_path / "report").parent / "tables"
    assert {path.stem for path in folder.glob("*.csv")} == set(study.tables())
    for name in study.tables():
        assert study.table(name).to_csv(index=False, lineterminator="\n") == (folder / f"{name}.csv").read_text("utf-8")
    with pytest.raises(StudyError, match="Did you mean 'test_metrics'"):
        study.table("test-metrics")
