"""A trial is a function of its configuration and seed, however often it is interrupted."""

import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from sklearn.metrics import accuracy_score, confusion_matrix

from models.checkpoints import load_state
from study.design.arms import Arm
from study.training.run import load_or_start
from tests.study.training.trials import (
    BOTH,
    EVERY_KIND,
    FINETUNE,
    LIVE,
    MASKS,
    NETWORK,
    OFF,
    SUM,
    weights,
)


@pytest.mark.parametrize(
    ("arm", "changes"),
    [
        *((arm, {}) for arm in EVERY_KIND),
        (OFF, {"training": {"steps_per_epoch": None, "plateau_patience": 0}}),
        (SUM, {"training": {"steps_per_epoch": None, "plateau_patience": 0}}),
        (SUM, {"training": {"schedule": "cosine"}}),
        (MASKS, {"training": {"precision": "bfloat16"}}),
        # Interrupted while the trunk is frozen, and after.
        (FINETUNE, {"training": {"frozen_epochs": 2}}),
        (SUM, LIVE),
        (Arm(1.0, "gated", BOTH, "shuffled"), LIVE),
        (MASKS, {}),
        (Arm(1.0, "finetune", ("cam16",), segmentation=True), {"training": {"frozen_epochs": 2}}),
        (SUM, {"training": {"loss_weights": "effective", "sampling": "balanced", "steps_per_epoch": 5}}),
    ],
)
def test_interrupted_training_equals_uninterrupted_bit_for_bit(start, tmp_path: Path, arm, changes):
    calm = start(arm, phase="confirm", **changes)
    expected = [calm.train_epoch().row() for _ in range(3)]
    first = start(arm, phase="confirm", **changes)
    first.train_epoch()
    first.save(tmp_path / "checkpoint")
    second = start(arm, phase="confirm", **changes)
    assert load_or_start(second, tmp_path / "checkpoint", recorded_epochs=1, warn=pytest.fail) == []
    second.train_epoch()
    second.save(tmp_path / "checkpoint")
    third = start(arm, phase="confirm", **changes)
    load_or_start(third, tmp_path / "checkpoint", recorded_epochs=2, warn=pytest.fail)
    third.train_epoch()
    assert [report.row() for report in third.reports] == expected
    assert all(torch.equal(tensor, weights(calm)[name]) for name, tensor in weights(third).items())
    assert np.array_equal(third.predictions().probabilities, calm.predictions().probabilities)


def test_saved_but_unrecorded_epochs_are_reported_again(start, tmp_path: Path):
    run = start()
    reports = [run.train_epoch(), run.train_epoch()]
    run.save(tmp_path / "checkpoint")
    again = load_or_start(start(), tmp_path / "checkpoint", recorded_epochs=1, warn=pytest.fail)
    assert [report.row() for report in again] == [reports[1].row()]


def test_corrupt_checkpoint_starts_the_trial_again_and_says_so(start, tmp_path: Path):
    (tmp_path / "checkpoint").write_bytes(b"not a checkpoint")
    told: list[str] = []
    run = start()
    assert load_or_start(run, tmp_path / "checkpoint", recorded_epochs=0, warn=told.append) == []
    assert run.epoch == 0
    assert run.spec.trial_id in told[0] and "checkpoint" in told[0]


def test_another_trials_checkpoint_is_not_taken_up(start, tmp_path: Path):
    other = start(seed=8)
    other.train_epoch()
    other.save(tmp_path / "checkpoint")
    told: list[str] = []
    run = start()
    assert load_or_start(run, tmp_path / "checkpoint", recorded_epochs=0, warn=told.append) == []
    assert run.epoch == 0 and other.spec.trial_id in told[0]
    assert run.train_epoch().row() == start().train_epoch().row()


def test_seed_decides_everything_and_another_seed_differs(start):
    one, same, other = start(seed=3), start(seed=3), start(seed=4)
    assert one.train_epoch().row() == same.train_epoch().row()
    assert other.train_epoch().row() != one.reports[0].row()


def test_global_random_state_does_not_matter(start):
    torch.manual_seed(1)
    first = start().train_epoch().row()
    torch.manual_seed(2)
    assert start().train_epoch().row() == first


def test_a_weight_of_zero_is_the_arm_without_masks_bit_for_bit(start, tmp_path):
    also = {"search": {"also": {"training.segmentation_weight": [0, 1]}}}
    plain = start(SUM)
    zero = start(MASKS, settings='{"training.segmentation_weight": 0.0}', **also)
    assert [zero.train_epoch().row() for _ in range(2)] == [plain.train_epoch().row() for _ in range(2)]
    plain.save(tmp_path / "plain")
    zero.save(tmp_path / "zero")
    assert "segmentation" not in load_state(tmp_path / "zero")[0]
    assert load_state(tmp_path / "zero")[0].keys() == load_state(tmp_path / "plain")[0].keys()
    one = start(MASKS, settings='{"training.segmentation_weight": 1.0}', **also)
    assert one.train_epoch().row() != plain.reports[0].row()


def test_dropout_is_the_same_whatever_was_drawn_before(start):
    torch.manual_seed(1)
    first = start(NETWORK).train_epoch()
    torch.rand(7)
    before = torch.get_rng_state()
    assert start(NETWORK).train_epoch().row() == first.row()
    assert torch.equal(before, torch.get_rng_state())


def test_what_the_search_chose_for_a_trial_is_what_it_is_trained_with(start):
    changes = {"search": {"also": {"training.sampling": ["natural", "balanced"]}}}
    chosen = start(settings='{"training.sampling": "balanced"}', **changes)
    configured = start(training={"sampling": "balanced"})
    assert chosen.train_epoch().row() == configured.train_epoch().row() != start().train_epoch().row()


def test_moved_colours_are_the_same_after_an_interruption(start, tmp_path):
    jitter = {"training": {"stain_jitter": 0.1, "brightness": 0.2, "contrast": 0.2, "saturation": 0.2, "hue": 0.1}}
    whole = start(**jitter)
    rows = [whole.train_epoch().row() for _ in range(2)]
    first = start(**jitter)
    first.train_epoch()
    first.save(tmp_path / "checkpoint")
    second = start(**jitter)
    second.load(tmp_path / "checkpoint")
    assert second.train_epoch().row() == rows[1]


def test_predictions_are_those_of_the_epoch_chosen_on_validation(start):
    run = start(phase="confirm")
    reports = [run.train_epoch() for _ in range(3)]
    predictions = run.predictions()
    arrays = run.batches.arrays
    assert predictions.probabilities.shape == (40, 5)
    assert np.allclose(predictions.probabilities.sum(axis=1), 1, atol=1e-5)
    chosen = reports[predictions.epoch - 1]
    val = arrays.splits[predictions.rows] == "val"
    labels = arrays.labels[predictions.rows][val]
    predicted = predictions.probabilities[val].argmax(axis=1)
    assert confusion_matrix(labels, predicted, labels=range(5)).ravel().tolist() == list(chosen.confusion)
    accuracies = [np.trace(np.reshape(r.confusion, (5, 5))) / 20 for r in reports]
    assert accuracy_score(labels, predicted) == max(accuracies)
    best = min(r.val_loss for r, a in zip(reports, accuracies, strict=True) if a == max(accuracies))
    assert chosen.val_loss == best


def test_diverged_training_says_so_and_keeps_the_best_epoch(start):
    run = start(learning_rate=1e30, phase="confirm")
    while not run.done:
        run.train_epoch()
    assert run.reports[-1].diverged
    assert run.reports[-1].row()["train_loss"] is None or math.isfinite(run.reports[-1].row()["train_loss"])


def test_reports_of_one_epoch_are_equal_but_for_their_duration(start):
    report = start().train_epoch()
    assert replace(report, seconds=report.seconds + 1).row() == report.row()
