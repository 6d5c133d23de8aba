"""Asynchronous successive halving for one arm."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

from ray.tune.schedulers import AsyncHyperBandScheduler, TrialScheduler


class Rungs:
    """One arm's ASHA (Li et al. 2020, "A System for Massively Parallel Hyperparameter Tuning"), decided by Ray's scheduler.

    Ray's scheduler is held by delegation and under our own trial ids: it then sees one arm only, and replaying the recorded
    results in the order of their arrival restores it after a restart (`Tuner.restore` would leave its rungs empty, ray#30838).
    """

    def __init__(self, grace_epochs: int, max_epochs: int, reduction_factor: float):
        self._max_epochs = max_epochs
        self._asha: AsyncHyperBandScheduler | None = None
        self.milestones: tuple[int, ...] = ()
        """Epochs at which trials are compared, ascending; none when the first would be the last epoch."""
        if grace_epochs >= max_epochs:
            return
        self._asha = AsyncHyperBandScheduler(
            time_attr="epoch",
            metric="score",
            mode="max",
            grace_period=grace_epochs,
            max_t=max_epochs,
            reduction_factor=reduction_factor,
            brackets=1,
        )
        milestones, milestone = [], float(grace_epochs)
        while milestone < max_epochs:
            milestones.append(-int(-milestone // 1))
            milestone *= reduction_factor
        self.milestones = tuple(milestones)
        self._added: set[str] = set()

    def decide(self, trial_id: str, epoch: int, score: float) -> tuple[int | None, bool]:
        """Enter a result.

        Args:
            trial_id: Ours.
            epoch: 1-based.
            score: Higher is better.

        Returns:
            The rung that the result entered (its epoch, or None) and whether the trial must stop.
        """
        if self._asha is None or epoch not in self.milestones:
            return None, False
        # Ray's scheduler reads nothing of a trial but its id, and nothing of the controller.
        trial: Any = SimpleNamespace(trial_id=trial_id)
        controller: Any = None
        if trial_id not in self._added:
            self._added.add(trial_id)
            self._asha.on_trial_add(controller, trial)
        action = self._asha.on_trial_result(controller, trial, {"epoch": epoch, "score": score})
        return epoch, action == TrialScheduler.STOP
