"""Confusion matrices and recall."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from analysis import Study, load_study
from analysis.figures.confusion import confusion_counts, confusion_shares, recall_heatmap, recall_heatmap_table


def test_recall_is_the_mean_over_seeds_and_agrees_with_the_confirmed_runs(finished_study: Study) -> None:
    study = finished_study
    table = recall_heatmap_table(study).set_index(["arm", "class"])
    for arm in study.confirmed["arm"].unique():
        runs = study.confirmed[study.confirmed["arm"] == arm]
        for name in study.classes:
            assert table.loc[(arm, name), "recall"] == runs[f"test_recall_{name.lower()}"].mean()
    assert table.loc[("WBC_1/off", "Neutrophil"), "images"] == 24


def test_a_class_without_test_images_has_no_recall(finished: Path) -> None:
    study = load_study(finished)
    study.predictions = study.predictions[study.predictions["label"] != 0]
    table = recall_heatmap_table(study)
    assert np.isnan(table.loc[table["class"] == "Basophil", "recall"]).all()
    figure = recall_heatmap(study)
    assert figure.data[0].text[0][0] == "\N{EN DASH}"
    assert figure.data[0].customdata[0][0] == "no image of this class"


def test_shares_sum_to_one_in_each_row_and_counts_to_the_images(finished_study: Study) -> None:
    study = finished_study
    share = confusion_shares(study).data[0]
    assert np.array(share.z, dtype=float).sum(axis=1) == pytest.approx(np.ones(5), abs=1e-3)
    counts = confusion_counts(study).data[0]
    assert sum(int(cell) for line in counts.text for cell in line if cell) == 80
