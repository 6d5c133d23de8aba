"""Differences averaged over the fractions."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from numpy.typing import NDArray

from analysis.statistics.pooled import COLUMNS, mean_differences
from analysis.statistics.predictions import ArmPredictions, Predictions
from analysis.statistics.scores import METRICS
from analysis.statistics.verdicts import compare_arms

CLASSES = ("a", "b", "c")
LABELS = np.repeat([0, 1, 2], [120, 60, 20])


def arm(
    right: float, fraction: float, fusion: str = "off", control: str = "", *, seeds: tuple[int, ...] = (1, 2, 3, 4, 5)
) -> ArmPredictions:
    """Answers that are right with a probability, drawn anew for each seed."""
    draw = np.random.default_rng([int(1e4 * right), int(100 * fraction), len(fusion), len(control)])
    return answered(np.full((len(seeds), len(LABELS)), right), fraction, fusion, control, draw, seeds)


def answered(
    chance: NDArray[np.float64],
    fraction: float,
    fusion: str,
    control: str,
    draw: np.random.Generator,
    seeds: tuple[int, ...] = (1, 2, 3, 4, 5),
    labels: NDArray[np.int64] = LABELS,
) -> ArmPredictions:
    """Answers of which each is right with its own chance."""
    chance = np.broadcast_to(chance, (len(seeds), len(labels)))
    wrong = (labels + draw.integers(1, 3, chance.shape)) % 3
    predicted = np.where(draw.random(chance.shape) < chance, labels, wrong)
    name = f"WBC_{100 * fraction:g}/{fusion}{'-' + control if control else ''}"
    encoders = "" if fusion == "off" else "prcc+cam16"
    return ArmPredictions(name, fraction, fusion, encoders, control, np.array(seeds), predicted)


def arms(gain: float, random: float = 0.0) -> tuple[ArmPredictions, ...]:
    made = []
    for fraction in (0.01, 0.1, 1.0):
        made += [arm(0.7, fraction), arm(0.7 + gain, fraction, "sum"), arm(0.7 + random, fraction, "sum", "random")]
    return tuple(made)


def test_each_fraction_counts_alike_and_the_mean_is_known_better_than_any() -> None:
    predictions = Predictions("test", CLASSES, LABELS, (*arms(0.06), arm(0.7, 0.1, control="twin")))
    frame, verdicts = mean_differences(predictions), compare_arms(predictions)
    assert tuple(frame.columns) == COLUMNS
    # The twin is at one fraction only.
    assert frame["kind"].tolist() == ["transfer", "random", "control"] * len(METRICS)
    for row in frame.to_dict("records"):
        single = verdicts[
            (verdicts["metric"] == row["metric"])
            & (verdicts["kind"] == row["kind"])
            & (verdicts["setting"] == row["setting"])
        ]
        assert row["subsets"] == "WBC_1, WBC_10, WBC_100" and row["seeds"] == 5 and row["images"] == len(LABELS)
        assert row["difference"] == pytest.approx(single["difference"].mean())
        assert row["high"] - row["low"] < (single["high"] - single["low"]).mean()


def test_only_seeds_that_all_of_the_arms_have_are_paired() -> None:
    whole = Predictions("test", CLASSES, LABELS, arms(0.1))
    two = arm(0.8, 1.0, "sum", seeds=(2, 4))
    some = replace(whole, arms=tuple(two if each.arm == two.arm else each for each in whole.arms))
    found = mean_differences(some).groupby("kind")["seeds"].unique()
    assert found["transfer"].tolist() == found["random"].tolist() == [2] and found["control"].tolist() == [5]
    one = replace(whole, arms=tuple(each for each in whole.arms if each.fraction == 1))
    assert len(mean_differences(one)) == 0


def test_a_fraction_whose_arms_share_no_seeds_is_left_out() -> None:
    whole = Predictions("test", CLASSES, LABELS, arms(0.1))
    other = arm(0.8, 0.1, "sum", seeds=(7, 8, 9))
    some = replace(whole, arms=tuple(other if each.arm == other.arm else each for each in whole.arms))
    row = mean_differences(some).iloc[0]
    assert (row["kind"], row["subsets"], row["seeds"]) == ("transfer", "WBC_1, WBC_100", 5)


@pytest.mark.parametrize("metric", ["accuracy", "macro_f1"])
def test_intervals_know_that_images_and_seeds_are_the_same_at_every_fraction(metric: str) -> None:
    draw, held, naive = np.random.default_rng(0), 0, 0
    labels = np.repeat([0, 1, 2], [120, 60, 9])
    for _ in range(150):
        # What the arm changes of an image, and under a seed, it changes at both fractions.
        shared = draw.normal(0, 0.25, len(labels)) + draw.normal(0, 0.03, (5, 1))
        hardness = draw.normal(0, 0.1, len(labels))
        made = [
            answered(np.clip(0.6 + hardness + change, 0, 1), fraction, fusion, "", draw, labels=labels)
            for fraction in (0.01, 0.1)
            for fusion, change in (("off", 0.0), ("sum", shared))
        ]
        predictions = Predictions("test", CLASSES, labels, tuple(made))
        frame, single = mean_differences(predictions), compare_arms(predictions)
        row = frame[frame["metric"] == metric].iloc[0]
        held += int(row["low"] <= 0 <= row["high"])
        errors = single.loc[single["metric"] == metric, "standard_error"]
        naive += int(abs(row["difference"]) <= 2.2 * np.sqrt((errors**2).sum()) / 2)
    # Of 150 intervals that cover 95 % fewer than 136 hold the truth once in a hundred times.
    assert held >= 136
    # As if the fractions had images and seeds of their own.
    assert naive < held


def test_no_mean_difference_is_further_from_zero_than_one() -> None:
    predictions = Predictions("test", CLASSES, LABELS, arms(0.0))
    # Better under one seed, worse under the other, each by everything.
    ends = (LABELS, (LABELS + 1) % 3)
    some = tuple(
        replace(each, seeds=np.array([1, 2]), predicted=np.stack(ends if each.fusion == "off" else ends[::-1]))
        for each in predictions.arms
        if not each.control
    )
    row = mean_differences(replace(predictions, arms=some)).iloc[0]
    assert (row["low"], row["difference"], row["high"]) == (-1, 0, 1)
