"""Where an arm's trials lie."""

from __future__ import annotations

import itertools

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from optuna.trial import TrialState

from study.config.search import SearchConfig
from study.design.points import Point, read_settings, write_settings
from study.search.searchers import FixedPoints, Points, search_points
from study.search.sequences import quasi_random_points, random_points
from study.search.tpe import TpePoints

BOUNDS = st.tuples(st.floats(1e-8, 10), st.floats(1e-8, 10)).map(lambda pair: (min(pair), max(pair)))


def test_the_grid_visits_every_point_once_in_every_arm() -> None:
    config = SearchConfig(mode="grid", grid_learning_rate=(1e-3, 3e-3), grid_weight_decay=(0.0, 1e-4, 1e-2))
    points = search_points(config, seed=0, arm="WBC_1/off")
    visited = [points.suggest(index) for index in range(config.budget)]
    assert sorted(visited) == sorted(Point(*pair) for pair in itertools.product((1e-3, 3e-3), (0.0, 1e-4, 1e-2)))
    other = search_points(config, seed=5, arm="WBC_100/sum")
    assert [other.suggest(index) for index in range(config.budget)] == visited


@pytest.mark.parametrize("draw", [random_points, quasi_random_points])
@given(rates=BOUNDS, decays=BOUNDS, seed=st.integers(0, 2**31), count=st.integers(1, 40))
def test_points_lie_inside_the_bounds_even_where_rounding_would_leave_them(
    draw: object, rates: tuple[float, float], decays: tuple[float, float], seed: int, count: int
) -> None:
    config = SearchConfig(learning_rate=rates, weight_decay=decays)
    points: list[Point] = draw(config, seed, count)  # type: ignore[operator]  # parametrised
    assert len(points) == count
    for learning_rate, weight_decay, further in points:
        assert further == "{}"
        assert rates[0] <= learning_rate <= rates[1]
        assert decays[0] <= weight_decay <= decays[1]


@pytest.mark.parametrize("draw", [random_points, quasi_random_points])
@given(seed=st.integers(0, 1000), counts=st.tuples(st.integers(1, 40), st.integers(1, 40)))
def test_a_larger_budget_begins_with_the_points_of_the_smaller(
    draw: object, seed: int, counts: tuple[int, int]
) -> None:
    short, long = sorted(counts)
    points = draw(SearchConfig(), seed, long)  # type: ignore[operator]  # parametrised
    assert points[:short] == draw(SearchConfig(), seed, short)  # type: ignore[operator]  # parametrised
    assert points != draw(SearchConfig(), seed + 1, long)  # type: ignore[operator]  # parametrised
    assert len(set(points)) == long


@pytest.mark.parametrize("mode", ["random", "qmc"])
def test_points_follow_from_seed_and_index_whatever_is_reported(mode: str) -> None:
    config = SearchConfig.model_validate({"mode": mode, "trials_per_arm": 6})
    quiet, busy = search_points(config, 3, "WBC_1/off"), search_points(config, 3, "WBC_50/sum")
    expected = [quiet.suggest(index) for index in range(6)]
    found = []
    for index in range(6):
        found.append(busy.suggest(index))
        busy.observe(index, 1, 0.9)
        busy.end(index, "completed", 0.9)
    assert found == expected


def test_quasi_random_points_cover_the_space_more_evenly_than_chance() -> None:
    # Of any 2**k scrambled Sobol points exactly one falls into each of 2**k equal intervals of each dimension.
    config = SearchConfig(learning_rate=(1.0, 2.0**8), weight_decay=(1.0, 2.0**8))
    points = quasi_random_points(config, seed=11, count=8)
    for values in list(zip(*points, strict=True))[:2]:
        assert sorted(int(value.bit_length() - 1) for value in map(int, values)) == list(range(8))


def test_fixed_points_are_handed_out_by_index() -> None:
    points = FixedPoints([(1.0, 2.0), (3.0, 4.0)])
    assert points.suggest(1) == Point(3.0, 4.0)
    assert points.suggest(0) == Point(1.0, 2.0)


CONFIG = SearchConfig(mode="tpe", trials_per_arm=8, tpe_startup=2)


def tpe(arm: str = "WBC_10/sum", seed: int = 0) -> TpePoints:
    points = search_points(CONFIG, seed, arm)
    assert isinstance(points, TpePoints)
    return points


def test_optuna_is_told_the_truth_about_every_end() -> None:
    # Ray's own OptunaSearch calls stopped trials complete and leaves diverged ones running.
    points = tpe()
    for index, status in enumerate(["completed", "stopped", "diverged", "failed", "running"]):
        points.suggest(index)
        points.observe(index, 1, 0.1 * index)
        points.observe(index, 2, 0.2 * index)
        if status != "running":
            points.end(index, status, 0.2 * index)
    trials = points.study.trials
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
    points = tpe()
    points.suggest(0)
    points.end(0, "failed", None)
    assert points.study.trials[0].state == TrialState.FAIL


def test_the_first_points_are_the_quasi_random_ones() -> None:
    points = tpe(seed=4)
    assert [points.suggest(0), points.suggest(1)] == quasi_random_points(CONFIG, 4, 2)


def test_arms_and_seeds_draw_differently_once_the_model_suggests() -> None:
    drawn = []
    for arm, seed in [("WBC_1/off", 0), ("WBC_1/sum", 0), ("WBC_1/off", 1), ("WBC_1/off", 0)]:
        points = tpe(arm, seed)
        for index in range(2):
            points.suggest(index)
            points.end(index, "completed", 0.5)
        drawn.append(points.suggest(2))
    assert len(set(drawn)) == 3
    assert drawn[0] == drawn[3]


def test_workers_that_ask_at_once_get_different_points() -> None:
    points = tpe()
    suggested = [points.suggest(index) for index in range(8)]
    assert len(set(suggested)) == 8


def test_the_model_keeps_away_from_what_is_running() -> None:
    # Told nothing of running trials, it would suggest the same whatever they are.
    suggested = set()
    for running in ((1e-4, 1e-6), (1e-3, 1e-4), (1e-2, 1e-2)):
        points = tpe()
        for index, point in enumerate(quasi_random_points(CONFIG, 0, 4)):
            points.replay(index, point, {1: 0.2 * index}, "completed")
        points.replay(4, running, {}, "running")
        suggested.add(points.suggest(5))
    assert len(suggested) > 1


def test_the_model_learns_from_results() -> None:
    # Otherwise a searcher that ignores what it is told would pass every other test here.
    suggested = []
    for good in (0, 1):
        points = tpe()
        for index in range(6):
            points.suggest(index)
            points.end(index, "completed", 0.9 if index % 2 == good else 0.1)
        suggested.append(points.suggest(6))
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

    def states(points: TpePoints) -> list[object]:
        return [(t.state, t.params, t.value, t.intermediate_values) for t in points.study.trials]

    assert states(restarted) == states(whole)
    after = restarted.suggest(len(history))
    assert after == whole.suggest(len(history))
    assert after not in suggested
    # A trial that was running can still be finished.
    for index, (status, _) in enumerate(history):
        if status == "running":
            restarted.end(index, "completed", 0.5)
            assert restarted.study.trials[index].state == TrialState.COMPLETE


class Forgetful(TpePoints):
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
    for points in (whole, restarted):
        for index in running:
            points.observe(index, 9, 1.0)
            points.end(index, "completed", 1.0)
    assert restarted.suggest(len(history) + 1) == whole.suggest(len(history) + 1)


def test_a_model_that_forgets_keeps_the_newest_and_the_best() -> None:
    points = forgetful()
    for index, score in enumerate([0.9, 0.1, 0.2, 0.3, 0.95, 0.4, 0.5, 0.6, 0.7, 0.15]):
        points.suggest(index)
        points.end(index, "completed", score)
    points.suggest(10)
    # The window of trial 10 begins with trial 6; 0 and 4 were the best before it.
    assert [trial.value for trial in points.study.trials] == [0.9, 0.95, 0.5, 0.6, 0.7, 0.15, None]


def test_complete_trials_are_kept_before_pruned_and_pruned_before_failed_ones() -> None:
    points = forgetful()
    for index, status in enumerate(["failed", "stopped", "completed", "failed", "stopped", "failed"]):
        points.suggest(index)
        points.observe(index, 1, 0.5)
        if index == 4:
            points.observe(index, 2, 0.4)  # came farther than the other
        points.end(index, status, 0.5)
    for index in range(6, 9):
        points.suggest(index)
    points.suggest(9)
    kept = points.study.trials[: Forgetful.BEST]
    assert [trial.state for trial in kept] == [TrialState.COMPLETE, TrialState.PRUNED]
    assert kept[1].intermediate_values == {1: 0.5, 2: 0.4}


def test_the_model_forgets_nothing_before_its_blocks_are_full() -> None:
    points, remembering = forgetful(), TpePoints(CONFIG, 0, "WBC_1/off", budget=40)
    scores = [0.9, 0.1, 0.2, 0.3, 0.95, 0.4, 0.5, 0.6]
    same = []
    for index, score in enumerate(scores):
        suggested = [each.suggest(index) for each in (points, remembering)]
        same.append(suggested[0] == suggested[1])
        for each in (points, remembering):
            each.end(index, "completed", score)
    assert same[:6] == [True] * 6
    assert len(remembering.study.trials) == 8 and len(points.study.trials) == 2 + 5


@pytest.mark.parametrize("mode", ["random", "qmc", "tpe"])
def test_a_warm_start_begins_with_the_earlier_winner_inside_the_budget_and_the_ranges(mode: str) -> None:
    config = SearchConfig.model_validate({"mode": mode, "trials_per_arm": 4, "tpe_startup": 4})
    cold = search_points(config, 3, "WBC_1/off")
    expected = [cold.suggest(index) for index in range(4)]
    warm = search_points(config, 3, "WBC_1/off", [(0.5, 1e-9)])
    assert [warm.suggest(index) for index in range(4)] == [Point(1e-2, 1e-6), *expected[:3]]
    if mode != "tpe":
        with pytest.raises(IndexError):
            warm.suggest(4)


def test_a_warm_start_is_used_even_where_it_is_the_only_start() -> None:
    config = SearchConfig(mode="tpe", trials_per_arm=3, tpe_startup=1)
    assert search_points(config, 0, "WBC_1/off", [(1e-3, 1e-3)]).suggest(0) == Point(1e-3, 1e-3)


ALSO = {
    "training.loss_weights": ["none", "inverse", "effective"],
    "training.effective_beta": {"low": 0.5, "high": 0.9},
    "training.sampling": ["natural", "balanced"],
}


def searching(mode: str, also: object = None, **more: object) -> SearchConfig:
    values = {"mode": mode, "trials_per_arm": 12, "tpe_startup": 6, **more}
    return SearchConfig.model_validate(values | {"also": ALSO if also is None else also})


def suggest_all(points: Points, count: int = 12, score: float = 0.5) -> list[Point]:
    found = []
    for index in range(count):
        found.append(points.suggest(index))
        points.end(index, "completed", score)
    return found


def test_points_without_further_settings_are_those_of_version_one() -> None:
    # Literals from before further settings could be searched: finished studies must be extended, not restarted.
    config = SearchConfig()
    assert random_points(config, 3, 2)[1] == Point(0.00048165399195769146, 5.126034159872909e-05)
    assert quasi_random_points(config, 3, 2)[1] == Point(0.006045488317315226, 2.2420733615239504e-06)


@pytest.mark.parametrize("mode", ["random", "qmc", "tpe"])
def test_further_settings_are_drawn_from_their_choices_and_ranges(mode: str) -> None:
    drawn = [read_settings(point.settings) for point in suggest_all(search_points(searching(mode), 1, "WBC_1/off"))]
    assert {frozenset(values) for values in drawn} == {frozenset(ALSO)}
    assert {values["training.loss_weights"] for values in drawn} == {"none", "inverse", "effective"}
    assert {values["training.sampling"] for values in drawn} == {"natural", "balanced"}
    betas = [values["training.effective_beta"] for values in drawn]
    assert all(0.5 <= beta <= 0.9 for beta in betas) and len(set(betas)) > 6


@pytest.mark.parametrize("mode", ["random", "qmc"])
def test_further_settings_are_the_same_in_every_arm_and_a_larger_budget_begins_with_the_smaller(mode: str) -> None:
    few = suggest_all(search_points(searching(mode), 1, "WBC_1/off"))
    many = suggest_all(search_points(searching(mode, trials_per_arm=30), 1, "WBC_50/sum", ()), 30)
    assert many[:12] == few


def test_one_more_setting_leaves_random_values_of_the_others_as_they_were() -> None:
    both, one = (
        random_points(searching("random", {name: ALSO[name] for name in names}), 5, 8)
        for names in (["training.loss_weights", "training.sampling"], ["training.sampling"])
    )
    assert [point[:2] for point in both] == [point[:2] for point in one] == [p[:2] for p in random_points(CONFIG, 5, 8)]
    name = "training.sampling"
    assert [read_settings(p.settings)[name] for p in both] == [read_settings(p.settings)[name] for p in one]


def test_choices_of_the_quasi_random_points_are_taken_equally_often() -> None:
    config = searching("qmc", {"training.sampling": ["natural", "balanced"]})
    drawn = [read_settings(point.settings)["training.sampling"] for point in quasi_random_points(config, 2, 16)]
    assert drawn.count("natural") == 8


def test_a_replayed_tpe_with_further_settings_goes_on_as_it_would_have() -> None:
    config = searching("tpe")
    whole, restarted = (search_points(config, 2, "WBC_1/off") for _ in range(2))
    for index in range(8):
        point = whole.suggest(index)
        status = "running" if index == 7 else "completed"
        if status == "completed":
            whole.observe(index, 1, index / 10)
            whole.end(index, status, index / 10)
        restarted.replay(index, point, {1: index / 10} if status == "completed" else {}, status)
    assert restarted.suggest(8) == whole.suggest(8)


def test_a_warm_start_brings_further_settings_into_the_space() -> None:
    config = searching("random")
    known = {"training.sampling": "balanced", "training.effective_beta": 0.99, "training.plateau_factor": 0.1}
    first = search_points(config, 0, "WBC_1/off", [Point(1e-3, 1e-3, write_settings(known))]).suggest(0)
    assert read_settings(first.settings) == {
        "training.effective_beta": 0.9,
        "training.loss_weights": "none",
        "training.sampling": "balanced",
    }
    plain = search_points(SearchConfig(mode="random"), 0, "WBC_1/off", [Point(1e-3, 1e-3, write_settings(known))])
    assert plain.suggest(0) == Point(1e-3, 1e-3)
