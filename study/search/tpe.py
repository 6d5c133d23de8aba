"""Optuna's tree-structured Parzen estimator for studies in which every trial has the same parameters."""

from __future__ import annotations

from typing import TYPE_CHECKING

from optuna.samplers import TPESampler
from optuna.trial import TrialState

if TYPE_CHECKING:
    from optuna import Study
    from optuna.distributions import BaseDistribution
    from optuna.trial import FrozenTrial


class KnownSpaceSampler(TPESampler):
    """Is told the space. The estimator itself compares the distributions of all trials, each time that it is asked."""

    def __init__(self, space: dict[str, BaseDistribution], seed: int):
        """Make a sampler that suggests from the first trial on, and takes running trials for bad ones.

        Args:
            space: Distributions of all parameters, by name.
            seed: Of its random numbers.
        """
        # constant_liar: workers that ask at once must not get the same point.
        super().__init__(n_startup_trials=0, constant_liar=True, seed=seed)
        self._known = {name: space[name] for name in sorted(space) if not space[name].single()}

    def infer_relative_search_space(
        self,
        study: Study,
        trial: FrozenTrial,  # noqa: ARG002 - the signature is Optuna's
    ) -> dict[str, BaseDistribution]:
        """The known space as soon as a trial has ended in it, as the estimator itself would find."""
        return self._known if study.get_trials(deepcopy=False, states=(TrialState.COMPLETE, TrialState.PRUNED)) else {}
