"""Settings side by side."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from analysis import Study, load_study
from analysis.arms import compare_means, compared_settings, control_settings, majority_floor, run_points, setting_of


def test_settings_come_from_the_arms(run_directory: Callable[..., Any]) -> None:
    directory = run_directory()
    directory.trial("a", fusion="sum", correct=[20])
    directory.trial("b", fusion="off", correct=[20])
    directory.trial("c", fusion="concat", correct=[20])
    directory.trial("d", fusion="sum", control="random", correct=[20])
    study = load_study(directory.save())
    assert compared_settings(study) == ["off", "concat", "sum"]
    assert control_settings(study) == ["sum-random"]
    assert setting_of("WBC_10/sum-random") == "sum-random"
    assert setting_of("no arm name") == "no arm name"


def test_points_hold_every_seed_with_its_group(finished_study: Study) -> None:
    points = run_points(finished_study, ["val_accuracy"])
    group = points[(points["subset"] == "WBC_100") & (points["setting"] == "off")]
    assert group["value"].tolist() == [31 / 40, 33 / 40]
    assert group["mean"].tolist() == pytest.approx([0.8, 0.8])
    assert group["n"].tolist() == [2, 2]


def test_floor_is_that_of_this_studys_validation_images(
    finished_study: Study, run_directory: Callable[..., Any]
) -> None:
    floor = majority_floor(finished_study)
    assert floor["class"] == "Neutrophil"
    assert floor["accuracy"] == 24 / 40
    assert floor["macro_f1"] == pytest.approx(2 * 24 / (24 + 40) / 5)
    assert majority_floor(load_study(run_directory("empty").save())) == {}


def test_several_fusions_are_not_merged_and_controls_left_out(run_directory: Callable[..., Any]) -> None:
    directory = run_directory()
    directory.trial("a", correct=[20])
    directory.trial("b", fusion="sum", correct=[24])
    directory.trial("c", fusion="gated", correct=[28])
    directory.trial("d", fusion="sum", control="shuffled", correct=[36])
    table = compare_means(load_study(directory.save()), "val_accuracy")
    assert table.loc["WBC_1", ["with_sum_mean", "with_gated_mean"]].tolist() == [0.6, 0.7]
    assert table.loc["WBC_1", "difference_gated"] == pytest.approx(0.2)
    assert not any("shuffled" in column for column in table)
