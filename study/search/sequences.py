"""Points that follow from the configuration, a seed and an index alone: the grid, random and quasi-random sequences."""

from __future__ import annotations

import hashlib
import itertools
import math
from typing import TYPE_CHECKING, Any

from study.design.points import Point, read_settings, write_settings

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from study.config.search import Axis, SearchConfig


def grid_points(config: SearchConfig) -> list[Point]:
    """The points of the grid in order: the last of the further settings by name changes fastest."""
    choices = [
        [(name, value) for value in axis] for name, axis in sorted(config.also.items()) if isinstance(axis, tuple)
    ]
    return [
        Point(rate, decay, write_settings(dict(chosen)))
        for rate in config.grid_learning_rate
        for decay in config.grid_weight_decay
        for chosen in itertools.product(*choices)
    ]


def random_points(config: SearchConfig, seed: int, count: int) -> list[Point]:
    """Draw independent points, with log-uniform rates and decays.

    A longer list begins with the shorter one, so that a budget can grow. Every further setting has a stream of random numbers
    of its own: searching one more setting leaves the values of the others as they were.
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
    """Draw scrambled Sobol points (scipy), which are more even than random ones. A longer list begins with the shorter one."""
    from scipy.stats import qmc

    names = sorted(config.also)
    sequence = qmc.Sobol(d=2 + len(names), scramble=True, rng=seed)
    # The sequence is made for powers of two; scipy warns about any other count.
    units = sequence.random_base2(max(1, math.ceil(math.log2(max(count, 2)))))[:count]
    return [_point(config, row, {name: float(row[2 + i]) for i, name in enumerate(names)}) for row in units]


def clip_point(config: SearchConfig, point: Point | tuple[float, float]) -> Point:
    """Move a point to the nearest one inside the space.

    A setting that is not searched here is left out and has its configured value. A value that is no choice here becomes the
    first choice.
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


def _point(config: SearchConfig, units: Sequence[float], further: Mapping[str, float]) -> Point:
    """Map numbers in [0, 1) to a point.

    Args:
        config: Space of the search.
        units: Numbers for the learning rate and the weight decay.
        further: Number for each further setting, by name.
    """
    return Point(
        _scaled(float(units[0]), config.learning_rate),
        _scaled(float(units[1]), config.weight_decay),
        write_settings({name: _at(unit, config.also[name]) for name, unit in further.items()}),
    )


def _scaled(unit: float, bounds: tuple[float, float]) -> float:
    """Map a number in [0, 1) to the bounds on a logarithmic scale."""
    low, high = math.log(bounds[0]), math.log(bounds[1])
    # Rounding can leave the bounds by one unit in the last place, which Optuna would warn about.
    return min(max(math.exp(low + unit * (high - low)), bounds[0]), bounds[1])


def _at(unit: float, axis: Axis) -> Any:
    """Map a number in [0, 1) to a choice, all equally likely, or into a range."""
    if isinstance(axis, tuple):
        return axis[min(int(unit * len(axis)), len(axis) - 1)]
    if axis.log:
        return _scaled(unit, (axis.low, axis.high))
    return min(max(axis.low + unit * (axis.high - axis.low), axis.low), axis.high)
