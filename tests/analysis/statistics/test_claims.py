"""The published claims against records whose truth is known."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from analysis import load_study
from analysis.statistics.claims import NOT_SUPPORTED, OPEN, SUPPORTED, check_claims
from analysis.statistics.predictions import study_predictions
from tests.benchmarks.simulated_studies import Truth, expected_metrics, simulate_study

HELPS, MORE, MONOCYTES, LYMPHOCYTES, BASOPHILS = range(5)
SETTINGS = {("off", ""): 0.0, ("sum", ""): 0.0, ("sum", "random"): 0.0}


def test_a_study_without_effects_supports_no_claim_about_fusion() -> None:
    frame = check_claims(simulate_study(Truth(), np.random.default_rng(0), SETTINGS))
    assert frame["claim"].tolist() == [
        "Fusion helps at every fraction",
        "Fusion helps more with less data",
        "Fusion makes monocytes worse",
        "Fusion helps lymphocytes least",
        "Basophils are easy",
    ]
    assert (frame["support"][:4] == NOT_SUPPORTED).all()
    assert "The interval holds 0: not borne out, not refuted." in frame["sentence"][MORE]


def test_true_effects_are_found() -> None:
    """Fusion helps everywhere, most where there is least data."""
    effects = {(fraction, "sum", ""): effect for fraction, effect in ((0.01, 3.0), (0.1, 1.2), (0.5, 1.0), (1.0, 0.6))}
    truth = Truth(recall=(0.9, 0.5, 0.6, 0.5, 0.6))
    predictions = simulate_study(truth, np.random.default_rng(1), SETTINGS, effects=effects)
    frame = check_claims(predictions)
    assert frame["support"].tolist()[:3] == [SUPPORTED, SUPPORTED, NOT_SUPPORTED]
    assert "The opposite of the claim" in frame["sentence"][MONOCYTES]
    gains = [expected_metrics(truth, effect)["accuracy"] for effect in (3.0, 0.6)]
    assert frame["low"][MORE] < gains[0] - gains[1] < frame["high"][MORE]
    # Basophils are right more often than the mean of the others by 0.9 - 0.55.
    assert frame["support"][BASOPHILS] == SUPPORTED
    assert frame["low"][BASOPHILS] < 0.35 < frame["high"][BASOPHILS]
    assert "of 9 images" in frame["sentence"][BASOPHILS]


def test_the_values_are_those_of_the_recalls() -> None:
    predictions = simulate_study(Truth(), np.random.default_rng(2))
    frame = check_claims(predictions)

    def recall(label: int, fusion: str) -> float:
        members = predictions.labels == label
        return float(
            np.mean([(arm.predicted == label)[:, members].mean() for arm in predictions.arms if arm.fusion == fusion])
        )

    change = {label: recall(label, "sum") - recall(label, "off") for label in range(5)}
    assert frame["value"][MONOCYTES] == pytest.approx(change[3])
    least = [change[2] - change[label] for label in (0, 1, 3, 4)]
    assert min(abs(frame["value"][LYMPHOCYTES] - each) for each in least) < 1e-12
    assert frame["value"][BASOPHILS] == pytest.approx(
        recall(0, "off") - np.mean([recall(label, "off") for label in (1, 2, 3, 4)])
    )


def test_lymphocytes_gain_least_only_if_less_than_every_other_class() -> None:
    predictions = simulate_study(Truth(recall=(0.5, 0.5, 0.9, 0.5, 0.5)), np.random.default_rng(3))
    # Fusion now answers everything right but lymphocytes, which stay as they are without.
    off = {arm.fraction: arm for arm in predictions.arms if arm.fusion == "off"}
    lymphocytes = predictions.labels == 2
    perfect = [
        replace(arm, predicted=np.where(lymphocytes, off[arm.fraction].predicted, predictions.labels))
        if arm.fusion == "sum"
        else arm
        for arm in predictions.arms
    ]
    frame = check_claims(replace(predictions, arms=tuple(perfect)))
    assert frame["support"][LYMPHOCYTES] == SUPPORTED
    assert "Less than 4 of the 4 other classes" in frame["sentence"][LYMPHOCYTES]
    same = [
        replace(arm, predicted=np.where(predictions.labels == 4, off[arm.fraction].predicted, arm.predicted))
        for arm in perfect
    ]
    frame = check_claims(replace(predictions, arms=tuple(same)))
    assert frame["support"][LYMPHOCYTES] == NOT_SUPPORTED
    assert (
        "Less than 3 of the 4 other classes with certainty: basophil, eosinophil, monocyte."
        in frame["sentence"][LYMPHOCYTES]
    )


def test_what_is_missing_is_said() -> None:
    predictions = simulate_study(Truth(), np.random.default_rng(4), effects={(0.1, "sum", ""): 2.0}, fractions=(0.1,))
    frame = check_claims(predictions)
    assert frame["support"][HELPS] == OPEN
    assert "random encoders is missing at WBC_10" in frame["sentence"][HELPS]
    assert frame["support"][MORE] == OPEN
    assert "two fractions" in frame["sentence"][MORE]
    alone = check_claims(replace(predictions, arms=tuple(arm for arm in predictions.arms if arm.fusion == "off")))
    assert alone["support"].tolist()[:4] == [OPEN] * 4
    single = tuple(replace(arm, seeds=arm.seeds[:1], predicted=arm.predicted[:1]) for arm in predictions.arms)
    frame = check_claims(replace(predictions, arms=single))
    assert (frame["support"] == OPEN).all()
    assert "share 1 confirmed seeds" in frame["sentence"][MONOCYTES]
    no_monocyte = predictions.labels != 3
    arms = tuple(replace(arm, predicted=arm.predicted[:, no_monocyte]) for arm in predictions.arms)
    frame = check_claims(replace(predictions, labels=predictions.labels[no_monocyte], arms=arms))
    assert frame["sentence"][MONOCYTES] == "There is no test image of Monocyte."


def test_claims_come_from_records(finished: Path) -> None:
    frame = check_claims(study_predictions(load_study(finished)))
    assert len(frame) == 5
    assert (frame["setting"] == "sum").all()
    assert frame["published"][HELPS] == "WBC_1 +10.65, WBC_10 +5.30, WBC_50 +1.09, WBC_100 +2.70"
    assert frame["published"][BASOPHILS].startswith("WBC_1 33.33 %, WBC_10 100.00 %")
    # Without and with at 1 %: 22 and 24, 25 and 27 of 40 right; at 100 %: 30 and 32, 33 and 35.
    assert frame["value"][MORE] == pytest.approx(0.0)
