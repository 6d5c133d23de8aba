"""ASHA of one arm, against examples computed by hand."""

from __future__ import annotations

from typing import NamedTuple

from hypothesis import given
from hypothesis import strategies as st
from ray.tune.schedulers import AsyncHyperBandScheduler, TrialScheduler

from study.search.rungs import Rungs


def enter(rungs: Rungs, trial_id: str, epoch: int, score: float) -> tuple[int | None, bool]:
    decision = rungs.decide(trial_id, epoch, score)
    rungs.enter(trial_id, epoch, score)
    return decision


def test_a_result_below_the_upper_half_of_those_before_it_stops() -> None:
    rungs = Rungs(grace_epochs=1, max_epochs=8, reduction_factor=2)
    assert rungs.milestones == (1, 2, 4)
    # The cutoff is the median of the results that were in the rung before: none, 0.5, 0.4, 0.45.
    assert enter(rungs, "a", 1, 0.5) == (1, False)
    assert enter(rungs, "b", 1, 0.3) == (1, True)  # below 0.5
    assert enter(rungs, "c", 1, 0.4) == (1, False)  # the median of 0.5 and 0.3; equal goes on
    assert enter(rungs, "d", 1, 0.39) == (1, True)  # below 0.4
    assert enter(rungs, "e", 1, 0.9) == (1, False)
    # The next rung starts empty: the first to reach it goes on, whatever its score.
    assert enter(rungs, "c", 2, 0.1) == (2, False)
    assert enter(rungs, "a", 2, 0.05) == (2, True)


def test_with_a_factor_of_four_only_the_upper_quarter_goes_on() -> None:
    rungs = Rungs(grace_epochs=2, max_epochs=10, reduction_factor=4)
    assert rungs.milestones == (2, 8)
    scores = [0.1, 0.2, 0.3, 0.4, 0.5]
    assert [enter(rungs, str(score), 2, score)[1] for score in scores] == [False] * 5
    assert enter(rungs, "low", 2, 0.39) == (2, True)  # the 75th percentile of those five is 0.4
    assert enter(rungs, "high", 2, 0.4) == (2, False)


def test_epochs_between_rungs_enter_nothing() -> None:
    rungs = Rungs(grace_epochs=2, max_epochs=10, reduction_factor=2)
    assert [rungs.decide("a", epoch, 0.0)[0] for epoch in range(1, 11)] == [None, 2, None, 4, None, None, None, 8] + [
        None
    ] * 2


def test_asking_does_not_enter() -> None:
    # A result that could not be recorded must not influence others.
    rungs = Rungs(grace_epochs=1, max_epochs=4, reduction_factor=2)
    assert rungs.decide("a", 1, 0.9) == (1, False)
    assert rungs.decide("b", 1, 0.1) == (1, False)
    rungs.enter("a", 1, 0.9)
    assert rungs.decide("b", 1, 0.1) == (1, True)
    assert rungs.decide("b", 1, 0.1) == (1, True)


def test_no_rung_when_the_grace_covers_all_epochs() -> None:
    for grace in (5, 9):
        rungs = Rungs(grace_epochs=grace, max_epochs=5, reduction_factor=2)
        assert rungs.milestones == ()
        assert [enter(rungs, "a", epoch, 0.0) for epoch in range(1, 6)] == [(None, False)] * 5


class RayTrial(NamedTuple):
    """All that Ray's scheduler reads of a trial."""

    trial_id: str


SCORES = st.one_of(st.floats(0, 1), st.integers(0, 20).map(lambda hits: hits / 20))


@given(
    grace=st.integers(1, 5),
    epochs=st.integers(2, 30),
    factor=st.one_of(st.sampled_from([2.0, 3.0, 4.0]), st.floats(1.1, 8)),
    arrivals=st.lists(st.tuples(st.integers(0, 7), SCORES), max_size=80),
)
def test_rungs_decide_as_rays_own_scheduler_does(
    grace: int, epochs: int, factor: float, arrivals: list[tuple[int, float]]
) -> None:
    rungs = Rungs(grace, epochs, factor)
    if not rungs.milestones:
        return
    asha = AsyncHyperBandScheduler("epoch", "score", "max", epochs, grace, factor, brackets=1)
    reached: dict[int, int] = {}
    for trial, score in arrivals:
        epoch = reached[trial] = reached.get(trial, 0) + 1
        if epoch >= epochs:
            continue
        rung, stops = enter(rungs, str(trial), epoch, score)
        if rung is not None:
            asha.on_trial_add(None, RayTrial(str(trial)))
            told = asha.on_trial_result(None, RayTrial(str(trial)), {"epoch": epoch, "score": score})
            assert stops == (told == TrialScheduler.STOP)


@given(
    st.integers(1, 30),
    st.integers(1, 60),
    st.floats(1.1, 8),
)
def test_rungs_lie_between_the_grace_and_the_last_epoch(grace: int, epochs: int, factor: float) -> None:
    milestones = Rungs(grace, epochs, factor).milestones
    assert list(milestones) == sorted(set(milestones))
    assert all(grace <= milestone < epochs for milestone in milestones)
    assert (grace in milestones) == (grace < epochs)


@given(st.lists(st.tuples(st.integers(0, 5), st.integers(0, 10)), max_size=30))
def test_replaying_the_results_restores_the_rungs(arrivals: list[tuple[int, int]]) -> None:
    # Ray restores no rung after a restart; ours must decide as if there had been none.
    whole = Rungs(1, 8, 2)
    epochs: dict[int, int] = {}
    history = []
    for trial, tenths in arrivals:
        epochs[trial] = epochs.get(trial, 0) + 1
        if epochs[trial] < 8:
            restarted = Rungs(1, 8, 2)
            for entry in history:
                restarted.enter(*entry)
            result = (str(trial), epochs[trial], tenths / 10)
            assert restarted.decide(*result) == enter(whole, *result)
            history.append(result)
