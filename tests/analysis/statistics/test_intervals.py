"""Intervals against closed forms, scipy, statsmodels and scikit-learn; their coverage is tested by simulation elsewhere."""

from __future__ import annotations

import math

import numpy as np
import pandas as pd
import pytest
from scipy import stats
from sklearn.metrics import accuracy_score, f1_score
from statsmodels.formula.api import ols
from statsmodels.stats.anova import anova_lm

from analysis.statistics import intervals
from analysis.statistics.intervals import crossed_interval
from analysis.statistics.scores import score_recall, score_runs

SMALL = [9, 31, 103, 24, 265]


def answers(sizes: list[int], seeds: int, draw: int = 0, right: float = 0.8) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(draw)
    labels = np.repeat(np.arange(len(sizes)), sizes)
    predicted = np.where(rng.random((seeds, len(labels))) < right, labels, rng.integers(0, len(sizes), len(labels)))
    return labels, predicted


def test_scores_equal_scikit_learn() -> None:
    labels, predicted = answers(SMALL, 4)
    scores = score_runs(labels, predicted, 5)
    for seed in range(4):
        assert scores["accuracy"].per_seed[seed] == pytest.approx(accuracy_score(labels, predicted[seed]))
        for name, average in (("macro_f1", "macro"), ("weighted_f1", "weighted")):
            expected = f1_score(labels, predicted[seed], labels=range(5), average=average, zero_division=0)
            assert scores[name].per_seed[seed] == pytest.approx(expected)


def test_contributions_are_the_derivative_of_the_metric() -> None:
    """An image answered a little more often adds its contribution, less what all images of its class add by their number."""
    labels, predicted = answers([6, 10, 20], 1)
    scores = score_runs(labels, predicted, 3)

    def weighted(weights: np.ndarray) -> dict[str, float]:
        # Class sizes are fixed: weights are moved inside a class.
        f1 = f1_score(labels, predicted[0], labels=range(3), average=None, sample_weight=weights)
        shares = np.bincount(labels) / len(labels)
        accuracy = accuracy_score(labels, predicted[0], sample_weight=weights)
        return {"accuracy": accuracy, "macro_f1": f1.mean(), "weighted_f1": (f1 * shares).sum()}

    step = 1e-5
    for first, second in ((0, 3), (6, 9), (16, 30), (20, 35)):
        more, less = np.ones(36), np.ones(36)
        more[first] += step
        more[second] -= step
        less[first] -= step
        less[second] += step
        for name, score in scores.items():
            slope = (weighted(more)[name] - weighted(less)[name]) / (2 * step)
            difference = score.contributions[0, first] - score.contributions[0, second]
            assert slope == pytest.approx(difference, abs=1e-8), (name, first, second)


def test_variance_components_equal_the_analysis_of_variance(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(intervals, "PSEUDO_IMAGE", 0.0)
    labels = np.zeros(30, dtype=int)  # one class; answered 0 or 1, images and seeds differ in how often
    rng = np.random.default_rng(3)
    predicted = (np.linspace(0, 1, 30) + np.linspace(0, 0.4, 4)[:, None] > rng.random((4, 30))).astype(int)
    estimate = crossed_interval(score_runs(labels, predicted, 2)["accuracy"], labels)
    long = pd.DataFrame(
        {
            "right": (predicted == labels).ravel().astype(float),
            "seed": np.repeat(np.arange(4), 30),
            "image": np.tile(np.arange(30), 4),
        }
    )
    table = anova_lm(ols("right ~ C(seed) + C(image)", long).fit())
    seeds, images, rest = table["mean_sq"]
    assert seeds > rest
    assert images > rest
    expected = (seeds + images - rest) / 120
    assert estimate.standard_error == pytest.approx(math.sqrt(expected))
    freedom = expected**2 / ((seeds / 120) ** 2 / 3 + (images / 120) ** 2 / 29 + (rest / 120) ** 2 / 87)
    assert estimate.degrees_of_freedom == pytest.approx(freedom)
    margin = stats.t.ppf(0.975, freedom) * math.sqrt(expected)
    assert (estimate.low, estimate.high) == pytest.approx((estimate.value - margin, estimate.value + margin))
    assert estimate.p == pytest.approx(2 * stats.t.sf(estimate.value / math.sqrt(expected), freedom))
    assert estimate.seed_part + estimate.image_part + estimate.interaction_part == pytest.approx(expected)


def test_images_alone_vary_when_all_runs_answer_alike(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(intervals, "PSEUDO_IMAGE", 0.0)
    labels = np.zeros(50, dtype=int)
    predicted = np.random.default_rng(4).integers(0, 2, (1, 50))
    right = (predicted[0] == labels).astype(float)
    estimate = crossed_interval(score_runs(labels, np.repeat(predicted, 3, axis=0), 2)["accuracy"], labels)
    assert estimate.standard_error == pytest.approx(stats.sem(right))
    interval = stats.ttest_1samp(right, 0).confidence_interval()
    assert (estimate.low, estimate.high) == pytest.approx((interval.low, interval.high))


def test_the_interval_of_a_share_is_that_of_its_log_odds() -> None:
    labels, predicted = answers(SMALL, 5, right=0.95)
    scores = score_runs(labels, predicted, 5)["accuracy"]
    plain, share = crossed_interval(scores, labels), crossed_interval(scores, labels, scale="share")
    odds = math.log(share.value / (1 - share.value))
    # Delta method: the log odds vary by the share's error over p (1 - p).
    reach = (plain.high - plain.value) / (share.value * (1 - share.value))
    expected = [1 / (1 + math.exp(-(odds + side * reach))) for side in (-1, 1)]
    assert (share.low, share.high) == pytest.approx(expected)
    perfect = crossed_interval(
        score_runs(labels, np.repeat(labels[None], 5, axis=0), 5)["accuracy"], labels, scale="share"
    )
    assert 0.9 < perfect.low < perfect.high == 1.0


def test_a_class_that_is_always_right_still_has_uncertainty() -> None:
    labels, _ = answers(SMALL, 1)
    scores = score_runs(labels, np.repeat(labels[None], 5, axis=0), 5)
    for score in scores.values():
        assert crossed_interval(score, labels).standard_error > 0


def test_an_arm_against_itself_differs_by_nothing() -> None:
    labels, predicted = answers(SMALL, 5)
    for score in score_runs(labels, predicted, 5).values():
        estimate = crossed_interval(score - score, labels)
        assert (estimate.value, estimate.p) == (0.0, 1.0)
        assert estimate.low < 0 < estimate.high


def test_many_studies_at_once_equal_each_alone() -> None:
    made = [answers(SMALL, 5, draw) for draw in range(3)]
    labels, together = made[0][0], np.stack([predicted for _, predicted in made])
    for name, scores in score_runs(labels, together, 5).items():
        estimates = crossed_interval(scores, labels)
        for position, (_, predicted) in enumerate(made):
            alone = crossed_interval(score_runs(labels, predicted, 5)[name], labels)
            for field in ("value", "low", "high", "p", "seed_part", "interaction_part"):
                assert getattr(estimates, field)[position] == pytest.approx(getattr(alone, field), rel=1e-10), field


def test_one_seed_is_refused() -> None:
    labels, predicted = answers(SMALL, 1)
    with pytest.raises(ValueError, match="found 1 seed, expected at least 2"):
        crossed_interval(score_runs(labels, predicted, 5)["accuracy"], labels)


@pytest.mark.parametrize("counts", [SMALL, [1, *SMALL[1:]]])
def test_images_that_are_each_a_group_are_images(counts: list[int]) -> None:
    labels, predicted = answers(counts, 5)
    for score in score_runs(labels, predicted, 5).values():
        plain = crossed_interval(score, labels)
        # Numbers of groups carry no order and may have gaps.
        grouped = crossed_interval(score, labels, groups=3 * np.random.default_rng(0).permutation(len(labels)))
        for field in ("value", "standard_error", "seed_sd", "seed_part", "image_part", "interaction_part"):
            assert getattr(grouped, field) == pytest.approx(getattr(plain, field), rel=1e-10), field


def test_groups_of_one_size_are_the_analysis_of_variance_of_their_means(monkeypatch: pytest.MonkeyPatch) -> None:
    """Twelve patients of five images each: what varies are the patients' accuracies."""
    monkeypatch.setattr(intervals, "PSEUDO_IMAGE", 0.0)
    rng = np.random.default_rng(5)
    groups = rng.permutation(np.repeat(np.arange(12), 5))
    labels = np.zeros(60, dtype=int)
    easy = rng.normal(0.5, 0.3, 12)[groups] + np.linspace(0, 0.3, 4)[:, None]
    predicted = (rng.random((4, 60)) > easy).astype(int)
    estimate = crossed_interval(score_runs(labels, predicted, 2)["accuracy"], labels, groups=groups)
    long = pd.DataFrame(
        {
            "accuracy": [(predicted[seed, groups == group] == 0).mean() for seed in range(4) for group in range(12)],
            "seed": np.repeat(np.arange(4), 12),
            "patient": np.tile(np.arange(12), 4),
        }
    )
    seeds, patients, rest = anova_lm(ols("accuracy ~ C(seed) + C(patient)", long).fit())["mean_sq"]
    assert patients > rest
    expected = (max(seeds, 0.5 * rest) + patients - rest) / 48
    assert estimate.standard_error == pytest.approx(math.sqrt(expected))
    freedom = expected**2 / ((seeds / 48) ** 2 / 3 + (patients / 48) ** 2 / 11 + (rest / 48) ** 2 / 33)
    assert estimate.degrees_of_freedom == pytest.approx(freedom)
    assert estimate.image_freedom == pytest.approx(11)


def test_images_of_a_patient_that_fare_alike_make_the_interval_longer() -> None:
    rng = np.random.default_rng(6)
    labels, _ = answers(SMALL, 1)
    groups = rng.integers(0, 30, len(labels))
    right = (rng.normal(1, 1, 30)[groups] + rng.normal(0, 0.5, (5, len(labels)))) > 0
    scores = score_runs(labels, np.where(right, labels, (labels + 1) % 5), 5)
    for score in scores.values():
        alone, together = crossed_interval(score, labels), crossed_interval(score, labels, groups=groups)
        assert together.value == alone.value
        assert together.standard_error > 1.5 * alone.standard_error
        assert together.degrees_of_freedom < 30


def test_a_class_of_one_patient_keeps_the_uncertainty_of_its_images() -> None:
    labels, predicted = answers(SMALL, 5)
    groups = np.random.default_rng(7).integers(0, 30, len(labels))
    groups[labels == 0] = 30
    score = score_recall(labels, predicted, 5)[0]
    together = crossed_interval(score, labels, groups=groups)
    assert together.standard_error == pytest.approx(crossed_interval(score, labels).standard_error)
