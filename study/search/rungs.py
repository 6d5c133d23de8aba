"""Asynchronous successive halving for one arm."""

from __future__ import annotations

import math
import pickle
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
        milestone = float(grace_epochs)
        milestones = set()
        while milestone < max_epochs:
            milestones.add(math.ceil(milestone))
            milestone *= reduction_factor
        # Rounding up must not make a rung of the last epoch, which ends every trial anyway.
        self.milestones = tuple(sorted(milestones - {max_epochs}))

    def decide(self, trial_id: str, epoch: int, score: float) -> tuple[int | None, bool]:
        """What a result leads to. It is not entered yet, so that it can be recorded first.

        Args:
            trial_id: Ours.
            epoch: 1-based.
            score: Higher is better.

        Returns:
            The rung that the result belongs to (its epoch, or None) and whether the trial must stop.
        """
        if self._asha is None or epoch not in self.milestones:
            return None, False
        # A copy by pickle: that of the module copy takes milliseconds where a rung holds hundreds of results.
        asked = pickle.loads(pickle.dumps(self._asha))
        return epoch, self._pass_on(asked, trial_id, epoch, score) == TrialScheduler.STOP

    def enter(self, trial_id: str, epoch: int, score: float) -> None:
        """Enter a recorded result: later ones of the same rung are compared with it."""
        if self._asha is not None and epoch in self.milestones:
            self._pass_on(self._asha, trial_id, epoch, score)

    @staticmethod
    def _pass_on(asha: AsyncHyperBandScheduler, trial_id: str, epoch: int, score: float) -> str:
        # Ray's scheduler reads nothing of a trial but its id, and nothing of the controller. With one bracket, adding a
        # trial again changes nothing.
        trial: Any = SimpleNamespace(trial_id=trial_id)
        controller: Any = None
        asha.on_trial_add(controller, trial)
        return str(asha.on_trial_result(controller, trial, {"epoch": epoch, "score": score}))
