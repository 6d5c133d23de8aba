"""Asynchronous successive halving for one arm."""

from __future__ import annotations

import math

import numpy as np


class Rungs:
    """One arm's ASHA (Li et al. 2020, "A System for Massively Parallel Hyperparameter Tuning").

    The rule is that of Ray's `AsyncHyperBandScheduler` with one bracket, and a test compares the two. Ray's own can neither be
    asked without entering the result nor be restored after a restart (ray#30838); here the recorded results, entered in the
    order of their arrival, are all there is.
    """

    def __init__(self, grace_epochs: int, max_epochs: int, reduction_factor: float):
        """Make rungs that hold no result.

        Args:
            grace_epochs: Epoch of the first rung, 1-based.
            max_epochs: Last epoch of a trial, where nothing is compared.
            reduction_factor: Above 1. About one in this many trials goes on at each rung; also the ratio of two rungs' epochs.
        """
        self._percentile = (1 - 1 / reduction_factor) * 100
        milestone = float(grace_epochs)
        milestones = set()
        while milestone < max_epochs:
            milestones.add(math.ceil(milestone))
            milestone *= reduction_factor
        # Rounding up must not make a rung of the last epoch, which ends every trial anyway.
        self.milestones = tuple(sorted(milestones - {max_epochs}))
        """Epochs at which trials are compared, ascending; none when the first would be the last epoch."""
        self._scores: dict[int, dict[str, float]] = {milestone: {} for milestone in self.milestones}
        """Entered scores of each rung, by trial id."""

    def decide(self, trial_id: str, epoch: int, score: float) -> tuple[int | None, bool]:
        """What a result leads to. It is not entered yet, so that it can be recorded first.

        Args:
            trial_id: Our id of the trial.
            epoch: 1-based.
            score: Higher is better.

        Returns:
            The rung that the result belongs to (its epoch, or None) and whether the trial must stop: whether its score lies
            below the quantile ``1 - 1 / reduction_factor`` of the scores that others have entered before.
        """
        if epoch not in self._scores:
            return None, False
        others = [known for other, known in self._scores[epoch].items() if other != trial_id]
        return epoch, bool(others) and score < float(np.percentile(others, self._percentile))

    def enter(self, trial_id: str, epoch: int, score: float) -> None:
        """Enter a recorded result: later ones of the same rung are compared with it."""
        if epoch in self._scores:
            self._scores[epoch][trial_id] = score
