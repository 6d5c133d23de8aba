"""Settings of one training: the length of an epoch, and what a search replaces."""

from __future__ import annotations

from study.config.training import TrainingConfig


def test_an_epoch_is_a_pass_over_the_subset_unless_steps_are_given() -> None:
    by_epochs = TrainingConfig(batch_size=8)
    # As published: 275 steps in 25 epochs of the 1 % arm, 26,400 of the 100 % arm.
    assert by_epochs.steps_in_epoch(82) == 11
    assert by_epochs.steps_in_epoch(8447) == 1056
    assert by_epochs.steps_in_epoch(1) == 1
    assert TrainingConfig(batch_size=8, steps_per_epoch=50).steps_in_epoch(82) == 50


def test_what_the_search_chose_replaces_what_is_configured() -> None:
    training = TrainingConfig(loss_weights="inverse", epochs=3)
    assert training.with_searched({}) is training
    chosen = training.with_searched({"training.loss_weights": "none", "training.effective_beta": 0.5})
    assert chosen == TrainingConfig(loss_weights="none", effective_beta=0.5, epochs=3)
