"""Tables in the terminal."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence

from rich.box import SIMPLE_HEAD
from rich.console import Console, Group
from rich.table import Table as RichTable
from rich.text import Text

from analysis.tables.table import Table

_KEY_WIDTH = 8
"""Characters that a column of names gets at least; longer parts of names are folded when the terminal is narrow."""

_LINES = 4
"""Lines that a name is broken into at its joints at most, before it is folded anywhere."""

_JOINTS = re.compile(r"(?<=[ /+,-])(?=.)|(?<=.)(?=\()")
"""Where a name may be broken: ``sum(prcc)-random+masks`` is ``sum``, ``(prcc)-``, ``random+``, ``masks``."""


def terminal_table(table: Table, width: int = 80) -> Group:
    """Title, table, caption and notes for rich; names from the records are plain text, never markup.

    Args:
        table: Any table.
        width: Columns of the terminal. What does not fit loses first its spacing, then folds its headings.
    """
    # A terminal of 80 columns has no room for the spaces around ±.
    shown = table.display().map(lambda cell: cell.replace(" ± ", "±"))
    titles = [str(title) for title in shown]
    cells = [shown[title].unique().tolist() for title in shown]
    widths, padding = _column_widths(titles, cells, table.numeric, width)
    rich = RichTable(box=SIMPLE_HEAD, pad_edge=False, padding=(0, padding, 0, 0))
    for title, numeric, column_width in zip(shown, table.numeric, widths, strict=True):
        rich.add_column(Text(str(title)), justify="right" if numeric else "left", overflow="fold", width=column_width)
    for row in shown.itertuples(index=False):
        rich.add_row(*(Text("\n".join(_break(cell, size))) for cell, size in zip(row, widths, strict=True)))
    body = rich if len(shown) else Text("Nothing yet.", style="italic")
    notes = RichTable.grid(padding=(0, 1, 0, 0))
    for term, meaning in table.notes:
        notes.add_row(Text(term, style="bold dim"), Text(meaning, style="dim"))
    return Group(
        Text(table.title, style="bold"), body, Text(table.caption, style="dim"), *([notes] if table.notes else [])
    )


def print_tables(tables: Iterable[Table], console: Console | None = None) -> None:
    """Print tables one below the other; made for 80 columns and more."""
    console = console or Console()
    for table in tables:
        console.print(terminal_table(table, console.width))
        console.print()


# Rich keeps its spacing and drops whole columns of a narrow terminal: at 60 characters the verdict is gone from the verdicts.
def _column_widths(
    titles: Sequence[str], cells: Sequence[Sequence[str]], numeric: Sequence[bool], width: int
) -> tuple[list[int], int]:
    """Characters of every column, and of the padding between two.

    Numbers are never broken. In a narrow terminal headings are broken between words first, then the padding goes, then
    names are broken at their joints into as few lines as possible, then anywhere, then headings.

    Args:
        titles: Headings.
        cells: Content of each column.
        numeric: Whether a column holds numbers.
        width: Columns of the terminal.
    """
    words = [max(map(len, title.split()), default=0) for title in titles]
    longest = [max(map(len, column), default=0) for column in cells]
    whole = [max(pair) for pair in zip(map(len, titles), longest, strict=True)]
    broken = [max(pair) for pair in zip(words, longest, strict=True)]
    for widths, padding in ((whole, 1), (broken, 1), (broken, 0)):
        if _total(widths, padding) <= width:
            return widths, padding
    least = list(broken)
    for lines in range(2, _LINES + 1):
        narrow = [
            full if number else max(word, _width_of_lines(column, lines))
            for full, number, word, column in zip(broken, numeric, words, cells, strict=True)
        ]
        if _total(narrow, 0) <= width:
            return _widen(narrow, broken, width), 0
        least = [min(pair) for pair in zip(least, narrow, strict=True)]
    floors = [size if number else min(size, _KEY_WIDTH) for size, number in zip(longest, numeric, strict=True)]
    return _shrink(least, floors, numeric, width), 0


def _shrink(widths: Sequence[int], floors: Sequence[int], numeric: Sequence[bool], width: int) -> list[int]:
    """Take characters from columns of names until all fit, then from headings of numbers; no column gets below its floor."""
    shrunk = list(widths)
    for numbers_too in (False, True):
        while _total(shrunk, 0) > width:
            spare = [
                (size, position)
                for position, (size, floor) in enumerate(zip(shrunk, floors, strict=True))
                if size > floor and (numbers_too or not numeric[position])
            ]
            if not spare:
                break
            # Taking from the widest keeps all of them readable.
            shrunk[max(spare)[1]] -= 1
    return shrunk


def _widen(narrow: Sequence[int], full: Sequence[int], width: int) -> list[int]:
    """Give what room is left to columns that need no breaking then, from the left, where the names are."""
    widths = list(narrow)
    for position, size in enumerate(full):
        wider = [*widths[:position], size, *widths[position + 1 :]]
        if _total(wider, 0) <= width:
            widths = wider
    return widths


def _width_of_lines(cells: Sequence[str], lines: int) -> int:
    """Least width at which no cell is broken into more lines than that, at its joints alone."""
    longest = max(map(len, cells), default=0)
    piece = max((len(piece.rstrip()) for cell in cells for piece in _JOINTS.split(cell)), default=0)
    for size in range(piece, longest):
        if all(len(_break(cell, size)) <= lines for cell in cells):
            return size
    return longest


def _break(cell: str, size: int) -> list[str]:
    """Lines of a cell, broken at joints; a piece that is longer than a line is left to rich, which folds it."""
    lines: list[str] = []
    line = ""
    for piece in _JOINTS.split(cell):
        if line and len((line + piece).rstrip()) > size:
            lines.append(line.rstrip())
            line = ""
        line += piece
    return [*lines, line.rstrip()]


def _total(widths: Sequence[int], padding: int) -> int:
    # The box has one character at each edge and between two columns.
    return sum(widths) + (len(widths) - 1) * (1 + padding) + 2
