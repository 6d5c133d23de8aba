"""Trials on workers."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from analysis import load_study
from analysis.figures.worker_timeline import busy_share, worker_timeline, worker_timeline_table

Make = Callable[..., Any]


def at(directory: Any, trial_id: str, times: list[float]) -> None:
    """Let a trial's epochs end at these seconds, each after half a second of training."""
    rows = [row for row in directory.rows["epochs"] if row["trial_id"] == trial_id]
    for row, time in zip(rows, times, strict=True):
        row["time"], row["seconds"] = 1e9 + time, 10.0


def test_overlapping_trials_are_on_different_workers_and_free_ones_are_taken_again(run_directory: Make) -> None:
    directory = run_directory()
    for name in "abc":
        directory.trial(name, correct=[20, 21])
    at(directory, "a", [10, 20])
    at(directory, "b", [15, 25])
    at(directory, "c", [30, 40])
    table = worker_timeline_table(load_study(directory.save())).set_index("trial_id")
    assert table["worker"].to_dict() == {"a": 0, "b": 1, "c": 0}
    assert (3600 * table["start"]).tolist() == pytest.approx([0, 5, 20])
    assert busy_share(table) == pytest.approx(60 / 80)


def test_an_interrupted_trial_has_two_stretches(run_directory: Make) -> None:
    directory = run_directory()
    directory.trial("a", correct=[20, 21, 22])
    at(directory, "a", [10, 20, 1000])
    table = worker_timeline_table(load_study(directory.save()))
    assert table[["first_epoch", "last_epoch"]].to_numpy().tolist() == [[1, 2], [3, 3]]


def test_bars_and_busy_workers_are_drawn(run_directory: Make) -> None:
    directory = run_directory()
    directory.trial("a", correct=[20, 21])
    directory.trial("b", fusion="sum", correct=[20, 21])
    at(directory, "a", [10, 20])
    at(directory, "b", [10, 20])
    figure = worker_timeline(load_study(directory.save()))
    assert [list(trace.y) for trace in figure.data[:2]] == [["worker 1"], ["worker 2"]]
    assert max(figure.data[2].y) == 2
