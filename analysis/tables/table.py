"""A table of the report: a frame, its columns and its caption."""

from __future__ import annotations

from dataclasses import dataclass

import pandas as pd

from analysis.wording.formats import show


@dataclass(frozen=True)
class Column:
    """How one or two columns of a table's frame are shown."""

    title: str
    value: str
    """Name of the frame's column."""
    spread: str = ""
    """Name of the column with the standard deviation, or with the upper bound where the form is a range; empty for none."""
    form: str = "text"
    """"text", "count", "percent" (share times 100, two digits), "points" (signed percent), "score" (three digits),
    "scientific", "number" (three significant digits), "seconds", "p", "share"; with "_range" behind it, from the value to the
    spread's column."""


@dataclass(frozen=True)
class Table:
    """One table.

    Attributes:
        name: Name of its files, e.g. ``validation_accuracy``.
        title: Short heading.
        caption: Selection rule, n, what the spread is, and what the values are not.
        frame: The numbers, in full precision; shares in [0, 1].
        columns: How they are shown.
        notes: Words of the table with what they mean: a list below the caption.
        detail: Whether the report and the files are enough: too long or too particular for a terminal.
    """

    name: str
    title: str
    caption: str
    frame: pd.DataFrame
    columns: tuple[Column, ...]
    detail: bool = False
    notes: tuple[tuple[str, str], ...] = ()

    def display(self) -> pd.DataFrame:
        """The table as strings: one column per entry of `columns`, missing values as a dash."""
        shown = {}
        for column in self.columns:
            spreads = list(self.frame[column.spread]) if column.spread else [None] * len(self.frame)
            shown[column.title] = [
                show(value, spread, column.form)
                for value, spread in zip(self.frame[column.value], spreads, strict=True)
            ]
        return pd.DataFrame(shown, columns=[column.title for column in self.columns], dtype="str")

    @property
    def numeric(self) -> tuple[bool, ...]:
        """Which shown columns hold numbers and are set flush right."""
        return tuple(column.form != "text" for column in self.columns)
