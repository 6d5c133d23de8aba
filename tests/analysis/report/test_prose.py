"""The study in words."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from analysis import load_study
from analysis.report.prose import summary

Make = Callable[..., Any]


def test_a_class_without_test_images_and_a_missing_test_split_are_told(run_directory: Make) -> None:
    directory = run_directory()
    directory.add_images("val")
    text = summary(load_study(directory.save()))
    assert any("There is no test split" in paragraph for paragraph in text)
    directory.add_images("test")
    directory.images = [row for row in directory.images if (row["split"], row["label"]) != ("test", 0)]
    text = summary(load_study(directory.save()))
    assert any("No image of Basophil in test" in paragraph for paragraph in text)


def test_what_its_author_says_about_a_study_is_told(run_directory: Make) -> None:
    directory = run_directory()
    assert not any("About" in paragraph for paragraph in summary(load_study(directory.save())))
    directory.config["about"] = "Stand-ins for\n  the data of the report."
    assert "About this study: Stand-ins for the data of the report." in summary(load_study(directory.save()))
