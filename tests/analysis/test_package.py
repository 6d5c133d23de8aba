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
from analysis import Study, load_study
from analysis.records.schema import CURVE_COLUMNS, EPOCH_COLUMNS, IMAGE_COLUMNS, PREDICTION_COLUMNS, TRIAL_COLUMNS
from analysis.report.page import zip_report
from analysis.tables.registry import tables
from analysis.tracking.export import export_tracking


def public() -> Iterator[tuple[str, Any]]:
    """Names and objects of the package's public functions and of everything that a study offers."""
    yield from (
        (function.__name__, function) for function in (load_study, analysis.write_report, zip_report, export_tracking)
    )
    offered = {name: inspect.getattr_static(Study, name) for name in dir(Study) if not name.startswith("_")}
    for name, member in offered.items():
        if callable(member) or isinstance(member, cached_property | property):
            yield f"Study.{name}", member


@pytest.mark.parametrize(("name", "member"), list(public()), ids=lambda value: value if isinstance(value, str) else "")
def test_the_example_of_a_public_name_runs(finished_study: Study, tmp_path: Path, name: str, member: Any) -> None:
    text = inspect.getdoc(member) or ""
    globs = {"study": finished_study, "tmp": tmp_path, "load_study": load_study}
    globs |= {"write_report": analysis.write_report, "zip_report": zip_report, "export_tracking": export_tracking}
    test = doctest.DocTestParser().get_doctest(text, globs, name, None, None)
    assert test.examples, f"{name} has no example"
    told: list[str] = []
    assert doctest.DocTestRunner(verbose=False).run(test, out=told.append).failed == 0, "".join(told)


def test_every_name_of_the_package_is_there() -> None:
    for name in analysis.__all__:
        assert getattr(analysis, name).__doc__


def test_columns_of_a_study_have_documented_types(finished_study: Study) -> None:
    study = finished_study
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


def test_types_are_those_of_the_schema(finished_study: Study) -> None:
    study = finished_study
    documented = {"string": "str", "list<int64>": "object"}
    frames = (
        (study.trials, TRIAL_COLUMNS),
        (study.epochs, EPOCH_COLUMNS),
        (study.predictions, PREDICTION_COLUMNS),
        (study.images, IMAGE_COLUMNS),
        (study.curves, CURVE_COLUMNS),
    )
    for frame, columns in frames:
        for name, kind in columns.items():
            assert name == "probabilities" or frame[name].dtype == documented.get(kind, kind), name
    trials = study.trials.dtypes.astype(str)
    assert trials[["subset", "best_epoch", "gradient_steps"]].tolist() == ["str", "Int64", "int64"]
    metrics = [name for name in study.confirmed if str(name).startswith(("val_", "test_"))]
    assert set(study.confirmed[metrics].dtypes.astype(str)) == {"float64"}
    assert set(study.predictions.filter(like="p_").dtypes.astype(str)) == {"float64"}
