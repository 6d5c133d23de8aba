"""Measurements side by side: the same machine, the same minute, one after the other, again and again."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator


def timed(work: Callable[[], object]) -> float:
    """Wall seconds that a piece of work takes."""
    began = time.perf_counter()
    work()
    return time.perf_counter() - began


def ratios(numerator: Callable[[], float], denominator: Callable[[], float], repetitions: int) -> Iterator[float]:
    """Measure two things in turn and compare each pair.

    What else happens on a machine comes and goes within seconds; a pair that was measured back to back shares it. The order
    changes from pair to pair, so that neither always follows the other. A first pair warms both up and is not counted.

    Args:
        numerator: Measures, for instance seconds.
        denominator: Likewise, in the same unit.
        repetitions: Pairs.

    Yields:
        The quotient of each pair.
    """
    for number in range(repetitions + 1):
        if number % 2:
            first, second = numerator(), denominator()
        else:
            second, first = denominator(), numerator()
        if number:
            yield first / second
