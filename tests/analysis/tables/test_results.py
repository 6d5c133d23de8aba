"""Tables of what the selected runs reached."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from analysis import load_study
from analysis.wording.formats import MISSING
from tests.analysis.tables.conftest import named

Make = Callable[..., Any]


def test_recall_has_the_published_rows_beneath_its_own(finished: Path) -> None:
    frame = named(load_study(finished))["validation_recall"].frame
    assert frame["setting"].tolist()[:4] == ["without", "with (sum)", "published, without", "published, with"]
    assert frame.loc[2, "val_recall_lymphocyte"] == pytest.approx(0.849515)


def test_controls_stand_below_the_comparison(run_directory: Make) -> None:
    directory = run_directory()
    directory.trial("a", phase="confirm", correct=[20])
    directory.trial("b", fusion="sum", phase="confirm", correct=[24])
    directory.trial("c", fusion="sum", phase="confirm", control="shuffled", correct=[36])
    made = named(load_study(directory.save()))
    assert list(made).index("controls") > list(made).index("validation_recall")
    assert made["controls"].display().iloc[0].tolist()[:3] == ["WBC_1", "sum-shuffled", "90.00"]
    assert "90.00" not in made["validation_accuracy"].display().to_string()


def test_several_fusions_have_a_column_each(run_directory: Make) -> None:
    directory = run_directory()
    directory.trial("a", correct=[20])
    directory.trial("b", fusion="sum", correct=[24])
    directory.trial("c", fusion="gated", correct=[28])
    shown = named(load_study(directory.save()))["validation_accuracy"].display()
    assert shown.iloc[0, 2:7].tolist() == ["50.00", "70.00", "60.00", "+20.00", "+10.00"]
    assert shown.columns.tolist()[2:7] == [
        "Without %",
        "With (gated) %",
        "With (sum) %",
        "Difference (gated)",
        "Difference (sum)",
    ]


def test_many_settings_become_rows_each_compared_with_the_same_subset_without(run_directory: Make) -> None:
    directory = run_directory()
    right = {"off": 30, "sum": 32, "gated": 29, "finetune": 34}
    for fraction in (0.01, 0.1):
        for fusion, correct in right.items():
            directory.trial(f"{fusion}{fraction}", fraction, fusion, correct=[correct])
        directory.trial(f"prcc{fraction}", fraction, "sum", encoders=("prcc",), correct=[28])
        directory.trial(f"control{fraction}", fraction, "sum", control="random", correct=[40])
    made = named(load_study(directory.save()))
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
    ((name, purpose),) = named(load_study(directory.save()))["controls"].notes
    assert name == "twin"
    assert "off under another name, tuned and confirmed on its own" in purpose
