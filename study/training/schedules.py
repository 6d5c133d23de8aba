"""How the learning rate of a trial changes: not at all, when accuracy stays on a plateau, or along a cosine."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import torch

if TYPE_CHECKING:
    from study.config.training import TrainingConfig


class Schedule:
    """A learning rate that stays as it is."""

    def before_step(self, epochs: float) -> None:
        """Set the rate of a gradient step, after so many epochs; a part of an epoch counts as a fraction."""

    def after_epoch(self, accuracy: float) -> None:
        """Take note of the validation accuracy of an epoch, in [0, 1]."""

    def state(self) -> dict[str, Any]:
        """What a checkpoint keeps."""
        return {}

    def load(self, state: dict[str, Any]) -> None:
        """Continue from what a checkpoint kept."""


class PlateauSchedule(Schedule):
    """The rate is lowered when the accuracy has not risen for some epochs, as published."""

    def __init__(self, optimiser: torch.optim.Optimizer, training: TrainingConfig) -> None:
        """Begin with the optimiser's rate."""
        self._plateau = torch.optim.lr_scheduler.ReduceLROnPlateau(
            optimiser, mode="max", factor=training.plateau_factor, patience=training.plateau_patience
        )

    def after_epoch(self, accuracy: float) -> None:
        """See `Schedule`."""
        self._plateau.step(accuracy)

    def state(self) -> dict[str, Any]:
        """See `Schedule`."""
        state: dict[str, Any] = self._plateau.state_dict()
        return state

    def load(self, state: dict[str, Any]) -> None:
        """See `Schedule`."""
        self._plateau.load_state_dict(state)


class CosineSchedule(Schedule):
    """The rate falls at every step, from the trial's rate to zero at the end, along half a cosine."""

    def __init__(self, optimiser: torch.optim.Optimizer, learning_rate: float, epochs: int) -> None:
        """Begin with a rate.

        Args:
            optimiser: Its rate is set.
            learning_rate: Rate of the first step.
            epochs: Number of epochs after which the rate is zero.
        """
        self._optimiser, self._learning_rate, self._epochs = optimiser, learning_rate, epochs

    def before_step(self, epochs: float) -> None:
        """See `Schedule`."""
        done = epochs / self._epochs
        for group in self._optimiser.param_groups:
            group["lr"] = self._learning_rate * (1 + math.cos(math.pi * done)) / 2


def open_schedule(training: TrainingConfig, optimiser: torch.optim.Optimizer, learning_rate: float) -> Schedule:
    """The schedule that `training.schedule` names, for an optimiser that begins with the trial's learning rate."""
    if training.schedule == "plateau":
        return PlateauSchedule(optimiser, training)
    if training.schedule == "cosine":
        return CosineSchedule(optimiser, learning_rate, training.epochs)
    return Schedule()
