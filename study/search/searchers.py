"""Where in the searched space an arm's trials lie: learning rate, weight decay and what else the configuration searches."""

from __future__ import annotations

import hashlib
import json
import math
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

from analysis.records.schema import NO_SETTINGS

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    import optuna
    from optuna.distributions import BaseDistribution

    from study.config.study import Axis, SearchConfig


class Point(NamedTuple):
    """What the search chooses for a trial."""

    learning_rate: float
    weight_decay: float
    settings: str = NO_SETTINGS
    """Values of the settings in `search.also` by their names, as `write_settings` writes them: in the records as it is."""


def write_settings(values: Mapping[str, Any]) -> str:
    """The text of searched settings, the same for the same values."""
    return json.dumps(dict(values), sort_keys=True)


def read_settings(text: str) -> dict[str, Any]:
    """Searched settings from their text; none from that of a record older than the column."""
    return dict(json.loads(text or NO_SETTINGS))


class Points(Protocol):
    """One arm's searcher: hands out points and hears how they did."""

    def suggest(self, index: int) -> Point:
        """The point of the arm's trial number `index` (0-based); each index is asked for once, ascending."""

    def observe(self, index: int, epoch: int, score: float) -> None:
        """A running trial's score (higher is better) after an epoch."""

    def end(self, index: int, status: str, score: float | None) -> None:
        """A trial ended with a status of the record schema and its best score, None when it has none."""

    def replay(self, index: int, point: Point, scores: dict[int, float], status: str) -> None:
        """Take in a trial from the records: its scores by epoch and its status, which may be ``running``."""


class FixedPoints:
    """Points that follow from the index alone and ignore results: grid, random and quasi-random search, and confirmations."""

    def __init__(self, points: Sequence[Point | tuple[float, float]]):
        self._points = [Point(*point) for point in points]

    def suggest(self, index: int) -> Point:
        """The listed point."""
        return self._points[index]

    def observe(self, index: int, epoch: int, score: float) -> None:
        """Nothing to learn."""

    def end(self, index: int, status: str, score: float | None) -> None:
        """Nothing to learn."""

    def replay(self, index: int, point: Point, scores: dict[int, float], status: str) -> None:
        """Nothing to learn."""


def _scaled(unit: float, bounds: tuple[float, float]) -> float:
    """A number in [0, 1) mapped to the bounds on a logarithmic scale."""
    low, high = math.log(bounds[0]), math.log(bounds[1])
    # Rounding can leave the bounds by one unit in the last place, which Optuna would warn about.
    return min(max(math.exp(low + unit * (high - low)), bounds[0]), bounds[1])


def _at(unit: float, axis: Axis) -> Any:
    """A number in [0, 1) mapped to a choice, all equally likely, or into a range."""
    if isinstance(axis, tuple):
        return axis[min(int(unit * len(axis)), len(axis) - 1)]
    if axis.log:
        return _scaled(unit, (axis.low, axis.high))
    return min(max(axis.low + unit * (axis.high - axis.low), axis.low), axis.high)


def random_points(config: SearchConfig, seed: int, count: int) -> list[Point]:
    """Independent points, rates and decays log-uniform.

    The first n of a longer list are the shorter list, so that a budget can grow. Every further setting has a stream of its own:
    to search one more leaves the values of the others as they were.
    """
    import numpy as np

    units = np.random.default_rng([seed, 1]).random((count, 2))
    columns = {
        name: np.random.default_rng([seed, 2, *hashlib.sha256(name.encode()).digest()[:4]]).random(count)
        for name in config.also
    }
    return [
        _point(config, units[i], {name: float(column[i]) for name, column in columns.items()}) for i in range(count)
    ]


def quasi_random_points(config: SearchConfig, seed: int, count: int) -> list[Point]:
    """Scrambled Sobol points (scipy), more even than random ones. A longer list begins with the shorter."""
    from scipy.stats import qmc

    names = sorted(config.also)
    sequence = qmc.Sobol(d=2 + len(names), scramble=True, rng=seed)
    # Powers of two are what the sequence is made for; scipy warns about any other count.
    units = sequence.random_base2(max(1, math.ceil(math.log2(max(count, 2)))))[:count]
    return [_point(config, row, {name: float(row[2 + i]) for i, name in enumerate(names)}) for row in units]


def _point(config: SearchConfig, units: Sequence[float], further: Mapping[str, float]) -> Point:
    """A point from numbers in [0, 1)."""
    return Point(
        _scaled(float(units[0]), config.learning_rate),
        _scaled(float(units[1]), config.weight_decay),
        write_settings({name: _at(unit, config.also[name]) for name, unit in further.items()}),
    )


def parameters(point: Point) -> dict[str, Any]:
    """A point as Optuna's parameters, by their names."""
    return {
        "learning_rate": point.learning_rate,
        "weight_decay": point.weight_decay,
        **read_settings(point.settings),
    }


def further_distributions(config: SearchConfig) -> dict[str, BaseDistribution]:
    """Optuna's distributions of the settings in `search.also`, by name in a fixed order."""
    from optuna.distributions import CategoricalDistribution, FloatDistribution

    return {
        name: CategoricalDistribution(axis)
        if isinstance(axis, tuple)
        else FloatDistribution(axis.low, axis.high, log=axis.log)
        for name, axis in sorted(config.also.items())
    }


class TpePoints:
    """Optuna's tree-structured Parzen estimator, told the truth about stopped, failed and running trials.

    A suggestion is a function of the seed, the arm, the index and what was observed so far: the sampler is seeded anew for each
    index, so that a study that was interrupted does not draw its first points again.

    The model looks at all of an arm's trials while there are no more than `BLOCKS` times `BLOCK`. Beyond, it looks at the newest
    ones, at the `BEST` of those before, and at what still runs: the cost of a suggestion does not grow with the number of trials.
    (Optuna itself gives a trial less weight the older it is, once there are more than 25.)
    """

    BLOCK = 50
    """Trials by which the model forgets."""

    BLOCKS = 4
    """That it looks at, the last of them being filled."""

    BEST = 25
    """Earlier trials that it keeps: Optuna's model counts a tenth of the trials as good ones, and at most so many."""

    def __init__(self, config: SearchConfig, seed: int, arm: str, budget: int, first: Sequence[Point] = ()):
        """Make a searcher that has seen nothing.

        Args:
            config: Space and number of points before the model suggests.
            seed: Of the study.
            arm: Its name.
            budget: Trials of the arm.
            first: Points to begin with, before the quasi-random ones and among their number.
        """
        import optuna

        from study.search.tpe import KnownSpaceSampler

        # Optuna logs each trial at INFO; our records and progress say the same.
        optuna.logging.set_verbosity(optuna.logging.WARNING)
        self._optuna, self._sampler = optuna, KnownSpaceSampler
        self._seed, self._arm = seed, arm
        startup = min(max(config.tpe_startup, len(first)), budget)
        self._startup = [*first, *quasi_random_points(config, seed, startup)][:startup]
        self._space: dict[str, optuna.distributions.BaseDistribution] = {
            "learning_rate": optuna.distributions.FloatDistribution(*config.learning_rate, log=True),
            "weight_decay": optuna.distributions.FloatDistribution(*config.weight_decay, log=True),
            **further_distributions(config),
        }
        self._study = optuna.create_study(study_name=arm, direction="maximize")
        self._running: dict[int, optuna.Trial] = {}
        self._seen: list[int] = []
        """Index of each trial in Optuna's study, ascending."""
        self._window = 0
        """Index of the first trial of the newest blocks."""
        self._earlier_ended = False
        """Whether a trial before the window has ended since the study was made: it may be among the best."""

    @property
    def study(self) -> optuna.Study:
        """The arm's Optuna study: the trials that the model looks at."""
        return self._study

    def suggest(self, index: int) -> Point:
        """A quasi-random point while the model has too little to go on, then the sampler's."""
        window = max(0, index // self.BLOCK + 1 - self.BLOCKS) * self.BLOCK
        if window != self._window or self._earlier_ended:
            self._forget(window)
        trial = self._ask(index, self._startup[index] if index < len(self._startup) else None)
        params = dict(trial.params)
        rate, decay = float(params.pop("learning_rate")), float(params.pop("weight_decay"))
        return Point(rate, decay, write_settings(params))

    def observe(self, index: int, epoch: int, score: float) -> None:
        """Store an intermediate value."""
        self._running[index].report(score, epoch)

    def end(self, index: int, status: str, score: float | None) -> None:
        """Tell Optuna: completed, pruned at a rung, or failed."""
        states = self._optuna.trial.TrialState
        state = {"completed": states.COMPLETE, "stopped": states.PRUNED}.get(status, states.FAIL)
        self._study.tell(self._running.pop(index), score if status == "completed" else None, state=state)
        self._earlier_ended |= index < self._window

    def replay(self, index: int, point: Point, scores: dict[int, float], status: str) -> None:
        """Add the trial as it stands."""
        self._ask(index, Point(*point))
        for epoch, score in scores.items():
            self.observe(index, epoch, score)
        if status != "running":
            self.end(index, status, max(scores.values(), default=None))

    def _ask(self, index: int, given: Point | None) -> optuna.Trial:
        if given is not None:
            self._study.enqueue_trial(parameters(given))
        digest = hashlib.sha256(f"{self._seed}/{self._arm}/{index}".encode()).digest()
        self._study.sampler = self._sampler(self._space, seed=int.from_bytes(digest[:4], "big"))
        self._running[index] = self._study.ask(self._space)
        self._seen.append(index)
        return self._running[index]

    def _forget(self, window: int) -> None:
        """Begin Optuna's study anew with the trials that the model is to look at."""
        before = dict(zip(self._seen, self._study.get_trials(deepcopy=False), strict=True))
        earlier = [i for i, trial in before.items() if i < window and trial.state.is_finished()]
        best = set(sorted(earlier, key=lambda i: _merit(before[i]), reverse=True)[: self.BEST])
        # The seed does not matter: what is asked for here is given.
        sampler = self._sampler(self._space, seed=0)
        self._study = self._optuna.create_study(study_name=self._arm, direction="maximize", sampler=sampler)
        self._seen, self._window, self._earlier_ended = [], window, False
        for i, trial in before.items():
            if i in self._running:
                self._study.enqueue_trial(trial.params)
                self._running[i] = self._study.ask(self._space)
                for epoch, score in trial.intermediate_values.items():
                    self.observe(i, epoch, score)
            elif i >= window or i in best:
                self._study.add_trial(trial)
            else:
                continue
            self._seen.append(i)


def _merit(trial: optuna.trial.FrozenTrial) -> tuple[float, ...]:
    """What an ended trial is worth to the model, the greater the better: as Optuna ranks them.

    Complete ones by their value, then pruned ones by how far they came and their last value; those that failed are worth
    nothing.
    """
    from optuna.trial import TrialState

    if trial.state == TrialState.COMPLETE and trial.value is not None:
        return (2, trial.value)
    if trial.state == TrialState.PRUNED and trial.intermediate_values:
        last = max(trial.intermediate_values)
        return (1, last, trial.intermediate_values[last])
    return (0,)


def clip_point(config: SearchConfig, point: Point | tuple[float, float]) -> Point:
    """The nearest point inside the space.

    A setting that is not searched here is left out, it has its configured value; one that is no choice here takes the first.
    """
    rate, decay, settings = Point(*point)
    known = read_settings(settings)

    def clip(value: Any, axis: Axis) -> Any:
        if isinstance(axis, tuple):
            return value if value in axis else axis[0]
        return axis.low if value is None else min(max(value, axis.low), axis.high)

    return Point(
        min(max(rate, config.learning_rate[0]), config.learning_rate[1]),
        min(max(decay, config.weight_decay[0]), config.weight_decay[1]),
        write_settings({name: clip(known.get(name), axis) for name, axis in config.also.items()}),
    )


def search_points(
    config: SearchConfig, seed: int, arm: str, first: Sequence[Point | tuple[float, float]] = ()
) -> Points:
    """The searcher of one arm. All modes but `tpe` give every arm the same points.

    Args:
        config: Mode, space and budget.
        seed: Of the study.
        arm: Its name.
        first: Points to begin with, part of the budget; not for the mode `grid`.
    """
    begin = [clip_point(config, point) for point in first]
    if config.mode == "grid":
        return FixedPoints(list(config.grid))
    if config.mode == "tpe":
        return TpePoints(config, seed, arm, config.budget, begin)
    draw = random_points if config.mode == "random" else quasi_random_points
    return FixedPoints([*begin, *draw(config, seed, config.budget)][: config.budget])
