"""The model card says what the records say."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

from analysis import load_study
from analysis.report.model_card import model_card
from analysis.statistics.estimates import arm_intervals
from tests.analysis.conftest import RIGHT

Make = Callable[..., Any]


def test_results_are_those_of_the_arm_with_intervals_on_own_and_other_images(
    run_directory: Make, fill_directory: Make
) -> None:
    directory = fill_directory(run_directory())
    directory.evaluate("zheng", RIGHT)
    study = load_study(directory.save())
    card = model_card(study, "WBC_100/sum", [101, 102], 1.25)
    rows = arm_intervals(study.answers)
    row = rows[(rows["arm"] == "WBC_100/sum") & (rows["metric"] == "macro_f1")].iloc[0]
    line = f"| own test images | 40 | macro F1 | {row['value']:.4f} | {row['low']:.4f} to {row['high']:.4f} |"
    assert line in card
    assert "| zheng | 40 | accuracy | 0.6375 |" in card and "scored on zheng" in card
    answered = study.predictions[study.predictions["split"] == "test"].merge(
        study.confirmed.loc[study.confirmed["arm"] == "WBC_100/sum", ["trial_id"]]
    )
    columns = [f"p_{name.lower()}" for name in study.classes]
    means = answered.groupby("image")[[*columns, "label"]].mean()
    right = (means[columns].to_numpy().argmax(axis=1) == means["label"]).mean()
    assert f"This file, on the 40 own test images: accuracy {right:.4f}, macro F1" in card
    assert "temperature 1.250" in card and "seeds 101, 102" in card
    assert "| val | 1 | 3 | 10 | 2 | 24 |" in card
    assert "**Not for diagnosis.**" in card and "abc123" in card


def test_one_seed_without_other_data_says_what_is_missing(run_directory: Make, fill_directory: Make) -> None:
    study = load_study(fill_directory(run_directory(), test=False).save())
    card = model_card(study, "WBC_1/off", [101], 1.0)
    assert "of which the file has one" in card
    assert "One network (seed 101)" in card and "Pretraining: none" in card
    assert "expect less on another microscope" in card and "optimistic" in card
    assert not re.search(r"\b(nan|None)\b", card.replace("session.run(None", ""))
