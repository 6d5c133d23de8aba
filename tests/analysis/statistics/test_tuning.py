"""Tuning curves and winners at the edge of their range."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from analysis import StudyError, load_study
from analysis.statistics.tuning import tuning_curves, why_no_tuning_curves, winners_at_edges

Make = Callable[..., Any]


def searched(directory: Any, scores: list[int], **search: Any) -> Any:
    directory.config["search"] = {"metric": "val_accuracy", "mode": "random", "scheduler": "none", **search}
    for index, right in enumerate(scores):
        directory.trial(f"t{index}", index=index, correct=[right])
    return directory


def test_curves_rise_inside_their_bands(run_directory: Make) -> None:
    study = load_study(searched(run_directory(), [20, 24, 28, 30, 31, 33, 22, 26]).save())
    curves = tuning_curves(study)
    assert curves["trials"].tolist() == list(range(1, 9))
    assert (np.diff(curves["value"]) >= 0).all()
    assert ((curves["low"] <= curves["value"]) & (curves["value"] <= curves["high"])).all()
    # One trial scores the median of all scores as often as not.
    assert curves["value"].iloc[0] == pytest.approx(np.median([20, 22, 24, 26, 28, 30, 31, 33]) / 40, abs=2 / 40)
    assert curves["high"].iloc[-1] <= 1.0


def test_the_band_holds_the_true_curve_at_every_number_of_trials_at_once(run_directory: Make) -> None:
    """Scores of 12 uniform draws: the median of the best of k is 0.5 ** (1 / k)."""
    rng = np.random.default_rng(0)
    directory = run_directory()
    directory.config["search"] = {"metric": "val_accuracy", "mode": "random", "scheduler": "none"}
    for study in range(20):
        for index in range(12):
            directory.trial(f"{study}-{index}", fusion=f"f{study}", index=index, correct=[20])
            right = round(10_000 * rng.random())
            confusion = np.zeros((5, 5), dtype=int)
            confusion[0, 0], confusion[0, 1] = right, 10_000 - right
            directory.rows["epochs"][-1]["confusion"] = confusion.ravel().tolist()
    curves = tuning_curves(load_study(directory.save(parquet=True)))
    truth = 0.5 ** (1 / curves["trials"])
    inside = (curves["low"] <= truth + 1e-4) & (truth - 1e-4 <= curves["high"])
    # Of 20 bands at 95 % fewer than 17 would hold the whole curve in one of sixty tries.
    assert inside.groupby(curves["arm"]).all().sum() >= 17
    # Not because they are endless: the best of 12 is known to a part of what one draw is.
    assert (curves["high"] - curves["low"])[curves["trials"] == 12].max() < 0.6


@pytest.mark.parametrize(
    ("search", "reason"),
    [
        ({"mode": "tpe"}, "search.mode is 'tpe'"),
        ({"mode": "grid"}, "search.mode is 'grid'"),
        ({"scheduler": "asha"}, "stopped early have no final score"),
        ({"warm_start": "earlier"}, "no random draw"),
    ],
)
def test_trials_that_are_no_independent_draws_are_refused(
    run_directory: Make, search: dict[str, str], reason: str
) -> None:
    study = load_study(searched(run_directory(), [20, 21], **search).save())
    assert reason in why_no_tuning_curves(study)
    with pytest.raises(StudyError, match="no tuning curves"):
        tuning_curves(study)


def test_failed_trials_are_no_ground_for_a_band(run_directory: Make) -> None:
    directory = searched(run_directory(), [20, 21])
    directory.trial("lost", index=9, status="failed", error="Boom")
    assert "first lost of WBC_1/off" in why_no_tuning_curves(load_study(directory.save()))


def test_a_trial_that_diverged_scored_what_it_had(run_directory: Make) -> None:
    directory = searched(run_directory(), [20, 21, 22])
    directory.trial("burst", index=3, status="diverged", correct=[4], losses=[None])
    curves = tuning_curves(load_study(directory.save()))
    assert curves["n"].tolist() == [4, 4, 4, 4]
    assert curves["value"].iloc[0] < 21 / 40


@pytest.mark.parametrize(
    ("learning_rate", "side"), [(1.1e-4, "lower"), (1e-3, ""), (9.9e-3, "upper"), (1e-2, "upper"), (2e-4, "")]
)
def test_winners_near_the_end_of_a_range_are_named(run_directory: Make, learning_rate: float, side: str) -> None:
    directory = run_directory()
    directory.config["search"] |= {"mode": "tpe", "learning_rate": [1e-4, 1e-2], "weight_decay": [1e-6, 1e-2]}
    directory.trial("a", correct=[20], learning_rate=learning_rate)
    edges = winners_at_edges(load_study(directory.save()))
    assert edges["side"].tolist() == ([side] if side else [])
    if side:
        assert f"the {side} edge of what was searched (0.0001 to 0.01)" in edges["sentence"].iloc[0]


def test_the_ends_of_a_grid_are_edges_unless_it_is_one_point(run_directory: Make) -> None:
    directory = run_directory()
    directory.config["search"] |= {
        "mode": "grid",
        "grid_learning_rate": [3e-4, 1e-3, 3e-3],
        "grid_weight_decay": [1e-4],
    }
    directory.trial("a", correct=[20], learning_rate=3e-3)
    directory.trial("b", fusion="sum", correct=[20], learning_rate=1e-3)
    edges = winners_at_edges(load_study(directory.save()))
    assert edges[["arm", "hyperparameter", "side"]].to_numpy().tolist() == [["WBC_1/off", "learning_rate", "upper"]]


def test_edges_of_further_settings_count_where_the_arm_has_them(run_directory: Make) -> None:
    directory = run_directory()
    directory.config["search"] |= {
        "mode": "tpe",
        "learning_rate": [1e-4, 1e-2],
        "weight_decay": [1e-6, 1e-2],
        "also": {
            "training.segmentation_weight": {"low": 0.1, "high": 1.0, "log": True},
            "training.effective_beta": [0.0, 0.9, 0.999],
            "training.loss_weights": ["none", "inverse", "effective"],
        },
    }

    def won(name: str, arm: str, weight: float, beta: float, loss_weights: str, **more: Any) -> None:
        values = {"training.segmentation_weight": weight, "training.effective_beta": beta}
        settings = json.dumps(values | {"training.loss_weights": loss_weights}, sort_keys=True)
        directory.trial(name, correct=[20], settings=settings, **more)
        for row in directory.rows["trials"][-2:]:
            row["arm"] = arm

    won("a", "WBC_1/off", 0.99, 0.999, "inverse")  # neither masks nor effective numbers
    won("b", "WBC_1/off+masks", 0.99, 0.0, "effective", segmentation="masks")  # 0 is no edge
    won("c", "WBC_1/sum", 0.99, 0.999, "effective", fusion="sum")
    won("d", "WBC_1/sum+masks", 0.3, 0.9, "effective", fusion="sum", segmentation="masks")
    edges = winners_at_edges(load_study(directory.save(parquet=True)))
    assert edges[["arm", "hyperparameter", "side"]].to_numpy().tolist() == [
        ["WBC_1/off+masks", "training.segmentation_weight", "upper"],
        ["WBC_1/sum", "training.effective_beta", "upper"],
    ]
    assert "the winner's segmentation weight 0.99 lies at the upper edge" in edges["sentence"].iloc[0]
