"""Scores of arms with their intervals."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from analysis import load_study
from analysis.statistics.estimates import ESTIMATE_COLUMNS, arm_intervals, estimate_all, score_arms
from analysis.statistics.predictions import ArmPredictions, Predictions, read_predictions

LABELS = np.repeat([0, 1, 2], [30, 20, 10])


def predictions(*seeds: int) -> Predictions:
    """One arm for each of some numbers of seeds; each run errs on images of its own."""
    arms = []
    for position, number in enumerate(seeds):
        draws = (np.random.default_rng([position, seed]).random(len(LABELS)) < 0.8 for seed in range(number))
        predicted = np.stack([np.where(right, LABELS, (LABELS + 1) % 3) for right in draws])
        arms.append(ArmPredictions(f"WBC_10/{position}", 0.1, "sum", "prcc", "", np.arange(number), predicted))
    return Predictions("test", ("a", "b", "c"), LABELS, tuple(arms))


def test_intervals_of_arms_agree_with_the_confirmed_runs(finished: Path) -> None:
    study = load_study(finished)
    frame = arm_intervals(read_predictions(study))
    for metric in ("accuracy", "macro_f1", "weighted_f1"):
        rows = frame[frame["metric"] == metric].set_index("arm")
        means = study.confirmed.groupby("arm")[f"test_{metric}"].mean()
        np.testing.assert_allclose(rows["value"], means.reindex(rows.index), rtol=1e-12)
        assert ((rows["low"] < rows["value"]) & (rows["value"] < rows["high"])).all()
        assert rows["low"].min() >= 0
        assert rows["high"].max() <= 1


def test_arms_that_are_scored_together_have_the_scores_that_each_has_alone() -> None:
    several = predictions(3, 2, 3)
    together = score_arms(several)
    assert list(together) == ["WBC_10/0", "WBC_10/1", "WBC_10/2"]
    for arm in several.arms:
        alone = score_arms(Predictions("test", several.classes, LABELS, (arm,)))[arm.arm]
        for metric, scores in alone.items():
            np.testing.assert_array_equal(together[arm.arm][metric].per_seed, scores.per_seed)
            np.testing.assert_array_equal(together[arm.arm][metric].contributions, scores.contributions)


def test_one_seed_has_no_numbers_beside_arms_that_have_some() -> None:
    some = predictions(3, 1, 2)
    frame = estimate_all([scores["accuracy"] for scores in score_arms(some).values()], some, "share")
    assert tuple(frame.columns) == ESTIMATE_COLUMNS
    assert frame.isna().all(axis=1).tolist() == [False, True, False]
