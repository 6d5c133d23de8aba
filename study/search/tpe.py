"""Search by Optuna's tree-structured Parzen estimator (TPE): our searcher, its sampler, and points in Optuna's own form."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING, Any

import optuna
from optuna.distributions import CategoricalDistribution, FloatDistribution
from optuna.samplers import TPESampler
from optuna.trial import TrialState

from analysis.records.schema import TrialStatus
from study.design.points import Point, read_settings, write_settings
from study.search.sequences import quasi_random_points

if TYPE_CHECKING:
    from collections.abc import Sequence

    from optuna.distributions import BaseDistribution
    from optuna.trial import FrozenTrial

    from study.config.search import SearchConfig


class KnownSpaceSampler(TPESampler):
    """Optuna's estimator for studies in which every trial has the same parameters: it is told them.

    The estimator itself would compare the distributions of all trials whenever it is asked.
    """

    def __init__(self, space: dict[str, BaseDistribution], seed: int):
        """Make a sampler that suggests from the first trial on and counts running trials as bad ones.

        Args:
            space: Distributions of all parameters, by name.
            seed: Seed of the sampler's random numbers.
        """
        # constant_liar: workers that ask at once must not get the same point.
        super().__init__(n_startup_trials=0, constant_liar=True, seed=seed)
        self._known = {name: space[name] for name in sorted(space) if not space[name].single()}

    def infer_relative_search_space(
        self,
        study: optuna.Study,
        trial: FrozenTrial,  # noqa: ARG002 - the signature is Optuna's
    ) -> dict[str, BaseDistribution]:
        """The known space as soon as a trial has ended in it, as the estimator itself would find."""
        return self._known if study.get_trials(deepcopy=False, states=(TrialState.COMPLETE, TrialState.PRUNED)) else {}


def parameters(point: Point) -> dict[str, Any]:
    """A point as Optuna's parameters, by their names."""
    return {
        "learning_rate": point.learning_rate,
        "weight_decay": point.weight_decay,
        **read_settings(point.settings),
    }


def further_distributions(config: SearchConfig) -> dict[str, BaseDistribution]:
    """Optuna's distributions of the settings in `search.also`, by name in a fixed order."""
    return {
        name: CategoricalDistribution(axis)
        if isinstance(axis, tuple)
        else FloatDistribution(axis.low, axis.high, log=axis.log)
        for name, axis in sorted(config.also.items())
    }


class TpeSearcher:
    """Asks the estimator for points, and tells it which trials were stopped, failed or still run.

    A suggestion follows from the seed, the arm, the index and what was observed so far. The sampler gets a new seed for each
    index, so that an interrupted study does not draw its first points again.

    The model looks at all trials of an arm while there are no more than `BLOCKS` times `BLOCK`. Beyond that it looks at the
    newest ones, at the `BEST` of those before, and at all that still run: the cost of a suggestion does not grow with the
    number of trials. (Optuna itself gives older trials less weight once there are more than 25.)
    """

    BLOCK = 50
    """Number of trials in a block; the model forgets a whole block at a time."""

    BLOCKS = 4
    """Number of blocks that the model looks at; the newest of them is still being filled."""

    BEST = 25
    """Number of earlier trials that the model keeps: Optuna counts a tenth of the trials as good, and at most 25."""

    def __init__(self, config: SearchConfig, seed: int, arm: str, budget: int, first: Sequence[Point] = ()):
        """Make a searcher that has seen nothing.

        Args:
            config: Space, and number of points before the model suggests.
            seed: Seed of the arm's points.
            arm: Name of the arm.
            budget: Number of trials of the arm.
            first: Points to begin with. They come before the quasi-random ones and count among them.
        """
        # Optuna logs each trial at INFO; our records and progress say the same.
        optuna.logging.set_verbosity(optuna.logging.WARNING)
        self._seed, self._arm = seed, arm
        startup = min(max(config.tpe_startup, len(first)), budget)
        self._startup = [*first, *quasi_random_points(config, seed, startup)][:startup]
        self._space: dict[str, BaseDistribution] = {
            "learning_rate": FloatDistribution(*config.learning_rate, log=True),
            "weight_decay": FloatDistribution(*config.weight_decay, log=True),
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

    def end(self, index: int, status: TrialStatus, score: float | None) -> None:
        """Tell Optuna: completed, pruned at a rung, or failed."""
        state = {TrialStatus.COMPLETED: TrialState.COMPLETE, TrialStatus.STOPPED: TrialState.PRUNED}.get(
            status, TrialState.FAIL
        )
        self._study.tell(self._running.pop(index), score if status == TrialStatus.COMPLETED else None, state=state)
        self._earlier_ended |= index < self._window

    def replay(self, index: int, point: Point, scores: dict[int, float], status: TrialStatus) -> None:
        """Add the trial as it stands."""
        self._ask(index, Point(*point))
        for epoch, score in scores.items():
            self.observe(index, epoch, score)
        if status != TrialStatus.RUNNING:
            self.end(index, status, max(scores.values(), default=None))

    def _ask(self, index: int, given: Point | None) -> optuna.Trial:
        if given is not None:
            self._study.enqueue_trial(parameters(given))
        digest = hashlib.sha256(f"{self._seed}/{self._arm}/{index}".encode()).digest()
        self._study.sampler = KnownSpaceSampler(self._space, seed=int.from_bytes(digest[:4], "big"))
        self._running[index] = self._study.ask(self._space)
        self._seen.append(index)
        return self._running[index]

    def _forget(self, window: int) -> None:
        """Begin Optuna's study anew with the trials that the model is to look at."""
        before = dict(zip(self._seen, self._study.get_trials(deepcopy=False), strict=True))
        earlier = [i for i, trial in before.items() if i < window and trial.state.is_finished()]
        best = set(sorted(earlier, key=lambda i: _merit(before[i]), reverse=True)[: self.BEST])
        # The seed does not matter: what is asked for here is given.
        sampler = KnownSpaceSampler(self._space, seed=0)
        self._study = optuna.create_study(study_name=self._arm, direction="maximize", sampler=sampler)
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


def _merit(trial: FrozenTrial) -> tuple[float, ...]:
    """Rank of an ended trial as Optuna's model ranks them, the greater the better.

    Complete trials come first, by their value; then pruned ones, by their last epoch and its value; then failed ones.
    """
    if trial.state == TrialState.COMPLETE and trial.value is not None:
        return (2, trial.value)
    if trial.state == TrialState.PRUNED and trial.intermediate_values:
        last = max(trial.intermediate_values)
        return (1, last, trial.intermediate_values[last])
    return (0,)
