"""Predictions of the confirmed runs: paired by image, or refused."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from analysis import StudyError, load_study
from analysis.statistics.predictions import read_predictions

Make = Callable[..., Any]


def test_answers_are_those_of_the_records(finished: Path) -> None:
    study = load_study(finished)
    predictions = read_predictions(study)
    assert (predictions.split, predictions.labels.shape, len(predictions.arms)) == ("test", (40,), 4)
    assert [arm.arm for arm in predictions.arms] == ["WBC_1/off", "WBC_1/sum", "WBC_100/off", "WBC_100/sum"]
    for arm in predictions.arms:
        assert arm.seeds.tolist() == [101, 102]
        expected = study.confirmed.set_index(["arm", "seed"])["test_accuracy"]
        for seed, predicted in zip(arm.seeds, arm.predicted, strict=True):
            assert (predicted == predictions.labels).mean() == pytest.approx(expected[(arm.arm, seed)])


def test_every_run_has_the_same_images_in_the_same_order(run_directory: Make, fill_directory: Make) -> None:
    directory = fill_directory(run_directory())
    # The rows of one trial in another order, as another worker might have written them.
    mixed = [row for row in directory.rows["predictions"] if row["trial_id"] == "0.01-sum-c101"]
    rest = [row for row in directory.rows["predictions"] if row["trial_id"] != "0.01-sum-c101"]
    rows = [{**row, "sequence": 10_000 + position} for position, row in enumerate(reversed(mixed))]
    plain = read_predictions(load_study(directory.save()))
    directory.rows["predictions"] = rest + rows
    directory.path = directory.path.with_name("mixed")
    shuffled = read_predictions(load_study(directory.save()))
    for first, second in zip(plain.arms, shuffled.arms, strict=True):
        np.testing.assert_array_equal(first.predicted, second.predicted)


def test_the_validation_split_is_read_where_there_is_no_test(run_directory: Make, fill_directory: Make) -> None:
    study = load_study(fill_directory(run_directory(), test=False).save())
    assert read_predictions(study).split == "val"
    with pytest.raises(StudyError, match="nothing was predicted for the split 'test' by any of the 8 confirmed runs"):
        read_predictions(study, "test")


def test_predictions_that_do_not_pair_are_refused(run_directory: Make, fill_directory: Make) -> None:
    directory = fill_directory(run_directory("images"))
    lost = next(row for row in directory.rows["predictions"] if row["split"] == "test" and row["image"] == "test007")
    directory.rows["predictions"].remove(lost)
    with pytest.raises(StudyError, match=r"do not pair.*1 are in the first only|do not pair.*1 in the second only"):
        load_study(directory.save()).verdicts()
    directory = fill_directory(run_directory("labels"))
    wrong = next(row for row in directory.rows["predictions"] if row["split"] == "test" and row["image"] == "test007")
    wrong["label"] = 0
    with pytest.raises(StudyError, match=r"do not pair: image test007 has the label .*\(1 such images\)"):
        load_study(directory.save()).verdicts()


def test_groups_are_those_of_the_images(run_directory: Make, fill_directory: Make) -> None:
    directory = fill_directory(run_directory())
    assert read_predictions(load_study(directory.save())).groups is None
    grouped = fill_directory(run_directory("grouped"))
    for image in grouped.images:
        number = int(image["image"][-3:])
        image["group"] = "" if number >= 38 else f"patient {number % 4}"
    # Which patient has which number does not matter; two images of nobody that is known are two groups.
    study = load_study(grouped.save())
    groups = read_predictions(study).groups
    assert groups is not None
    np.testing.assert_array_equal(groups[:38], np.arange(38) % 4)
    assert len(set(groups[38:]) - set(groups[:38])) == 2
    # They change the intervals and not the means, and the verdict says on how many patients it rests.
    plain, mine = load_study(directory.path).verdicts(), study.verdicts()
    assert (plain["groups"] == 0).all()
    assert (mine["groups"] == 6).all()
    np.testing.assert_array_equal(plain["difference"], mine["difference"])
    assert (plain["standard_error"] != mine["standard_error"]).all()
    assert mine["sentence"].str.contains("40 images of 6 groups").all()
    assert mine["sentence"].str.contains("With fewer than 12 groups intervals are rough.").all()


def test_runs_that_are_not_predicted_yet_are_left_out(run_directory: Make, fill_directory: Make) -> None:
    directory = fill_directory(run_directory())
    directory.rows["predictions"] = [
        row
        for row in directory.rows["predictions"]
        if not (row["trial_id"] == "1.0-sum-c102" and row["split"] == "test")
    ]
    predictions = read_predictions(load_study(directory.save()))
    assert {arm.arm: len(arm.seeds) for arm in predictions.arms}["WBC_100/sum"] == 1


def test_no_confirmed_runs_no_answers(run_directory: Make, fill_directory: Make) -> None:
    with pytest.raises(StudyError, match=r"no confirmed runs.*Set confirm\.seeds"):
        read_predictions(load_study(fill_directory(run_directory(), confirm=False).save()))
