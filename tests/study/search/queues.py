"""Queues that tests of the search share, and what they are watched with."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from analysis.records.schema import TABLES
from analysis.records.segments import read_segments
from study.design.points import Point
from study.design.trials import EpochReport, TrialSpec
from study.search.plans import ArmPlan
from study.search.queue import TrialQueue
from study.storage.records import RecordWriter

MakeReport = Callable[..., EpochReport]
OneArm = Callable[..., ArmPlan]
Replayed = Callable[..., TrialQueue]


def read(folder: Path, table: str) -> pd.DataFrame:
    return read_segments(folder / table, TABLES[table])


def start(plans: Sequence[ArmPlan], folder: Path, **options: Any) -> TrialQueue:
    return TrialQueue(plans, RecordWriter(folder), metric="val_accuracy", **options)


def take(queue: TrialQueue) -> TrialSpec:
    """The next trial, which must be a new one."""
    handed_out = queue.hand_out("tune")
    assert handed_out is not None and handed_out[1] == 0
    return handed_out[0]


class HearingSearcher:
    """Notes what it is told."""

    def __init__(self) -> None:
        self.heard: list[tuple[Any, ...]] = []

    def suggest(self, index: int) -> Point:
        return Point(1e-3, 1e-4 * (index + 1))

    def observe(self, index: int, epoch: int, score: float) -> None:
        self.heard.append(("observe", index, epoch, score))

    def end(self, index: int, status: str, score: float | None) -> None:
        self.heard.append(("end", index, status, score))

    def replay(self, index: int, point: Point, scores: dict[int, float], status: str) -> None:
        self.heard.append(("replay", index, scores, status))


class FullDisk(RecordWriter):
    """Refuses to write the named table."""

    refused = ""

    def append(self, table: str, rows: Sequence[dict[str, Any]]) -> None:
        if table == self.refused:
            raise OSError(28, "No space left on device")
        super().append(table, rows)
