"""The page: offline, harmless, stable, complete."""

from __future__ import annotations

import re
import shutil
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from analysis import StudyError, load_study, write_report
from analysis.figures.registry import FIGURES
from analysis.report.page import zip_report
from tests.analysis.conftest import RunDirectory

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
    for name in set(FIGURES) - {"domain_shift"}:  # nothing was evaluated on other data
        assert f'id="{name.replace("_", "-")}"' in page
    assert "abc123" in page  # provenance
    assert "60.00 ± 3.54" in page
    assert "16 completed, 4 stopped; 8 confirmed runs" in page


def test_provenance_has_times_that_can_be_read(run_directory: Make) -> None:
    directory = run_directory()
    directory.manifest["phases"] = {"search": {"state": "complete", "started_at": 1.0e9, "ended_at": 1e300}}
    page = write_report(load_study(directory.save())).read_text(encoding="utf-8")
    assert "2001-09-09 01:46:40 UTC" in page
    assert "1e+300" in page  # no time of this calendar: shown as it is


def test_the_command_can_be_typed_again(run_directory: Make) -> None:
    directory = run_directory()
    directory.manifest["command"] = ["__main__.py", "run", "local", "--set", "controls={twin: all}"]
    page = write_report(load_study(directory.save())).read_text(encoding="utf-8")
    assert "wbc-study run local --set &#39;controls={twin: all}&#39;" in page


def test_the_same_records_give_the_same_bytes(finished: Path, report_once: Path) -> None:
    assert tree(write_report(load_study(finished)).parent) == tree(report_once)


def test_markup_in_names_is_harmless(run_directory: Make, fill_directory: Make) -> None:
    directory = fill_directory(run_directory(name=MARKUP))
    directory.manifest["classes"] = [MARKUP, "b", "c", "d", f"e{MARKUP}"]
    directory.config["about"] = MARKUP
    directory.trial(MARKUP, fusion=MARKUP, status="failed", error=MARKUP)
    directory.trial("x" + MARKUP, fusion=MARKUP, correct=[20, 21])
    directory.manifest["phases"] = {"search": {"started_at": MARKUP}}
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
    assert page.count("<script") == page.count("</script>")


def test_without_images_no_picture_is_shown_or_named_and_an_earlier_one_is_removed(run_directory: Make) -> None:
    directory = run_directory()
    error = "Traceback ...\ndata_utils.errors.UnreadableImage: train/data/Basophil/jane_doe.jpg: truncated"
    directory.trial("a", status="failed", error=error)
    path = directory.save()
    (path / "pretrain" / "prcc").mkdir(parents=True)
    (path / "pretrain" / "prcc" / "reconstructions.png").write_bytes(b"png")
    report = write_report(load_study(path)).parent
    archive = zip_report(report)
    assert any(b"jane_doe" in content for content in tree(report).values())
    write_report(load_study(path), images=False)
    assert not archive.exists()
    files = tree(report)
    assert not any(b"jane_doe" in content for content in files.values())
    assert not any(name.endswith(".png") for name in files)
    assert b"data_utils.errors.UnreadableImage" in files["tables/failures.csv"]
    assert b"shows no picture of the data" in files["index.html"]


def test_an_archive_holds_the_report_and_is_stable(report_once: Path, tmp_path: Path) -> None:
    # Copies have other times than what was copied.
    archives = [
        zip_report(shutil.copytree(report_once, tmp_path / name / "report", copy_function=shutil.copy)) for name in "ab"
    ]
    assert archives[0].read_bytes() == archives[1].read_bytes()
    with zipfile.ZipFile(archives[0]) as archive:
        names = {f"report/{name}" for name in tree(tmp_path / "a" / "report")}
        assert set(archive.namelist()) == names


def test_the_contents_reach_every_section_and_links_lead_somewhere(report_once: Path) -> None:
    page = (report_once / "index.html").read_text(encoding="utf-8")
    ids = set(re.findall(r'\bid="([^"]+)"', page))
    links = set(re.findall(r'href="#([^"]+)"', page))
    assert links <= ids
    assert {"summary", "results", "classes", "training", "search", "pretraining", "cost", "provenance"} <= links


def test_the_kinds_of_ending_are_told_when_nothing_was_trained_to_the_end(run_directory: Make) -> None:
    directory = run_directory()
    directory.trial("a", status="failed", error="Boom")
    directory.trial("b", status="stopped", correct=[20])
    page = write_report(load_study(directory.save())).read_text(encoding="utf-8")
    assert "no full-length run has ended yet (1 stopped, 1 failed)" in page


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


@pytest.mark.browser
def test_every_figure_draws_nothing_is_asked_of_the_network_and_paper_has_it_all(
    watched_page: Any, finished: Path
) -> None:
    right = dict.fromkeys(load_study(finished).confirmed["trial_id"], 22)
    other = RunDirectory(finished)
    other.evaluate("other microscope", right)
    index = write_report(load_study(finished))
    page = watched_page
    page.goto(index.as_uri())
    count = page.locator(".plot").count()
    assert count == len(FIGURES)
    for position in range(count):
        plot = page.locator(".plot").nth(position)
        plot.scroll_into_view_if_needed()
        plot.locator(".main-svg").first.wait_for()
    # The contents stay in view, and say where the reader is.
    assert page.locator("nav").bounding_box()["y"] == 0
    page.locator(".plot").last.evaluate("each => each.scrollIntoView({block: 'start'})")
    title = FIGURES["worker_timeline"].title
    page.wait_for_function(f"document.querySelector('nav a[aria-current]')?.innerText === {title!r}")
    # The page itself never scrolls sideways: wide tables and figures scroll on their own.
    for width, contents in ((1440, "true"), (420, "false")):
        page.set_viewport_size({"width": width, "height": 1000})
        assert page.evaluate("document.documentElement.scrollWidth") <= width
        page.wait_for_function(f"document.getElementById('contents').open === {contents}")
    page.emulate_media(media="print", color_scheme="dark")
    page.evaluate("dispatchEvent(new Event('beforeprint'))")
    page.wait_for_function(
        "Array.from(document.querySelectorAll('.plot .main-svg')).every(svg => svg.clientWidth <= 680 && svg.clientHeight <= 900)"
    )
    assert page.evaluate("Array.from(document.querySelectorAll('main details')).every(details => details.open)")
    assert page.evaluate("getComputedStyle(document.body).backgroundColor") == "rgb(255, 255, 255)"
    assert not page.locator("nav").is_visible()


@pytest.mark.browser
def test_colours_can_be_changed_by_keyboard_and_markup_stays_text(watched_page: Any, run_directory: Make) -> None:
    directory = run_directory(name=MARKUP)
    directory.trial(MARKUP, fusion=MARKUP, correct=[20, 21])
    page = watched_page
    page.goto(write_report(load_study(directory.save())).as_uri())
    assert page.locator("h1").inner_text() == MARKUP
    page.locator("#theme").focus()
    page.keyboard.press("Enter")
    page.keyboard.press("Enter")
    assert page.evaluate("document.documentElement.dataset.theme") == "dark"
