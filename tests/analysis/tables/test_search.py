"""Tables of the search: winners, budgets, pretraining, failed trials, edges and tuning curves."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from analysis import load_study
from analysis.wording.formats import MISSING
from tests.analysis.tables.conftest import named

Make = Callable[..., Any]


def test_budget_counts_search_and_confirmation_apart(finished: Path) -> None:
    made = named(load_study(finished))
    search = made["budget_search"].frame.set_index("arm")
    assert search.loc["WBC_1/off", ["trials", "completed", "stopped", "epochs", "gradient_steps"]].tolist() == [
        3,
        2,
        1,
        14,
        140,
    ]
    assert search.loc["all arms", "seconds"] == 28.0
    assert made["budget_confirm"].frame.set_index("arm").loc["all arms", "trials"] == 8


def test_pretraining_names_the_lowest_loss(finished: Path) -> None:
    shown = named(load_study(finished))["pretraining"].display()
    assert shown.iloc[0].tolist() == ["cam16", "3", "0.40000", "0.50000", "0.45000", "2", "80.00", "3"]
    assert shown.iloc[1]["Best val. accuracy %"] == MISSING


def test_further_settings_of_the_winners_are_shown_and_a_winner_is_confirmed_with_its_own(run_directory: Make) -> None:
    directory = run_directory()
    balanced, natural = (
        json.dumps({"training.effective_beta": beta, "training.sampling": sampling})
        for beta, sampling in ((0.98765, "balanced"), (0.5, "natural"))
    )
    directory.trial("a", correct=[20], settings=natural)
    directory.trial("b", correct=[30], settings=balanced, index=1)
    directory.trial("old", phase="confirm", seed=1, correct=[10], settings=natural)
    directory.trial("new", phase="confirm", seed=2, correct=[28], settings=balanced)
    path = directory.save()
    shown = named(load_study(path))["winners"].display().iloc[0]
    assert shown[["Sampling", "Effective beta"]].tolist() == ["balanced", "0.988"]
    study = load_study(path)
    assert study.trials.set_index("trial_id")["training.sampling"].to_dict() == {
        "a": "natural",
        "b": "balanced",
        "old": "natural",
        "new": "balanced",
    }
    assert study.confirmed["trial_id"].tolist() == ["new"]


def test_only_failed_trials_are_listed_with_their_reason(run_directory: Make) -> None:
    directory = run_directory()
    directory.trial("a", status="failed", error="Traceback\n  File x\nRuntimeError: out of memory\n")
    made = named(load_study(directory.save()))
    assert made["failures"].display().iloc[0].tolist() == [
        "a",
        "WBC_1/off",
        "search",
        "0",
        "RuntimeError: out of memory",
    ]
    assert made["validation_accuracy"].display().iloc[0, 2:6].tolist() == [MISSING, MISSING, MISSING, "0"]
    assert "No full-length run has ended yet." in made["validation_accuracy"].caption


def test_edges_and_tuning_curves_appear_where_they_exist(run_directory: Make) -> None:
    directory = run_directory()
    directory.config["search"] |= {"mode": "random", "scheduler": "none", "learning_rate": [1e-3, 1e-1]}
    directory.trial("a", index=0, correct=[20])
    directory.trial("b", index=1, correct=[24])
    made = named(load_study(directory.save()))
    assert made["edges"].display().iloc[0].tolist() == [
        "WBC_1/off",
        "learning rate",
        "0.001",
        "0.001 to 0.1",
        "lower",
    ]
    assert made["tuning_curves"].display()["Trials"].tolist() == ["1", "2"]
    directory = run_directory("other")
    directory.trial("a", correct=[20])
    assert not {"edges", "tuning_curves"} & set(named(load_study(directory.save())))
