"""One look for all figures."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pandas as pd
import pytest

from analysis import load_study
from analysis.figures.style import broken_line, line_breaks, log_ticks, safe, setting_colours
from analysis.wording.colours import BLUE, VERMILLION


def test_a_setting_keeps_its_colour_whatever_else_is_compared(run_directory: Callable[..., Any]) -> None:
    directory = run_directory()
    directory.trial("a", correct=[20])
    directory.trial("b", fusion="concat", correct=[20])
    directory.trial("c", fusion="new", correct=[20])
    directory.trial("d", fusion="sum", control="random", correct=[20])
    directory.trial("e", fusion="sum", correct=[20])
    colours = setting_colours(load_study(directory.save()))
    assert colours["off"] == BLUE
    assert colours["sum"] == VERMILLION
    assert len(set(colours.values())) == len(colours) == 5
    assert next(iter(colours)) == "off"


def test_ticks_of_a_logarithmic_axis_are_few() -> None:
    assert log_ticks([0.2, 4.0, np.nan])["dtick"] == "D2"
    assert log_ticks([0.001, 4.0])["dtick"] == 1
    assert log_ticks([])["dtick"] == "D2"


def test_text_is_escaped() -> None:
    assert safe("<b>") == "&lt;b&gt;"


def test_the_pen_is_lifted_between_two_lines() -> None:
    breaks = line_breaks(pd.Series(["a", "a", "b"]))
    assert broken_line([1, 2, 3], breaks).tolist() == pytest.approx([1, 2, np.nan, 3], nan_ok=True)
    assert broken_line(np.array(["x", "y", "z"], dtype=object), breaks).tolist() == ["x", "y", None, "z"]
