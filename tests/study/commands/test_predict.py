"""What predict prints and writes."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
import pytest

from study.errors import UsageError
from tests.study.commands.calls import invoke

pytestmark = pytest.mark.slow


def test_a_folder_is_counted_listed_and_written(calm: Path, calm_images: Path, tmp_path: Path) -> None:
    broken = tmp_path / "broken.png"
    broken.write_bytes(b"no image")
    out = tmp_path / "new" / "cells.csv"
    said = invoke("predict", "tiny", calm_images, broken, "--root", calm.parent, "--arm", "WBC_100/sum", "--out", out)
    assert "20 images" in said and "a second" in said
    assert "WBC_100/sum, mean of the seeds 1, 2" in said and "Not for diagnosis" in said
    assert "1 files cannot be read" in said and "broken.png: not an image file" in said
    table = pd.read_csv(out, keep_default_na=False)
    assert len(table) == 21 and (table["error"] != "").sum() == 1
    counts = table["class"].value_counts()
    for name in set(counts.index) - {""}:
        assert f"{counts[name]} {name}" in said


def test_when_nothing_can_be_read_the_command_fails(calm: Path, tmp_path: Path) -> None:
    (tmp_path / "broken.png").write_bytes(b"no image")
    assert "cannot be read" in invoke("predict", "tiny", tmp_path, "--root", calm.parent, code=1)


def test_an_output_of_unknown_format_is_refused_at_once(calm: Path) -> None:
    with pytest.raises(UsageError, match=r"cells\.xls.*\.csv or \.parquet"):
        invoke("predict", "tiny", "nowhere", "--root", calm.parent, "--out", "cells.xls")
