"""Endings of the search's trials."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from analysis import Study, load_study
from analysis.figures.rungs import rungs, rungs_table


def test_every_trial_of_the_search_ends_once(finished_study: Study) -> None:
    table = rungs_table(finished_study)
    assert table["trials"].sum() == 12
    row = table[(table["arm"] == "WBC_1/off") & (table["ending"] == "stopped at epoch 2")].iloc[0]
    assert (row["trials"], row["epochs"], row["gradient_steps"], row["ids"]) == (1, 2, 20, "0.01-off-2")
    assert table["arm"].drop_duplicates().tolist() == ["WBC_1/off", "WBC_1/sum", "WBC_100/off", "WBC_100/sum"]


def test_a_rung_says_how_many_trials_it_compared(run_directory: Callable[..., Any]) -> None:
    directory = run_directory()
    for index in range(3):
        directory.trial(
            f"t{index}", index=index, status="stopped" if index else "completed", correct=[20] if index else [20, 21]
        )
    for row in directory.rows["epochs"]:
        row["rung"] = 1 if row["epoch"] == 1 else None
    study = load_study(directory.save())
    stopped = rungs_table(study).iloc[0]
    assert (stopped["ending"], stopped["trials"], stopped["entered"]) == ("stopped at epoch 1", 2, 3)
    texts = [text for trace in rungs(study).data for line in trace.customdata for text in line]
    assert "2 trials of 3 compared" in texts


def test_only_failed_trials_are_shown_too(run_directory: Callable[..., Any]) -> None:
    directory = run_directory()
    directory.trial("a", status="failed", error="Boom")
    assert [trace.name for trace in rungs(load_study(directory.save())).data] == ["failed", "failed"]
