"""Cells of a matrix in addresses."""

from __future__ import annotations

import pytest

from analysis.explorer.picture_view import read_cell


@pytest.mark.parametrize("text", ["", "test", "test,1", "train,1,2", "test,5,0", "test,-1,0", "test,1,2,3", "test,²,0"])
def test_what_is_no_cell_is_refused(text: str) -> None:
    assert read_cell(text, 5) is None


def test_a_cell_is_read() -> None:
    assert read_cell("val,0,4", 5) == ("val", 0, 4)
