"""The statistics as tables: what they show, and what they say when there is nothing to show."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from scipy import stats

from analysis import load_study
from tests.analysis.tables.conftest import named

Make = Callable[..., Any]


def test_the_verdicts_are_shown_with_their_interval(finished: Path) -> None:
    study = load_study(finished)
    shown = named(study)["verdicts"]
    row = study.verdicts().iloc[0]
    cells = shown.display().iloc[0].tolist()
    assert cells[:4] == ["WBC_1", "sum", "off", f"{100 * row['difference']:+.2f}"]
    assert cells[4] == f"{100 * row['low']:+.2f} to {100 * row['high']:+.2f}"
    assert cells[-2:] == ["2", "no evidence of a gain"]
    assert "fewer than 5 seeds" in shown.caption
    assert "sentence" in shown.frame


def test_recalls_of_one_run_have_wilsons_interval(finished: Path) -> None:
    rows = named(load_study(finished))["seed_recalls"].frame
    row = rows[(rows["arm"] == "WBC_100/sum") & (rows["seed"] == 101) & (rows["class"] == "Eosinophil")].iloc[0]
    # 33 of 40 right: 24 neutrophils and 9 of 10 lymphocytes, no eosinophil of 3.
    expected = stats.binomtest(0, 3).proportion_ci(method="wilson")
    assert (row["images"], row["recall"]) == (3, 0.0)
    assert (row["low"], row["high"]) == pytest.approx((expected.low, expected.high), abs=1e-12)


def test_runs_of_one_seed_are_compared_image_by_image(finished: Path) -> None:
    rows = named(load_study(finished))["seed_tests"].frame
    row = rows[(rows["subset"] == "WBC_1") & (rows["seed"] == 101)].iloc[0]
    # 22 right without and 25 with, the same 22 among them.
    assert (row["gained"], row["lost"], row["p"]) == (3, 0, pytest.approx(stats.binomtest(0, 3).pvalue))


def test_a_study_without_confirmed_runs_says_what_to_do(run_directory: Make, fill_directory: Make) -> None:
    study = load_study(fill_directory(run_directory(), confirm=False).save())
    made = named(study)
    assert not {"mean_differences", "claims", "intervals_accuracy", "detectable", "seed_recalls", "seed_tests"} & set(
        made
    )
    assert "verdicts_macro_f1" not in made
    table = made["verdicts"]
    assert len(table.display()) == 0
    assert "Set confirm.seeds to 2 or more" in table.caption
    assert str(study.path) not in table.caption


def test_verdicts_on_validation_images_say_that_they_are_optimistic(run_directory: Make, fill_directory: Make) -> None:
    made = named(load_study(fill_directory(run_directory(), test=False).save()))
    for name in ("verdicts", "verdicts_macro_f1", "intervals_accuracy"):
        assert "optimistic" in made[name].caption


def test_captions_say_that_groups_vary_and_which_classes_have_only_one(
    run_directory: Make, fill_directory: Make
) -> None:
    directory = fill_directory(run_directory())
    for image in directory.images:
        image["group"] = "anna" if image["label"] == 1 else f"patient {int(image['image'][-3:]) % 4}"
    made = named(load_study(directory.save()))
    for name in ("verdicts", "verdicts_macro_f1", "intervals_accuracy", "claims"):
        assert "The images are of 5 groups (patient, smear)" in made[name].caption
        assert "All images of Eosinophil are of one group" in made[name].caption
    assert "groups" not in made["seed_recalls"].caption


def test_a_rival_is_named_in_a_word(run_directory: Make, fill_directory: Make) -> None:
    directory = fill_directory(run_directory())
    for seed in (101, 102):
        directory.trial(f"r{seed}", 1.0, "sum", "confirm", seed=seed, correct=[30], control="random")
        directory.predict(f"r{seed}", 1, "test", 30)
    shown = named(load_study(directory.save()))
    for name in ("verdicts", "detectable"):
        assert shown[name].display()[["Arm", "Minus"]].to_numpy().tolist() == [
            ["sum", "off"],
            ["sum", "off"],
            ["sum", "random"],
            ["sum-random", "off"],
        ]
