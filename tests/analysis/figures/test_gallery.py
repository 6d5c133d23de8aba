"""Figures with their captions."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from analysis import load_study
from analysis.figures.gallery import gallery


def test_captions_say_where_values_come_from(finished: Path) -> None:
    figures = {figure.name: figure for figure in gallery(load_study(finished))}
    assert "n = 2 seeds" in figures["fraction-curve"].caption
    assert "optimistic" in figures["fraction-curve"].caption
    assert figures["comparison"].title.endswith("test images")
    assert "no confidence interval" in figures["comparison"].caption


def test_an_empty_study_has_figures_that_say_so(run_directory: Callable[..., Any]) -> None:
    figures = gallery(load_study(run_directory().save()))
    texts = [figure.figure.layout.annotations[0].text for figure in figures]
    assert texts[0] == "No full-length run has ended yet."
    assert texts[2] == "No epoch has been recorded yet."
    assert "pretraining-curves" not in [figure.name for figure in figures]
