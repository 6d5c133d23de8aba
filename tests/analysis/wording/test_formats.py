"""How values are written."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from analysis.wording.formats import MISSING, capitalised, show, show_range, unit_of


@pytest.mark.parametrize(
    ("value", "spread", "form", "shown"),
    [
        (0.6234, 0.0354, "percent", "62.34 ± 3.54"),
        (0.6234, float("nan"), "percent", "62.34"),
        (-0.05, None, "points", "-5.00"),
        (-1e-17, None, "signed", "+0.000"),
        (12345, None, "count", "12,345"),
        (0.0004, None, "p", "< 0.001"),
        (0.0314, None, "p", "0.031"),
        (1e-3, 0.1, "number_range", "0.001 to 0.1"),
        (-0.1, 0.1234, "points_range", "-10.00 to +12.34"),
        (0.25, None, "points_range", f"+25.00 to {MISSING}"),
        ("whatever it says", None, "score", "whatever it says"),
    ],
)
def test_a_value_is_written_in_the_form_of_its_column(value: object, spread: object, form: str, shown: str) -> None:
    assert show(value, spread, form) == shown


@pytest.mark.parametrize("missing", [None, pd.NA, float("nan")])
def test_what_is_missing_is_a_dash_in_every_form(missing: object) -> None:
    assert {show(missing, None, form) for form in ("text", "count", "percent", "score_range", "p")} == {MISSING}


def test_counts_that_differ_are_a_range() -> None:
    assert show_range(np.array([3, 3])) == "3"
    assert show_range(np.array([5, 2, 3])) == "2-5"


def test_titles_have_a_unit_and_a_large_first_letter() -> None:
    assert unit_of("Accuracy", "percent") == "Accuracy %"
    assert unit_of("Macro F1", "score") == "Macro F1"
    assert capitalised("macro F1") == "Macro F1"
