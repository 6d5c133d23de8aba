"""Tables as files: full precision in CSV, escaping in Markdown and LaTeX."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pandas as pd

from analysis import Study
from analysis.report.files import latex_text, to_csv, to_latex, to_markdown, write_tables
from analysis.tables.registry import tables
from analysis.tables.table import Column, Table

FRAME = pd.DataFrame({"name": ["a_b & 5% | <i>"], "mean": [1 / 3], "sd": [0.01], "difference": [-0.02]})
TABLE = Table(
    "some_table",
    "Some #1",
    "n = 5, mean ± SD",
    FRAME,
    (Column("Arm", "name"), Column("Accuracy %", "mean", "sd", "percent"), Column("D", "difference", form="points")),
)


def test_csv_keeps_full_precision() -> None:
    assert to_csv(TABLE) == "name,mean,sd,difference\na_b & 5% | <i>,0.3333333333333333,0.01,-0.02\n"


def test_markdown_escapes_what_would_break_the_table() -> None:
    lines = to_markdown(TABLE).splitlines()
    assert lines[0] == r"### Some \#1"
    assert lines[2:5] == [
        "| Arm | Accuracy % | D |",
        "| --- | ---: | ---: |",
        r"| a\_b & 5% \| \<i\> | 33.33 ± 1.00 | -2.00 |",
    ]


def test_latex_has_booktabs_rules_and_no_bare_special_character() -> None:
    text = to_latex(TABLE)
    assert r"a\_b \& 5\% | \textless{}i\textgreater{} & 33.33 $\pm$ 1.00 & $-2.00$ \\" in text
    assert text.index(r"\toprule") < text.index(r"\midrule") < text.index(r"\bottomrule")
    assert r"\begin{tabular}{lrr}" in text
    assert r"\label{tab:some-table}" in text
    assert latex_text("\\{}$~^\n#") == r"\textbackslash{}\{\}\$\textasciitilde{}\textasciicircum{} \#"


def test_notes_are_a_list_below_the_table() -> None:
    noted = replace(TABLE, notes=(("ran_dom", "100 % chance"), ("twin", "off again")))
    assert to_markdown(noted).endswith("\n\n- ran\\_dom: 100 % chance\n- twin: off again\n")
    assert r"n = 5, mean $\pm$ SD ran\_dom: 100 \% chance twin: off again}" in to_latex(noted)


def test_every_table_is_written_in_three_forms(finished_study: Study, tmp_path: Path) -> None:
    made = tables(finished_study)
    written = write_tables(made, tmp_path / "tables")
    assert len(written) == 3 * len(made)
    assert all(path.is_file() for path in written)
    accuracy = pd.read_csv(tmp_path / "tables" / "validation_accuracy.csv", index_col="subset")
    assert accuracy.loc["WBC_1", "without_mean"] == 0.6
