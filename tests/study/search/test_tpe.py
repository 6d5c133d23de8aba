"""Optuna's estimator, told the space."""

from __future__ import annotations

import itertools

import optuna
from hypothesis import given, settings
from hypothesis import strategies as st
from optuna.distributions import BaseDistribution, CategoricalDistribution, FloatDistribution
from optuna.samplers import TPESampler
from optuna.trial import TrialState

from study.search.searchers import make_searcher
from study.search.sequences import quasi_random_points
from study.search.tpe import KnownSpaceSampler, TpeSearcher
from tests.study.search.spaces import CONFIG, searching

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


def tpe(arm: str = "WBC_10/sum", seed: int = 0) -> TpeSearcher:
    searcher = make_searcher(CONFIG, seed, arm)
    assert isinstance(searcher, TpeSearcher)
    return searcher


def test_optuna_is_told_the_truth_about_every_end() -> None:
    # Ray's own OptunaSearch calls stopped trials complete and leaves diverged ones running.
    searcher = tpe()
    for index, status in enumerate(["completed", "stopped", "diverged", "failed", "running"]):
        searcher.suggest(index)
        searcher.observe(index, 1, 0.1 * index)
        searcher.observe(index, 2, 0.2 * index)
        if status != "running":
            searcher.end(index, status, 0.2 * index)
    trials = searcher.study.trials
    assert [trial.state for trial in trials] == [
        TrialState.COMPLETE,
        TrialState.PRUNED,
        TrialState.FAIL,
        TrialState.FAIL,
        TrialState.RUNNING,
    ]
    assert trials[0].value == 0.0
    assert trials[1].intermediate_values == {1: 0.1, 2: 0.2}


def test_a_trial_that_failed_before_its_first_epoch_is_no_result() -> None:
    searcher = tpe()
    searcher.suggest(0)
    searcher.end(0, "failed", None)
    assert searcher.study.trials[0].state == TrialState.FAIL


def test_the_first_points_are_the_quasi_random_ones() -> None:
    searcher = tpe(seed=4)
    assert [searcher.suggest(0), searcher.suggest(1)] == quasi_random_points(CONFIG, 4, 2)


def test_arms_and_seeds_draw_differently_once_the_model_suggests() -> None:
    drawn = []
    for arm, seed in [("WBC_1/off", 0), ("WBC_1/sum", 0), ("WBC_1/off", 1), ("WBC_1/off", 0)]:
        searcher = tpe(arm, seed)
        for index in range(2):
            searcher.suggest(index)
            searcher.end(index, "completed", 0.5)
        drawn.append(searcher.suggest(2))
    assert len(set(drawn)) == 3
    assert drawn[0] == drawn[3]


def test_workers_that_ask_at_once_get_different_points() -> None:
    searcher = tpe()
    suggested = [searcher.suggest(index) for index in range(8)]
    assert len(set(suggested)) == 8


def test_the_model_keeps_away_from_what_is_running() -> None:
    # Told nothing of running trials, it would suggest the same whatever they are.
    suggested = set()
    for running in ((1e-4, 1e-6), (1e-3, 1e-4), (1e-2, 1e-2)):
        searcher = tpe()
        for index, point in enumerate(quasi_random_points(CONFIG, 0, 4)):
            searcher.replay(index, point, {1: 0.2 * index}, "completed")
        searcher.replay(4, running, {}, "running")
        suggested.add(searcher.suggest(5))
    assert len(suggested) > 1


def test_the_model_learns_from_results() -> None:
    # Otherwise a searcher that ignores what it is told would pass every other test here.
    suggested = []
    for good in (0, 1):
        searcher = tpe()
        for index in range(6):
            searcher.suggest(index)
            searcher.end(index, "completed", 0.9 if index % 2 == good else 0.1)
        suggested.append(searcher.suggest(6))
    assert suggested[0] != suggested[1]


OUTCOMES = st.tuples(
    st.sampled_from(["completed", "stopped", "diverged", "failed", "running"]),
    st.lists(st.integers(0, 20).map(lambda hits: hits / 20), min_size=1, max_size=3),
)


@settings(max_examples=40, deadline=None)
@given(history=st.lists(OUTCOMES, min_size=1, max_size=7))
def test_after_a_replay_the_searcher_stands_where_it_stood(history: list[tuple[str, list[float]]]) -> None:
    whole, restarted = tpe(), tpe()
    suggested = []
    for index, (status, increments) in enumerate(history):
        suggested.append(whole.suggest(index))
        scores = dict(enumerate(itertools.accumulate(increments, max), start=1))
        for epoch, score in scores.items():
            whole.observe(index, epoch, score)
        if status != "running":
            whole.end(index, status, max(scores.values()))
        restarted.replay(index, suggested[-1], scores, status)

    def states(searcher: TpeSearcher) -> list[object]:
        return [(t.state, t.params, t.value, t.intermediate_values) for t in searcher.study.trials]

    assert states(restarted) == states(whole)
    after = restarted.suggest(len(history))
    assert after == whole.suggest(len(history))
    assert after not in suggested
    # A trial that was running can still be finished.
    for index, (status, _) in enumerate(history):
        if status == "running":
            restarted.end(index, "completed", 0.5)
            assert restarted.study.trials[index].state == TrialState.COMPLETE


class Forgetful(TpeSearcher):
    """Forgets after a few trials what takes hundreds."""

    BLOCK, BLOCKS, BEST = 3, 2, 2


def forgetful() -> Forgetful:
    return Forgetful(CONFIG, 0, "WBC_1/off", budget=40)


@settings(max_examples=40, deadline=None)
@given(history=st.lists(st.tuples(OUTCOMES, st.integers(0, 8)), min_size=6, max_size=20))
def test_a_model_that_forgets_also_stands_where_it_stood(history: list[tuple[tuple[str, list[float]], int]]) -> None:
    whole, restarted = forgetful(), forgetful()
    suggested, pending = [], []
    for index, ((status, increments), delay) in enumerate(history):
        suggested.append(whole.suggest(index))
        scores = dict(enumerate(itertools.accumulate(increments, max), start=1))
        for epoch, score in scores.items():
            whole.observe(index, epoch, score)
        if status != "running":
            # Some outlive the blocks that they began in.
            pending.append((index + delay, index, status, max(scores.values())))
        for end in sorted(pending):
            if end[0] <= index or index == len(history) - 1:
                pending.remove(end)
                whole.end(*end[1:])
    for index, ((status, increments), _) in enumerate(history):
        scores = dict(enumerate(itertools.accumulate(increments, max), start=1))
        restarted.replay(index, suggested[index], scores, status)
    assert restarted.suggest(len(history)) == whole.suggest(len(history))
    running = [index for index, ((status, _), _) in enumerate(history) if status == "running"]
    assert len(whole.study.trials) <= Forgetful.BLOCKS * Forgetful.BLOCK + Forgetful.BEST + len(running)
    # What was interrupted goes on and ends, long after its block.
    for searcher in (whole, restarted):
        for index in running:
            searcher.observe(index, 9, 1.0)
            searcher.end(index, "completed", 1.0)
    assert restarted.suggest(len(history) + 1) == whole.suggest(len(history) + 1)


def test_a_model_that_forgets_keeps_the_newest_and_the_best() -> None:
    searcher = forgetful()
    for index, score in enumerate([0.9, 0.1, 0.2, 0.3, 0.95, 0.4, 0.5, 0.6, 0.7, 0.15]):
        searcher.suggest(index)
        searcher.end(index, "completed", score)
    searcher.suggest(10)
    # The window of trial 10 begins with trial 6; 0 and 4 were the best before it.
    assert [trial.value for trial in searcher.study.trials] == [0.9, 0.95, 0.5, 0.6, 0.7, 0.15, None]


def test_complete_trials_are_kept_before_pruned_and_pruned_before_failed_ones() -> None:
    searcher = forgetful()
    for index, status in enumerate(["failed", "stopped", "completed", "failed", "stopped", "failed"]):
        searcher.suggest(index)
        searcher.observe(index, 1, 0.5)
        if index == 4:
            searcher.observe(index, 2, 0.4)  # came farther than the other
        searcher.end(index, status, 0.5)
    for index in range(6, 9):
        searcher.suggest(index)
    searcher.suggest(9)
    kept = searcher.study.trials[: Forgetful.BEST]
    assert [trial.state for trial in kept] == [TrialState.COMPLETE, TrialState.PRUNED]
    assert kept[1].intermediate_values == {1: 0.5, 2: 0.4}


def test_the_model_forgets_nothing_before_its_blocks_are_full() -> None:
    searcher, remembering = forgetful(), TpeSearcher(CONFIG, 0, "WBC_1/off", budget=40)
    scores = [0.9, 0.1, 0.2, 0.3, 0.95, 0.4, 0.5, 0.6]
    same = []
    for index, score in enumerate(scores):
        suggested = [each.suggest(index) for each in (searcher, remembering)]
        same.append(suggested[0] == suggested[1])
        for each in (searcher, remembering):
            each.end(index, "completed", score)
    assert same[:6] == [True] * 6
    assert len(remembering.study.trials) == 8 and len(searcher.study.trials) == 2 + 5


def test_a_replayed_tpe_with_further_settings_goes_on_as_it_would_have() -> None:
    config = searching("tpe")
    whole, restarted = (make_searcher(config, 2, "WBC_1/off") for _ in range(2))
    for index in range(8):
        point = whole.suggest(index)
        status = "running" if index == 7 else "completed"
        if status == "completed":
            whole.observe(index, 1, index / 10)
            whole.end(index, status, index / 10)
        restarted.replay(index, point, {1: index / 10} if status == "completed" else {}, status)
    assert restarted.suggest(8) == whole.suggest(8)
