"""How busy slots were."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple


class Utilisation(NamedTuple):
    """Shares of the slots' time in which trials waited, and when each slot had its process."""

    share: float
    """From when each slot had its process until the last trial ended."""

    while_trials_were_left: float
    """The same until the last trial began: slots that nothing is left for are not counted. NaN where that is no time."""

    ramp_up: float
    """When the last slot's process began its first trial, s."""


def utilisation(begins: Sequence[float], processes: Sequence[int], seconds: float, slots: int) -> Utilisation:
    """How busy slots were.

    Args:
        begins: When each trial began, s.
        processes: Which process ran each trial.
        seconds: How long each lasted.
        slots: Trials that can wait at once.
    """
    first: dict[int, float] = {}
    for begin, process in sorted(zip(begins, processes, strict=True)):
        first.setdefault(process, begin)
    ramp_up, last = sorted(first.values())[slots - 1], max(begins)

    def share(end: float) -> float:
        waited = sum(max(0.0, min(begin + seconds, end) - max(begin, ramp_up)) for begin in begins)
        return waited / (slots * (end - ramp_up)) if end > ramp_up else math.nan

    return Utilisation(share(last + seconds), share(last), ramp_up)
