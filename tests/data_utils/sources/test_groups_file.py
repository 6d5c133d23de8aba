"""Which patient or smear an image is of is read from a table."""

from pathlib import Path

import pytest

from data_utils.errors import DataError
from tests.data_utils.sources.conftest import opened


def test_groups_are_read_from_a_table(root: Path, tmp_path: Path) -> None:
    table = tmp_path / "groups.csv"
    table.write_text("patient,path\nP1,train/data/Basophil/0.png\nP1,.\\train\\data\\Basophil\\1.png\n")
    source = opened(root, groups=table, group_column="patient")
    assert [item.group for item in source.items[:3]] == ["P1", "P1", ""]
    assert sum(bool(item.group) for item in source.items) == 2


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("path,smear\na,b\n", "no column 'group'"),
        ("path,group\nnowhere.png,b\n", "no path in .* names an image"),
        ("path,group\ntrain/data/Basophil/0.png,a\ntrain/data/Basophil/0.png,b\n", "two groups"),
        ("", "no columns"),
        (None, "cannot be read"),
    ],
)
def test_mistakes_in_the_table_of_groups(root: Path, tmp_path: Path, text: str | None, message: str) -> None:
    table = tmp_path / "groups.csv"
    if text is not None:
        table.write_text(text)
    with pytest.raises(DataError, match=message):
        opened(root, groups=table)
