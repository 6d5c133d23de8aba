"""Optuna's estimator, told the space."""

from __future__ import annotations

import optuna
from hypothesis import given, settings
from hypothesis import strategies as st
from optuna.distributions import BaseDistribution, CategoricalDistribution, FloatDistribution
from optuna.samplers import TPESampler
from optuna.trial import TrialState

from study.search.tpe import KnownSpaceSampler

SPACE: dict[str, BaseDistribution] = {
    "weight_decay": FloatDistribution(1e-6, 1e-2, log=True),
    "learning_rate": FloatDistribution(1e-4, 1e-2, log=True),
    "fusion": CategoricalDistribution(("sum", "mean")),
    "fixed": CategoricalDistribution(("only",)),
}
ENDS = st.sampled_from([TrialState.COMPLETE, TrialState.PRUNED, TrialState.FAIL, None])


@settings(max_examples=30, deadline=None)
@given(history=st.lists(st.tuples(ENDS, st.floats(0, 1)), min_size=1, max_size=20))
def test_suggestions_are_those_of_optunas_own_sampler(history: list[tuple[TrialState | None, float]]) -> None:
    told, own = (optuna.create_study(direction="maximize") for _ in range(2))
    for index, (state, value) in enumerate(history):
        told.sampler = KnownSpaceSampler(SPACE, seed=index)
        own.sampler = TPESampler(n_startup_trials=0, constant_liar=True, seed=index)
        trials = told.ask(SPACE), own.ask(SPACE)
        assert trials[0].params == trials[1].params
        for study, trial in zip((told, own), trials, strict=True):
            trial.report(value, 1)
            if state is not None:
                study.tell(trial, value if state == TrialState.COMPLETE else None, state=state)
