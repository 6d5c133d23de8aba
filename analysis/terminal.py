"""Tables in the terminal."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from rich.box import SIMPLE_HEAD
from rich.console import Console, Group
from rich.table import Table as RichTable
from rich.text import Text

from analysis.tables import Table

_KEY_WIDTH = 8
"""Characters that a column of names gets at least; longer names are folded when the terminal is narrow."""


def terminal_table(table: Table, width: int = 80) -> Group:
    """Title, table and caption for rich; names from the records are plain text, never markup.

    Args:
        table: Any table.
        width: Columns of the terminal. What does not fit loses first its spacing, then folds its headings.
    """
    # A terminal of 80 columns has no room for the spaces around ±.
    shown = table.display().map(lambda cell: cell.replace(" ± ", "±"))
    widths, padding = _column_widths(
        [str(title) for title in shown],
        [max(map(len, shown[title]), default=0) for title in shown],
        table.numeric,
        width,
    )
    rich = RichTable(box=SIMPLE_HEAD, pad_edge=False, padding=(0, padding, 0, 0))
    for title, numeric, column_width in zip(shown, table.numeric, widths, strict=True):
        rich.add_column(Text(str(title)), justify="right" if numeric else "left", overflow="fold", width=column_width)
    for row in shown.itertuples(index=False):
        rich.add_row(*(Text(cell) for cell in row))
    body = rich if len(shown) else Text("Nothing yet.", style="italic")
    return Group(Text(table.title, style="bold"), body, Text(table.caption, style="dim"))


def print_tables(tables: Iterable[Table], console: Console | None = None) -> None:
    """Print tables one below the other; made for 80 columns and more."""
    console = console or Console()
    for table in tables:
        console.print(terminal_table(table, console.width))
        console.print()


def _column_widths(
    titles: Sequence[str], cells: Sequence[int], numeric: Sequence[bool], width: int
) -> tuple[list[int], int]:
    """Characters of every column, and of the padding between two.

    Numbers are never broken. In a narrow terminal headings are broken between words first, then the padding goes, then
    names are folded, then headings.

    Args:
        titles: Headings.
        cells: Longest cell of each column.
        numeric: Whether a column holds numbers.
        width: Columns of the terminal.
    """
    words = [max(map(len, title.split())) for title in titles]
    tries = (
        ([max(pair) for pair in zip(map(len, titles), cells, strict=True)], 1),
        ([max(pair) for pair in zip(words, cells, strict=True)], 1),
        ([max(pair) for pair in zip(words, cells, strict=True)], 0),
    )
    for widths, padding in tries:
        if _total(widths, padding) <= width:
            return widths, padding
    widths = list(tries[-1][0])
    floors = [cell if number else min(cell, _KEY_WIDTH) for cell, number in zip(cells, numeric, strict=True)]
    for names_only in (True, False):
        while _total(widths, 0) > width:
            # Taking from the widest keeps all of them readable.
            spare = [
                (widths[i], i) for i in range(len(widths)) if widths[i] > floors[i] and not (names_only and numeric[i])
            ]
            if not spare:
                break
            widths[max(spare)[1]] -= 1
    return widths, 0


def _total(widths: Sequence[int], padding: int) -> int:
    # The box has one character at each edge and between two columns.
    return sum(widths) + (len(widths) - 1) * (1 + padding) + 2
