"""How values are written: percentages, points, counts, ranges and what is missing."""

from __future__ import annotations

import numpy as np
import pandas as pd

MISSING = "\N{EN DASH}"
"""Shown for a value that does not exist (yet)."""


def capitalised(title: str) -> str:
    """A title with its first letter large and all others as they are: "macro F1" -> "Macro F1"."""
    return f"{title[:1].upper()}{title[1:]}"


def unit_of(title: str, form: str) -> str:
    """A column's title with its unit."""
    return f"{title} %" if form == "percent" else title


def counted(number: int, noun: str) -> str:
    """A number with its noun: "1 seed", "5 seeds"."""
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"


def show_range(counts: np.ndarray[tuple[int], np.dtype[np.int64]]) -> str:
    """Lowest and highest of some counts, or the one that all are."""
    low, high = int(counts.min()), int(counts.max())
    return str(low) if low == high else f"{low}-{high}"


_FORMS = {
    "percent": (100.0, "{:.2f}"),
    "percent1": (100.0, "{:.1f}"),
    "points": (100.0, "{:+.2f}"),
    "score": (1.0, "{:.3f}"),
    "signed": (1.0, "{:+.3f}"),
    "scientific": (1.0, "{:.2e}"),
    "number": (1.0, "{:.3g}"),
    "loss": (1.0, "{:.5f}"),
    "seconds": (1.0, "{:,.0f}"),
    "percent_points": (100.0, "{:.2f}"),
    "share": (1.0, "{:.2f}"),
    "p": (1.0, "{:.3f}"),
}
"""Form -> what a value is multiplied by, and its pattern."""

_RANGE = "_range"
"""Ends the form of a column that shows two bounds, each in the form before it."""


def show(value: object, spread: object, form: str) -> str:
    """A value in its column's form.

    Args:
        value: A number or a text; None, NA or NaN where there is none.
        spread: Standard deviation, shown after ±, or the upper bound of a range; None or NaN for none.
        form: As `analysis.tables.table.Column` names it.
    """
    if value is None or value is pd.NA or (isinstance(value, float) and np.isnan(value)):
        return MISSING
    if form == "text" or isinstance(value, str):
        return str(value)
    if form == "count":
        return f"{value:,}"
    if form.endswith(_RANGE):
        return " to ".join(show(bound, None, form.removesuffix(_RANGE)) for bound in (value, spread))
    scale, pattern = _FORMS[form]
    if form == "p" and float(value) < 0.001:  # type: ignore[arg-type]  # as below
        pattern = "< 0.001"
    # Differences that cancel leave -1e-17, which is no negative difference.
    number = round(scale * float(value), 12) + 0.0  # type: ignore[arg-type]  # a number: its column's form says so
    shown = pattern.format(number)
    if spread is None or np.isnan(float(spread)):  # type: ignore[arg-type]  # as above
        return shown
    return f"{shown} ± {pattern.format(scale * float(spread))}"  # type: ignore[arg-type]  # as above


def show_difference(value: float, metric: str, unit: bool = True) -> str:
    """A signed difference in words: "+3.20 points" of accuracy, "+0.032" of an F1."""
    if metric == "accuracy":
        return f"{100 * value:+.2f}{' points' if unit else ''}"
    return f"{value:+.3f}"
