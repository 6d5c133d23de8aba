"""Confusion matrices of the selected runs."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from analysis import Study, load_study
from analysis.statistics.confusion import arm_confusions, run_confusions, shown_split


def test_test_matrices_come_from_predictions_and_validation_ones_from_the_best_epoch(finished_study: Study) -> None:
    study = finished_study
    ids = study.confirmed["trial_id"]
    for split in ("val", "test"):
        matrices = run_confusions(study, ids, split)
        accuracy = np.trace(matrices, axis1=1, axis2=2) / matrices.sum(axis=(1, 2))
        assert accuracy.tolist() == study.confirmed[f"{split}_accuracy"].tolist()


def test_without_a_test_split_validation_is_shown(
    run_directory: Callable[..., Any], fill_directory: Callable[..., Any]
) -> None:
    study = load_study(fill_directory(run_directory(), test=False).save())
    assert shown_split(study) == "val"
    table = arm_confusions(study)
    # Two runs of 40 images in each of four arms.
    assert table.groupby("arm")["count"].sum().tolist() == [80] * 4
    assert table["arm"].drop_duplicates().tolist() == ["WBC_1/off", "WBC_1/sum", "WBC_100/off", "WBC_100/sum"]


def test_nothing_selected_gives_an_empty_table(run_directory: Callable[..., Any]) -> None:
    assert len(arm_confusions(load_study(run_directory().save()))) == 0
