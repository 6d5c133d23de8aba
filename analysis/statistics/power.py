"""Power of a design: the smallest difference that it would have detected, and the power of more seeds.

Power is computed for a given difference (5 points by default), never for the difference that was observed: that would only
repeat the p-value.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray

from analysis.statistics.intervals import CONFIDENCE

Floats = NDArray[np.float64]

POWER = 0.8
"""The power at which a difference counts as detectable."""

DIFFERENCE = 0.05
"""The difference whose power is shown: 5 points of accuracy, or 0.05 of an F1."""

SEEDS = (5, 10, 20)
"""Numbers of seeds for which power is shown."""


def detection_power(
    difference: ArrayLike, standard_error: ArrayLike, degrees_of_freedom: ArrayLike, tests: ArrayLike = 1
) -> Floats:
    """Probability that a two-sided test finds a true difference, in its direction.

    Args:
        difference: True difference.
        standard_error: Standard error of the estimated difference.
        degrees_of_freedom: Degrees of freedom of its t statistic.
        tests: Number of tests that Holm's adjustment runs over. The level of its first step (5 % / tests) is used: the power is
            at least that, whatever the other differences are.

    Returns:
        float64 in [0, 1], by the noncentral t distribution; 1 where the error is 0 and the difference is not.
    """
    from scipy.special import nctdtr

    effect, error = np.asarray(difference, dtype=np.float64), np.asarray(standard_error, dtype=np.float64)
    freedom, critical = _critical(degrees_of_freedom, tests)
    effect, error = np.broadcast_arrays(np.abs(effect), error)
    certain = (error == 0) & (effect > 0)
    ratio = np.divide(effect, error, out=np.zeros(effect.shape), where=error > 0)
    return np.where(certain, 1.0, 1 - nctdtr(freedom, ratio, critical))


def detectable_difference(
    standard_error: ArrayLike, degrees_of_freedom: ArrayLike, tests: ArrayLike = 1, power: float = POWER
) -> Floats:
    """The smallest true difference that is found with the given power.

    Args:
        standard_error: Standard error of the estimated difference, above 0.
        degrees_of_freedom: Degrees of freedom of its t statistic.
        tests: Number of tests, as in `detection_power`.
        power: Probability to find the difference, in (0, 1).
    """
    from scipy.special import nctdtrinc

    freedom, critical = _critical(degrees_of_freedom, tests)
    return np.asarray(standard_error * nctdtrinc(freedom, 1 - power, critical), dtype=np.float64)


def _critical(degrees_of_freedom: ArrayLike, tests: ArrayLike) -> tuple[Floats, Floats]:
    """Degrees of freedom that the functions of scipy can take, and the t value from which a test finds something."""
    from scipy.special import stdtrit

    # Noncentral t has no limit at infinity in scipy; here it is reached long before.
    freedom = np.minimum(np.asarray(degrees_of_freedom, dtype=np.float64), 1e6)
    level = (1 - CONFIDENCE) / np.asarray(tests, dtype=np.float64)
    return freedom, np.asarray(stdtrit(freedom, 1 - level / 2), dtype=np.float64)


def planned_error(
    seed_part: ArrayLike,
    image_part: ArrayLike,
    interaction_part: ArrayLike,
    seeds: ArrayLike,
    planned: ArrayLike,
    image_freedom: ArrayLike = np.inf,
) -> tuple[Floats, Floats]:
    """Standard error and degrees of freedom that another number of seeds would have, on the same number of images.

    Args:
        seed_part: Variance between seeds, as `analysis.statistics.intervals.Estimate` gives it for `seeds` seeds.
        image_part: Variance between images, likewise; does not depend on the number of seeds.
        interaction_part: Variance of the interaction, likewise.
        seeds: Number of seeds that the parts were estimated with.
        planned: Number of seeds that is asked for.
        image_freedom: Degrees of freedom of the images' part; few where images are of few patients.

    Returns:
        Standard error and degrees of freedom by Satterthwaite's approximation. Without any variance the error is 0 and the
        degrees of freedom are infinite.
    """
    seed, image, interaction, now, then, freedom_of_images = (
        np.asarray(value, dtype=np.float64)
        for value in (seed_part, image_part, interaction_part, seeds, planned, image_freedom)
    )
    between = (seed + interaction) * now / then
    variance = between + image
    spread = np.square(between) / (then - 1) + np.square(image) / freedom_of_images
    shape = np.broadcast_shapes(variance.shape, spread.shape)
    freedom = np.divide(np.square(variance), spread, out=np.full(shape, np.inf), where=spread > 0)
    return np.sqrt(variance), freedom


def detectable(verdicts: pd.DataFrame, difference: float = DIFFERENCE, seeds: Sequence[int] = SEEDS) -> pd.DataFrame:
    """The smallest difference that each comparison could have found, and the power of more seeds.

    Args:
        verdicts: From `analysis.statistics.verdicts.compare_arms`.
        difference: True difference for which power is computed, as a share.
        seeds: Numbers of seeds to plan for.

    Returns:
        One row per comparison with numbers: fraction, subset, kind, arm, baseline, metric, split, seeds, seed_sd, detectable
        (smallest difference found with 80 % power by this design) and power_<n> for each number of seeds (power to find
        `difference`, from the variance components seen here). Both at Holm's first step.
    """
    rows = verdicts[verdicts["standard_error"].notna()].reset_index(drop=True)
    frame = rows[["fraction", "subset", "kind", "arm", "baseline", "metric", "split", "seeds", "seed_sd"]].copy()
    frame["detectable"] = detectable_difference(rows["standard_error"], rows["degrees_of_freedom"], rows["family"])
    for number in seeds:
        parts = (rows["seed_part"], rows["image_part"], rows["interaction_part"])
        error, freedom = planned_error(*parts, rows["seeds"], number, rows["image_freedom"])
        frame[f"power_{number}"] = detection_power(difference, error, freedom, rows["family"])
    return frame
