"""Temperatures, calibration errors and reliability bins."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from sklearn.metrics import log_loss

from analysis import load_study
from analysis.statistics.calibration import (
    calibration,
    calibration_error,
    ensemble_temperature,
    fit_temperature,
    reliability,
    reliability_table,
    temper,
)
from analysis.tables.registry import tables


def drawn(count: int, sharpness: float, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Labels drawn from known probabilities, and probabilities that are surer than those by a factor."""
    generator = np.random.default_rng(seed)
    logits = generator.normal(0, 1.5, (count, 4))
    truth = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    labels = np.array([generator.choice(4, p=row) for row in truth])
    return labels, temper(truth, 1 / sharpness)


@pytest.mark.parametrize("sharpness", [0.5, 1.0, 3.0])
def test_the_fitted_temperature_undoes_overconfidence_of_a_known_size(sharpness: float) -> None:
    labels, probabilities = drawn(6000, sharpness)
    assert fit_temperature(labels, probabilities) == pytest.approx(sharpness, rel=0.06)


def test_the_fitted_temperature_has_the_lowest_loss_of_its_neighbours() -> None:
    labels, probabilities = drawn(400, 2.0, seed=3)
    best = fit_temperature(labels, probabilities)
    losses = [log_loss(labels, temper(probabilities, best * factor)) for factor in (0.8, 1.0, 1.25)]
    assert losses[1] == min(losses)


def test_when_every_answer_is_right_the_temperature_stays_finite_and_leaves_doubt() -> None:
    probabilities = np.full((30, 5), 0.05)
    probabilities[:, 2] = 0.8
    tempered = temper(probabilities, fit_temperature(np.full(30, 2), probabilities))
    assert 0.9 < tempered[0, 2] < 0.999


def test_a_temperature_changes_no_answer_and_rows_still_sum_to_one() -> None:
    _, probabilities = drawn(200, 2.0)
    for temperature in (0.05, 1.0, 7.0):
        tempered = temper(probabilities, temperature)
        assert np.array_equal(tempered.argmax(axis=1), probabilities.argmax(axis=1))
        assert tempered.sum(axis=1) == pytest.approx(np.ones(200))
    assert temper(probabilities, 1.0) == pytest.approx(probabilities)


def test_an_empty_set_of_images_is_refused() -> None:
    with pytest.raises(ValueError, match="no image"):
        fit_temperature(np.zeros(0), np.zeros((0, 5)))


def test_calibration_error_of_a_case_worked_out_by_hand() -> None:
    # Four answers 0.9 sure, three of them right; two 0.6 sure, both right: (4 * 0.15 + 2 * 0.4) / 6.
    probabilities = np.array([[0.9, 0.1]] * 4 + [[0.4, 0.6]] * 2)
    labels = np.array([0, 0, 0, 1, 1, 1])
    assert calibration_error(labels, probabilities) == pytest.approx((4 * 0.15 + 2 * 0.4) / 6)
    bins = reliability(labels, probabilities, 10)
    assert bins["answers"].sum() == 6
    full = bins[bins["answers"] > 0]
    assert full[["low", "high", "accuracy"]].round(3).to_numpy().tolist() == [[0.5, 0.6, 1.0], [0.8, 0.9, 0.75]]


def test_calibrated_probabilities_have_next_to_no_calibration_error() -> None:
    labels, probabilities = drawn(8000, 1.0)
    assert calibration_error(labels, probabilities) < 0.02
    assert calibration_error(labels, temper(probabilities, 0.3)) > 0.1


def test_a_study_has_single_runs_and_the_ensemble_of_every_arm(finished: Path) -> None:
    study = load_study(finished)
    frame = calibration(study)
    assert frame["kind"].tolist() == ["single run", "ensemble"] * 4
    assert set(frame["split"]) == {"test"} and set(frame["images"]) == {40} and set(frame["runs"]) == {2}
    # The fixture is always 0.6 sure.
    runs = study.confirmed[study.confirmed["arm"] == "WBC_100/sum"]
    single = frame[(frame["arm"] == "WBC_100/sum") & (frame["kind"] == "single run")].iloc[0]
    assert single["ece"] == pytest.approx((runs["test_accuracy"] - 0.6).abs().mean())
    # 34 to 36 of 40 are right: surer is better, and the temperature says so.
    assert single["temperature"] < 1 and single["ece_tempered"] < single["ece"]


def test_the_ensemble_of_one_run_is_that_run(finished: Path) -> None:
    study = load_study(finished)
    run = study.confirmed[study.confirmed["arm"] == "WBC_1/off"]["trial_id"].iloc[0]
    rows = study.predictions[(study.predictions["trial_id"] == run) & (study.predictions["split"] == "val")]
    shares = rows[[f"p_{name.lower()}" for name in study.classes]].to_numpy()
    assert ensemble_temperature(study, [run]) == pytest.approx(fit_temperature(rows["label"], shares))
    with pytest.raises(ValueError, match="no validation predictions"):
        ensemble_temperature(study, [run, "unknown"])


def test_without_a_test_split_calibration_says_that_it_is_optimistic(run_directory, fill_directory) -> None:
    study = load_study(fill_directory(run_directory(), test=False).save())
    assert set(calibration(study)["split"]) == {"val"}
    (table,) = [table for table in tables(study) if table.name == "calibration"]
    assert "optimistic" in table.caption


def test_without_confirmed_runs_there_is_nothing_to_calibrate(run_directory, fill_directory) -> None:
    study = load_study(fill_directory(run_directory(), confirm=False).save())
    assert not len(calibration(study)) and not len(reliability_table(study))
    assert "calibration" not in {table.name for table in tables(study)}
