"""A small calibration: the statistics keep their promises on studies whose truth is known."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import yaml

from analysis import load_study
from analysis.records.schema import TABLES
from analysis.statistics.verdicts import compare_arms
from tests.benchmarks.calibrate import NULLS, coverage_rows, familywise_rows, power_rows
from tests.benchmarks.simulated_studies import (
    COURSEWORK_VALIDATION,
    Truth,
    effect_of,
    expected_metrics,
    records_of,
    simulate_study,
)


def run(function: Callable[[int], Any], count: int) -> Iterator[Any]:
    return map(function, range(count))


def test_simulated_answers_are_judged_as_their_records_are(tmp_path: Path) -> None:
    """What is calibrated is what users get: the door of the simulation and that of the records give the same frame."""
    predictions = simulate_study(Truth(seeds=3), np.random.default_rng(0), fractions=(0.1, 1.0))
    (tmp_path / "study.yaml").write_text(yaml.safe_dump({"name": "simulated"}))
    (tmp_path / "manifest.json").write_text(json.dumps({"schema_version": 1, "classes": list(predictions.classes)}))
    for table, rows in records_of(predictions).items():
        (tmp_path / "records" / table).mkdir(parents=True)
        frame = pd.DataFrame(rows, columns=list(TABLES[table]))
        frame.to_parquet(tmp_path / "records" / table / f"{0:08}-{len(rows) - 1:08}.parquet")
    pd.testing.assert_frame_equal(load_study(tmp_path).verdicts(), compare_arms(predictions))


def test_expected_metrics_are_those_of_very_many_images_and_seeds() -> None:
    truth = Truth(images=(900, 3100, 10300, 2400, 26500), seeds=30)
    predictions = simulate_study(truth, np.random.default_rng(1), {("off", ""): 0.3}, (1.0,))
    accuracy = (predictions.arms[0].predicted == predictions.labels).mean()
    assert accuracy == pytest.approx(expected_metrics(truth, 0.3, 20_000)["accuracy"], abs=0.02)
    difference = (
        expected_metrics(truth, effect_of(truth, 0.05), 20_000)["accuracy"]
        - expected_metrics(truth, 0.0, 20_000)["accuracy"]
    )
    assert difference == pytest.approx(0.05, abs=1e-6)


@pytest.mark.slow
def test_studies_without_effect_hold_no_gain_and_intervals_cover() -> None:
    """Bounds are those of `make calibrate`, widened by what so few studies vary by chance (draws are fixed)."""
    worst = "off and sum alike, random far worse"
    for row in familywise_rows(120, run, {worst: NULLS[worst]}):
        assert row.share <= 0.08 or row.part == "or of a control", row
    for row in coverage_rows(60, run, {"ordinary": Truth()}):
        assert 0.90 <= row.share <= 0.995, row


@pytest.mark.slow
def test_five_points_are_found_where_differences_vary_by_one_and_a_half() -> None:
    assert sum(COURSEWORK_VALIDATION) == 1728
    for row in power_rows(12, run, (1.5,)):
        assert row.share >= 0.75, row
