"""The tables of the report: values, captions, unfinished studies."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from analysis import load_study
from analysis.tables.registry import tables
from analysis.tables.table import Table
from analysis.wording.formats import MISSING

Make = Callable[..., Any]


def named(path: Path) -> dict[str, Table]:
    return {table.name: table for table in tables(load_study(path))}


def test_a_finished_study_has_the_tables_of_the_report(finished: Path) -> None:
    made = named(finished)
    assert list(made) == [
        "verdicts",
        "verdicts_macro_f1",
        "verdicts_weighted_f1",
        "mean_differences",
        "claims",
        "intervals_accuracy",
        "intervals_macro_f1",
        "intervals_weighted_f1",
        "detectable",
        "seed_recalls",
        "seed_tests",
        "validation_accuracy",
        "validation_weighted_f1",
        "validation_macro_f1",
        "validation_recall",
        "test_metrics",
        "test_recall",
        "calibration",
        "winners",
        "budget_search",
        "budget_confirm",
        "pretraining",
    ]
    shown = made["validation_accuracy"].display()
    assert shown.columns.tolist() == [
        "Subset",
        "Train images",
        "Without %",
        "With (sum) %",
        "Difference",
        "n",
        "Published without",
        "Published with",
    ]
    assert shown.iloc[0].tolist() == ["WBC_1", "10", "60.00 ± 3.54", "67.50 ± 3.54", "+7.50", "2", "63.48", "74.13"]


def test_captions_name_rule_n_floor_and_what_is_no_evidence(finished: Path) -> None:
    made = named(finished)
    caption = made["validation_accuracy"].caption
    assert "n = 2 seeds" in caption
    assert "mean ± standard deviation over seeds" in caption
    assert "the values are optimistic" in caption
    assert "always answering Neutrophil scores 60.00 % accuracy" in caption
    assert "no evidence of a gain" in caption
    assert "optimistic" not in made["test_metrics"].caption
    for table in made.values():
        assert "gain" not in table.title.lower()
        assert not any("gain" in column.title.lower() for column in table.columns)


def test_budget_counts_search_and_confirmation_apart(finished: Path) -> None:
    made = named(finished)
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
    shown = named(finished)["pretraining"].display()
    assert shown.iloc[0].tolist() == ["cam16", "3", "0.40000", "0.50000", "0.45000", "2", "80.00", "3"]
    assert shown.iloc[1]["Best val. accuracy %"] == MISSING


def test_recall_has_the_published_rows_beneath_its_own(finished: Path) -> None:
    frame = named(finished)["validation_recall"].frame
    assert frame["setting"].tolist()[:4] == ["without", "with (sum)", "published, without", "published, with"]
    assert frame.loc[2, "val_recall_lymphocyte"] == pytest.approx(0.849515)


def test_without_confirmation_the_winners_single_runs_are_shown(run_directory: Make, fill_directory: Make) -> None:
    made = named(fill_directory(run_directory(), confirm=False).save())
    table = made["validation_accuracy"]
    assert "No confirmed runs yet" in table.caption
    assert "n = 1" in table.caption
    assert table.display().iloc[1].tolist()[:6] == ["WBC_100", "1,000", "80.00", "87.50", "+7.50", "1"]
    assert "test_metrics" not in made


def test_without_a_test_split_there_are_no_test_tables(run_directory: Make, fill_directory: Make) -> None:
    made = named(fill_directory(run_directory(), test=False).save())
    assert "test_metrics" not in made
    assert "test_recall" not in made
    assert len(made["validation_accuracy"].frame) == 2


def test_controls_stand_below_the_comparison(run_directory: Make) -> None:
    directory = run_directory()
    directory.trial("a", phase="confirm", correct=[20])
    directory.trial("b", fusion="sum", phase="confirm", correct=[24])
    directory.trial("c", fusion="sum", phase="confirm", control="shuffled", correct=[36])
    made = named(directory.save())
    assert list(made).index("controls") > list(made).index("validation_recall")
    assert made["controls"].display().iloc[0].tolist()[:3] == ["WBC_1", "sum-shuffled", "90.00"]
    assert "90.00" not in made["validation_accuracy"].display().to_string()


def test_several_fusions_have_a_column_each(run_directory: Make) -> None:
    directory = run_directory()
    directory.trial("a", correct=[20])
    directory.trial("b", fusion="sum", correct=[24])
    directory.trial("c", fusion="gated", correct=[28])
    shown = named(directory.save())["validation_accuracy"].display()
    assert shown.iloc[0, 2:7].tolist() == ["50.00", "70.00", "60.00", "+20.00", "+10.00"]
    assert shown.columns.tolist()[2:7] == [
        "Without %",
        "With (gated) %",
        "With (sum) %",
        "Difference (gated)",
        "Difference (sum)",
    ]


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
    shown = named(path)["winners"].display().iloc[0]
    assert shown[["Sampling", "Effective beta"]].tolist() == ["balanced", "0.988"]
    study = load_study(path)
    assert study.trials.set_index("trial_id")["training.sampling"].to_dict() == {
        "a": "natural",
        "b": "balanced",
        "old": "natural",
        "new": "balanced",
    }
    assert study.confirmed["trial_id"].tolist() == ["new"]


def test_records_from_before_further_settings_were_searched_are_read(run_directory: Make) -> None:
    directory = run_directory()
    directory.trial("a", correct=[20])
    directory.trial("b", phase="confirm", correct=[20])
    study = load_study(directory.save())
    assert study.searched_settings == []
    assert study.confirmed["settings"].tolist() == ["{}"]


@pytest.mark.parametrize(("metric", "words"), [("val_accuracy", "accuracy"), ("val_macro_f1", "macro F1")])
def test_every_table_with_chosen_runs_names_the_metric_of_the_choice(
    run_directory: Make, fill_directory: Make, metric: str, words: str
) -> None:
    directory = fill_directory(run_directory())
    directory.trial("c", fusion="sum", phase="confirm", control="shuffled", correct=[36])
    directory.config["search"]["metric"] = metric
    made = named(directory.save())
    chosen = {name for name in made if not name.startswith("budget")}
    assert len(chosen) == 20
    for name in chosen:
        assert re.search(rf"(by|best) validation {words}", made[name].caption), name


def test_only_failed_trials_are_listed_with_their_reason(run_directory: Make) -> None:
    directory = run_directory()
    directory.trial("a", status="failed", error="Traceback\n  File x\nRuntimeError: out of memory\n")
    made = named(directory.save())
    assert made["failures"].display().iloc[0].tolist() == [
        "a",
        "WBC_1/off",
        "search",
        "0",
        "RuntimeError: out of memory",
    ]
    assert made["validation_accuracy"].display().iloc[0, 2:6].tolist() == [MISSING, MISSING, MISSING, "0"]
    assert "No full-length run has ended yet." in made["validation_accuracy"].caption


def test_an_empty_study_has_empty_tables(run_directory: Make) -> None:
    for table in named(run_directory().save()).values():
        assert len(table.display()) == 0


def test_many_settings_become_rows_each_compared_with_the_same_subset_without(run_directory: Make) -> None:
    directory = run_directory()
    right = {"off": 30, "sum": 32, "gated": 29, "finetune": 34}
    for fraction in (0.01, 0.1):
        for fusion, correct in right.items():
            directory.trial(f"{fusion}{fraction}", fraction, fusion, correct=[correct])
        directory.trial(f"prcc{fraction}", fraction, "sum", encoders=("prcc",), correct=[28])
        directory.trial(f"control{fraction}", fraction, "sum", control="random", correct=[40])
    made = named(directory.save())
    shown = made["validation_accuracy"].display()
    assert shown.columns.tolist() == ["Subset", "Pretraining", "Train images", "Accuracy %", "Difference", "n"]
    assert shown[["Pretraining", "Accuracy %", "Difference"]].to_numpy().tolist() == 2 * [
        ["without", "75.00", MISSING],
        ["with (finetune)", "85.00", "+10.00"],
        ["with (gated)", "72.50", "-2.50"],
        ["with (sum)", "80.00", "+5.00"],
        ["with (sum, prcc)", "70.00", "-5.00"],
    ]
    assert shown["Subset"].tolist() == ["WBC_1"] * 5 + ["WBC_10"] * 5
    assert made["validation_macro_f1"].display().columns[3] == "Macro F1"
    assert made["controls"].display()["Control"].tolist() == ["sum-random"] * 2


def test_the_table_of_controls_says_what_they_control_for(run_directory: Make) -> None:
    directory = run_directory()
    directory.trial("a", correct=[30])
    directory.trial("b", control="twin", correct=[31])
    ((name, purpose),) = named(directory.save())["controls"].notes
    assert name == "twin"
    assert "off under another name, tuned and confirmed on its own" in purpose
