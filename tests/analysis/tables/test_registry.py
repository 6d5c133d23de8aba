"""All tables of a study: which there are, in which order, and what every caption says."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from analysis import load_study
from tests.analysis.tables.conftest import named

Make = Callable[..., Any]


def test_a_finished_study_has_the_tables_of_the_report(finished: Path) -> None:
    made = named(load_study(finished))
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
    assert [name for name, table in made.items() if table.front] == ["verdicts"]
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
    made = named(load_study(finished))
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


def test_without_confirmation_the_winners_single_runs_are_shown(run_directory: Make, fill_directory: Make) -> None:
    made = named(load_study(fill_directory(run_directory(), confirm=False).save()))
    table = made["validation_accuracy"]
    assert "No confirmed runs yet" in table.caption
    assert "n = 1" in table.caption
    assert table.display().iloc[1].tolist()[:6] == ["WBC_100", "1,000", "80.00", "87.50", "+7.50", "1"]
    assert "test_metrics" not in made


def test_without_a_test_split_there_are_no_test_tables(run_directory: Make, fill_directory: Make) -> None:
    made = named(load_study(fill_directory(run_directory(), test=False).save()))
    assert "test_metrics" not in made
    assert "test_recall" not in made
    assert len(made["validation_accuracy"].frame) == 2


@pytest.mark.parametrize(("metric", "words"), [("val_accuracy", "accuracy"), ("val_macro_f1", "macro F1")])
def test_every_table_with_chosen_runs_names_the_metric_of_the_choice(
    run_directory: Make, fill_directory: Make, metric: str, words: str
) -> None:
    directory = fill_directory(run_directory())
    directory.trial("c", fusion="sum", phase="confirm", control="shuffled", correct=[36])
    directory.config["search"]["metric"] = metric
    made = named(load_study(directory.save()))
    chosen = {name for name in made if not name.startswith("budget")}
    assert len(chosen) == 20
    for name in chosen:
        assert re.search(rf"(by|best) validation {words}", made[name].caption), name


def test_an_empty_study_has_empty_tables(run_directory: Make) -> None:
    for table in named(load_study(run_directory().save())).values():
        assert len(table.display()) == 0
