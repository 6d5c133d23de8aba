"""Results against the fraction."""

from __future__ import annotations

import pytest

from analysis import Study
from analysis.figures.fraction_curve import fraction_curve, fraction_curve_table
from analysis.statistics.estimates import arm_intervals
from analysis.statistics.predictions import read_predictions


def test_table_has_every_seed_and_the_published_values(finished_study: Study) -> None:
    table = fraction_curve_table(finished_study)
    study = table[(table["source"] == "study") & (table["metric"] == "val_accuracy")]
    assert study["value"].tolist() == [x / 40 for x in (23, 25, 26, 28, 31, 33, 34, 36)]
    published = table[table["source"] == "published"]
    assert published["value"].tolist() == pytest.approx([0.6348, 0.7413, 0.9034, 0.9304])
    assert published["setting"].unique().tolist() == ["published without", "published with"]


def test_figure_has_means_seeds_and_published_lines(finished_study: Study) -> None:
    names = [trace.name for trace in fraction_curve(finished_study).data if trace.showlegend is not False]
    assert names == [
        "without pretraining, mean",
        "without pretraining, each seed",
        "with (sum), mean",
        "with (sum), each seed",
        "published, without",
        "published, with",
    ]


def test_bands_are_the_intervals_of_the_tables(finished_study: Study) -> None:
    study = finished_study
    table = fraction_curve_table(study)
    expected = arm_intervals(read_predictions(study, "val")).set_index(["arm", "metric"])
    rows = table[(table["source"] == "study") & (table["metric"] == "val_accuracy")].drop_duplicates("arm")
    for arm, low, high in zip(rows["arm"], rows["low"], rows["high"], strict=True):
        assert (low, high) == tuple(expected.loc[(arm, "accuracy"), ["low", "high"]])
    bands = [trace for trace in fraction_curve(study).data if trace.fill == "toself"]
    assert len(bands) == 4
