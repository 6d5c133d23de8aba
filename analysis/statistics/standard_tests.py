"""Textbook intervals and tests for counts, and Holm's adjustment."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike

from analysis.statistics.intervals import CONFIDENCE
from analysis.statistics.scores import Floats


def wilson_interval(correct: ArrayLike, images: ArrayLike, confidence: float = CONFIDENCE) -> tuple[Floats, Floats]:
    """Wilson's score interval of a share, e.g. the recall of one class of one run; NaN where there are no images.

    Args:
        correct: Numbers of right predictions, any shape.
        images: Numbers of images, of the same shape.
        confidence: Nominal coverage, in (0, 1).
    """
    from statsmodels.stats.proportion import proportion_confint

    right, total = np.broadcast_arrays(np.asarray(correct, dtype=np.float64), np.asarray(images, dtype=np.float64))
    low, high = np.full(right.shape, np.nan), np.full(right.shape, np.nan)
    some = total > 0
    low[some], high[some] = proportion_confint(right[some], total[some], alpha=1 - confidence, method="wilson")
    return low, high


def exact_mcnemar(first_only: int, second_only: int) -> float:
    """Two-sided exact p-value of McNemar's test, from the images that only one of two runs gets right."""
    from statsmodels.stats.contingency_tables import mcnemar

    return float(mcnemar([[0, first_only], [second_only, 0]], exact=True).pvalue)


def adjust_holm(p: ArrayLike) -> Floats:
    """Holm's step-down adjustment (Holm 1979) over one family; missing p-values are no tests and stay missing.

    Gives the values of `statsmodels.stats.multitest.multipletests`, which collects garbage at every call: a second for a study.

    Args:
        p: p-values, (M,).

    Returns:
        float64 (M,), at most 1.
    """
    adjusted = np.array(p, dtype=np.float64)
    tested = np.flatnonzero(~np.isnan(adjusted))
    order = tested[np.argsort(adjusted[tested])]
    steps = adjusted[order] * np.arange(len(order), 0, -1)
    adjusted[order] = np.minimum(np.maximum.accumulate(steps), 1.0)
    return adjusted
