"""How busy slots were."""

from __future__ import annotations

from collections.abc import Sequence


def utilisation(begins: Sequence[float], processes: Sequence[int], seconds: float, slots: int) -> tuple[float, float]:
    """Share of the slots' time in which trials waited, from when each slot had its process until the last trial ended.

    Args:
        begins: When each trial began, s.
        processes: Which process ran each trial.
        seconds: How long each lasted.
        slots: Trials that can wait at once.

    Returns:
        The share, and when each slot had a process: when the last of them began its first trial.
    """
    first: dict[int, float] = {}
    for begin, process in sorted(zip(begins, processes, strict=True)):
        first.setdefault(process, begin)
    ramp_up, end = sorted(first.values())[slots - 1], max(begins) + seconds
    waited = sum(max(0.0, begin + seconds - max(begin, ramp_up)) for begin in begins)
    return waited / (slots * (end - ramp_up)), ramp_up
