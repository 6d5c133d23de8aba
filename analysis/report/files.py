"""Tables as files: CSV with full precision, Markdown and LaTeX as shown."""

from __future__ import annotations

import re
from collections.abc import Iterable
from pathlib import Path

from analysis.tables.table import Table
from analysis.wording.formats import MISSING

_LATEX = {
    "\\": r"\textbackslash{}",
    "&": r"\&",
    "%": r"\%",
    "$": r"\$",
    "#": r"\#",
    "_": r"\_",
    "{": r"\{",
    "}": r"\}",
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    "<": r"\textless{}",
    ">": r"\textgreater{}",
    "±": r"$\pm$",
    MISSING: "--",
}
_MARKDOWN = re.compile(r"([\\`*_{}\[\]<>|#~])")


def write_tables(tables: Iterable[Table], folder: Path) -> list[Path]:
    """Write every table as ``<name>.csv``, ``<name>.md`` and ``<name>.tex``.

    Args:
        tables: From `analysis.tables.registry.tables`.
        folder: Made when it does not exist; files of tables that no longer exist stay.

    Returns:
        The written files.
    """
    folder.mkdir(parents=True, exist_ok=True)
    written = []
    for table in tables:
        for suffix, text in ((".csv", to_csv(table)), (".md", to_markdown(table)), (".tex", to_latex(table))):
            path = folder / f"{table.name}{suffix}"
            path.write_text(text, encoding="utf-8", newline="\n")
            written.append(path)
    return written


def to_csv(table: Table) -> str:
    """The numbers in full precision, missing ones empty."""
    return table.frame.to_csv(index=False, lineterminator="\n")


def to_markdown(table: Table) -> str:
    """A heading, a GitHub table, the caption and the notes as a list."""
    shown = table.display()
    lines = [f"### {_markdown(table.title)}", "", _markdown_row(shown.columns)]
    lines.append("|" + "|".join(" ---: " if numeric else " --- " for numeric in table.numeric) + "|")
    lines += [_markdown_row(row) for row in shown.itertuples(index=False)]
    notes = [f"- {_markdown(term)}: {_markdown(meaning)}" for term, meaning in table.notes]
    return "\n".join([*lines, "", _markdown(table.caption), *(["", *notes] if notes else []), ""])


def to_latex(table: Table) -> str:
    r"""A ``table`` with booktabs rules; needs ``\usepackage{booktabs}``."""
    shown = table.display()
    told = " ".join([table.caption, *(f"{term}: {meaning}" for term, meaning in table.notes)])
    lines = [
        r"% needs \usepackage{booktabs}",
        r"\begin{table}",
        r"  \centering",
        rf"  \caption{{{latex_text(table.title)}. {latex_text(told)}}}",
        rf"  \label{{tab:{table.name.replace('_', '-')}}}",
        rf"  \begin{{tabular}}{{{''.join('r' if numeric else 'l' for numeric in table.numeric)}}}",
        r"    \toprule",
        _latex_row(shown.columns),
        r"    \midrule",
        *(_latex_row(row) for row in shown.itertuples(index=False)),
        r"    \bottomrule",
        r"  \end{tabular}",
        r"\end{table}",
        "",
    ]
    return "\n".join(lines)


def latex_text(text: str) -> str:
    """Text that LaTeX sets as it is: every special character escaped, line breaks as spaces."""
    return "".join(_LATEX.get(character, character) for character in " ".join(text.split()))


def _latex_row(cells: Iterable[object]) -> str:
    shown = []
    for cell in map(str, cells):
        # A sign set in text mode would be a hyphen.
        shown.append(f"${cell}$" if re.fullmatch(r"[+-][\d.,]+", cell) else latex_text(cell))
    return "    " + " & ".join(shown) + r" \\"


def _markdown(text: str) -> str:
    return _MARKDOWN.sub(r"\\\1", " ".join(text.split()))


def _markdown_row(cells: Iterable[object]) -> str:
    return "| " + " | ".join(_markdown(str(cell)) for cell in cells) + " |"
