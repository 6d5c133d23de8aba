"""Predictions of the confirmed runs on other data sets."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pandas as pd
import pytest

from analysis import StudyError, load_study
from analysis.metrics import confusion_metrics, count_confusion
from analysis.statistics.evaluations import left_out, read_evaluations, shift_table
from tests.analysis.conftest import RIGHT

Make = Callable[..., Any]


def test_every_confirmed_run_is_paired_over_the_same_images(run_directory: Make, fill_directory: Make) -> None:
    directory = fill_directory(run_directory())
    directory.evaluate("zheng", {**RIGHT, "of an earlier winner": 3}, {"identical to another": 2})
    study = load_study(directory.save())
    (found,) = read_evaluations(study)
    assert (found.name, found.predictions.split, len(found.predictions.labels)) == ("zheng", "outside", 40)
    assert [arm.arm for arm in found.predictions.arms] == ["WBC_1/off", "WBC_1/sum", "WBC_100/off", "WBC_100/sum"]
    for arm in found.predictions.arms:
        key = f"{'0.01' if arm.fraction == 0.01 else '1.0'}-{arm.fusion}"
        right = (arm.predicted == found.predictions.labels).sum(axis=1)
        assert right.tolist() == [RIGHT[f"{key}-c{seed}"] for seed in arm.seeds]
    assert left_out(found) == "Left out: 2 identical to another." and min(found.images_by_class.values()) > 0


def test_own_and_other_images_stand_side_by_side(run_directory: Make, fill_directory: Make) -> None:
    directory = fill_directory(run_directory())
    directory.evaluate("zheng", RIGHT)
    study = load_study(directory.save())
    table = shift_table(study).set_index(["place", "metric", "arm"])
    own = study.confirmed.groupby("arm")[["test_accuracy", "test_macro_f1"]].mean()
    for arm in own.index:
        assert table.loc[("test", "accuracy", arm), "value"] == pytest.approx(own.loc[arm, "test_accuracy"])
        assert table.loc[("test", "macro_f1", arm), "value"] == pytest.approx(own.loc[arm, "test_macro_f1"])
    assert table.loc[("zheng", "accuracy", "WBC_1/sum"), "value"] == pytest.approx((25 + 26) / 2 / 40)


def test_macro_f1_there_is_that_of_its_own_confusion_matrix(run_directory: Make, fill_directory: Make) -> None:
    directory = fill_directory(run_directory())
    directory.evaluate("zheng", RIGHT)
    study = load_study(directory.save())
    (found,) = read_evaluations(study)
    arm = found.predictions.arms[0]
    each = [confusion_metrics(count_confusion(found.predictions.labels, row, 5)[0]).macro_f1 for row in arm.predicted]
    table = shift_table(study).set_index(["place", "metric", "arm"])
    assert table.loc[("zheng", "macro_f1", arm.arm), "value"] == pytest.approx(sum(map(float, each)) / 2)


def test_half_an_evaluation_and_one_without_current_runs_are_none(run_directory: Make, fill_directory: Make) -> None:
    directory = fill_directory(run_directory())
    directory.evaluate("stale", {"of an earlier winner": 3})
    directory.evaluate("interrupted", RIGHT)
    (directory.path / "evaluations" / "interrupted" / "evaluation.json").unlink()
    study = load_study(directory.save())
    assert read_evaluations(study) == [] and not len(shift_table(study))


def test_runs_that_scored_other_images_are_refused_by_name(run_directory: Make, fill_directory: Make) -> None:
    directory = fill_directory(run_directory())
    directory.evaluate("zheng", RIGHT)
    path = directory.path / "evaluations" / "zheng" / "predictions.parquet"
    pd.read_parquet(path).iloc[1:].to_parquet(path)
    study = load_study(directory.save())
    with pytest.raises(StudyError, match=r"evaluations/zheng/predictions.parquet.*scored 39 images|scored 40 images"):
        read_evaluations(study)
    (path.with_name("evaluation.json")).write_text("{")
    with pytest.raises(StudyError, match=r"evaluation.json: cannot be read"):
        read_evaluations(study)


def test_what_was_left_out_is_said_only_where_something_was(run_directory: Make, fill_directory: Make) -> None:
    directory = fill_directory(run_directory())
    directory.evaluate("zheng", RIGHT)
    (found,) = read_evaluations(load_study(directory.save()))
    assert left_out(found) == ""
    assert json.loads((directory.path / "evaluations" / "zheng" / "evaluation.json").read_text())["images"] == 40
