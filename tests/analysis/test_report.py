"""The page: offline, harmless, stable, complete."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from analysis import StudyError, load_study, write_report

Make = Callable[..., Any]
MARKUP = "<script>alert(1)</script>"


def tree(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


def test_the_report_is_complete_and_offline(finished: Path) -> None:
    (finished / "pretrain" / "prcc" / "reconstructions.png").write_bytes(b"png")
    index = write_report(load_study(finished))
    assert index == finished / "report" / "index.html"
    page = index.read_text(encoding="utf-8")
    files = tree(finished / "report")
    assert files["reconstructions-prcc.png"] == b"png"
    assert "plotly.min.js" in files
    assert "tables/validation_accuracy.tex" in files
    assert "http://" not in page
    assert "https://" not in page
    for name in (
        "fraction-curve",
        "comparison-dots",
        "learning-curves-accuracy",
        "learning-curves-loss",
        "pretraining-curves",
    ):
        assert f'id="{name}"' in page
    assert "abc123" in page  # provenance
    assert "60.00 ± 3.54" in page
    assert "16 completed, 4 stopped; 8 confirmed runs" in page


def test_the_same_records_give_the_same_bytes(finished: Path, tmp_path: Path) -> None:
    first = write_report(load_study(finished), tmp_path / "one").parent
    second = write_report(load_study(finished), tmp_path / "two").parent
    assert tree(first) == tree(second)


def test_markup_in_names_is_harmless(run_directory: Make, fill_directory: Make) -> None:
    directory = fill_directory(run_directory(name=MARKUP))
    directory.manifest["classes"] = [MARKUP, "b", "c", "d", f"e{MARKUP}"]
    directory.trial(MARKUP, fusion=MARKUP, status="failed", error=MARKUP)
    directory.trial("x" + MARKUP, fusion=MARKUP, correct=[20, 21])
    directory.curve(
        "<img src=x onerror=alert(1)>".replace("/", ""),
        epoch=[1],
        train_loss=[1.0],
        val_loss=[1.0],
        val_accuracy=[1.0],
        seconds=[1.0],
    )
    page = write_report(load_study(directory.save())).read_text(encoding="utf-8")
    assert "alert(1)" in page
    assert MARKUP not in page
    assert "<img src=x" not in page
    # In a figure Plotly would read tags: there the escaped < must itself be escaped.
    assert "\\u003cscript" not in page


@pytest.mark.parametrize("kind", ["empty", "failed", "running"])
def test_an_unfinished_study_has_a_report(run_directory: Make, kind: str) -> None:
    directory = run_directory()
    directory.manifest = {}
    if kind == "failed":
        directory.trial("a", status="failed", error="Boom")
        directory.trial("b", fusion="sum", status="failed", error="")
    if kind == "running":
        directory.trial("a", correct=[20, 21], status="running")
        directory.trial("b", fusion="sum", status="running")
    page = write_report(load_study(directory.save())).read_text(encoding="utf-8")
    assert "No full-length run has ended yet." in page
    assert "nan" not in page.lower().replace("plotly", "").split("<script")[0]


def test_a_folder_that_cannot_be_written_is_named(finished: Path, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(StudyError, match="cannot be written"):
        write_report(load_study(finished), tmp_path / "file")
