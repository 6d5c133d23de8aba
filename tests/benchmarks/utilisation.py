"""How busy slots were."""

from __future__ import annotations

from collections.abc import Sequence


def utilisation(begins: Sequence[float], seconds: float, slots: int) -> tuple[float, float]:
    """Share of the slots' time in which trials waited, from when each slot had one until the last trial ended.

    Args:
        begins: When each trial began, s.
        seconds: How long each lasted.
        slots: Trials that can wait at once.

    Returns:
        The share, and when each slot had one: when as many trials as there are slots had begun.
    """
    ordered = sorted(begins)
    ramp_up, end = ordered[slots - 1], ordered[-1] + seconds
    waited = sum(max(0.0, begin + seconds - max(begin, ramp_up)) for begin in ordered)
    return waited / (slots * (end - ramp_up)), ramp_up
