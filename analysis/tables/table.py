"""What a table is: a frame of numbers in full precision, how its columns are shown, and its caption.

Columns say how values look (percent, digits, mean ± SD), so that the terminal, the page, Markdown and LaTeX show the same.
"""

from __future__ import annotations

from dataclasses import dataclass

import pandas as pd

from analysis.wording.formats import show
from analysis.wording.sections import Level, Section


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
class Content:
    """What a table shows of a study; its name and place are those of its entry in the registry.

    Attributes:
        caption: Selection rule, n, what the spread is, and what the values are not.
        frame: The numbers, in full precision; shares in [0, 1].
        columns: How they are shown.
        notes: Words of the table with what they mean.
        title: Heading where it depends on the study; empty for the one in the registry.
    """

    caption: str
    frame: pd.DataFrame
    columns: tuple[Column, ...]
    notes: tuple[tuple[str, str], ...] = ()
    title: str = ""

    def as_table(self, name: str, title: str, section: Section, level: Level) -> Table:
        """The table with this content; see `Table`."""
        return Table(name, self.title or title, self.caption, self.frame, self.columns, section, level, self.notes)


@dataclass(frozen=True)
class Table:
    """One table of a report.

    Attributes:
        name: Name of its files, e.g. ``validation_accuracy``.
        title: Short heading.
        caption: Selection rule, n, what the spread is, and what the values are not.
        frame: The numbers, in full precision; shares in [0, 1].
        columns: How they are shown.
        section: Part of the report in which it stands.
        level: How near to the front it stands.
        notes: Words of the table with what they mean: a list below the caption.
    """

    name: str
    title: str
    caption: str
    frame: pd.DataFrame
    columns: tuple[Column, ...]
    section: Section = Section.RESULTS
    level: Level = Level.RESULTS
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
    def front(self) -> bool:
        """Whether it is the table that answers the study's question."""
        return self.level is Level.FRONT

    @property
    def appendix(self) -> bool:
        """Whether the report and the files are enough: too long or too particular for a terminal."""
        return self.level is Level.APPENDIX

    @property
    def numeric(self) -> tuple[bool, ...]:
        """Which shown columns hold numbers and are set flush right."""
        return tuple(column.form != "text" for column in self.columns)
