"""Tables fit narrow terminals and names stay plain text."""

from __future__ import annotations

import io

import pandas as pd
from rich.console import Console

from analysis import Study
from analysis.report.terminal import print_tables
from analysis.tables.registry import tables
from analysis.tables.table import Column, Table


def printed(made: list[Table], width: int) -> str:
    console = Console(file=io.StringIO(), width=width)
    print_tables(made, console)
    assert isinstance(console.file, io.StringIO)
    return console.file.getvalue()


def test_no_number_is_cut_off(finished_study: Study) -> None:
    made = tables(finished_study)
    for width in (80, 120):
        text = printed(made, width)
        assert max(map(len, text.splitlines())) <= width
        for table in made:
            shown = table.display()
            for title, numeric in zip(shown, table.numeric, strict=True):
                for cell in shown[title] if numeric else ():
                    assert cell.replace(" ± ", "±") in text, width


def test_names_are_no_markup() -> None:
    frame = pd.DataFrame({"name": ["[red]x[/red]"], "value": [1.0]})
    table = Table("t", "[bold]T", "caption [/]", frame, (Column("Name", "name"), Column("V", "value", form="score")))
    text = printed([table], 80)
    assert "[red]x[/red]" in text
    assert "[bold]T" in text
    assert "caption [/]" in text


def test_notes_stand_each_on_lines_of_their_own() -> None:
    frame = pd.DataFrame({"value": [0.5]})
    notes = (("random", "word " * 30), ("twin", "off again"))
    table = Table("t", "T", "c", frame, (Column("V", "value", form="percent"),), notes=notes)
    lines = printed([table], 80).splitlines()
    assert any(line.startswith("random ") for line in lines)
    assert any(line.startswith("twin ") and "off again" in line for line in lines)
    assert max(map(len, lines)) <= 80


def test_long_names_are_folded_not_lost() -> None:
    frame = pd.DataFrame({"name": ["a" * 150], "value": [0.5]})
    text = printed([Table("t", "T", "c", frame, (Column("Name", "name"), Column("V", "value", form="percent")))], 80)
    assert text.count("a") == 150 + "Name".count("a")
    assert "50.00" in text


def test_names_of_arms_are_broken_at_their_joints_and_numbers_never() -> None:
    arms = ["sum(prcc+cam16)-random", "finetune-random+masks", "sum-shuffled+masks"]
    frame = pd.DataFrame(
        {
            "arm": arms,
            "low": [-0.1, -0.02, 0.0],
            "high": [0.1234, 0.2, 0.3],
            "p": [0.0001, 0.5, 1.0],
            "seeds": [5] * 3,
            "verdict": ["no evidence of a gain", "gain", "loss"],
        }
    )
    columns = (
        Column("Arm", "arm"),
        Column("95 % interval", "low", "high", "points_range"),
        Column("p (Holm)", "p", form="p"),
        Column("n", "seeds", form="count"),
        Column("Verdict", "verdict"),
    )
    table = Table("t", "T", "c", frame, columns)
    narrow = printed([table], 60)
    assert max(map(len, narrow.splitlines())) <= 60
    for whole in ("-10.00 to +12.34", "-2.00 to +20.00", "< 0.001", "no evidence", "of a gain"):
        assert whole in narrow
    names = [line[1:14].strip() for line in narrow.splitlines()[5:11]]
    assert names == ["sum(prcc+", "cam16)-random", "finetune-", "random+masks", "sum-shuffled+", "masks"]
    # Where there is room nothing is broken.
    wide = printed([table], 120)
    assert all(name in wide for name in [*arms, "no evidence of a gain"])
