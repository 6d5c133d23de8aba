"""The explorer in a real browser, and what its server refuses."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from PIL import Image
from werkzeug.serving import make_server

from analysis import StudyError
from analysis.explorer.application import LOOPBACK, make_application

Make = Callable[..., Any]
MARKUP = "<script>alert(1)</script>"


@pytest.fixture
def explore() -> Iterator[Callable[..., str]]:
    """Serves explorers of runs and returns their address; they end after the page, which would ask them in vain."""
    ends: list[Callable[[], None]] = []

    def start(*paths: Path) -> str:
        server = make_server(LOOPBACK, 0, make_application(paths).server, threaded=True)
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        ends.extend([server.server_close, thread.join, server.shutdown])
        return f"http://{LOOPBACK}:{server.server_port}/"

    yield start
    while ends:
        ends.pop()()


def test_only_pages_of_loopback_are_answered(finished: Path) -> None:
    client = make_application([finished]).server.test_client()
    assert client.get("/", headers={"Host": "127.0.0.1:8050"}).status_code == 200
    assert client.get("/", headers={"Host": "evil.example:8050"}).status_code == 403
    assert client.get("/", headers={"Host": "127.0.0.1.evil.example"}).status_code == 403


def test_pictures_are_asked_for_by_their_row(finished: Path) -> None:
    client = make_application([finished]).server.test_client()
    for address in ("/picture/tiny/0", "/picture/tiny/999999", "/picture/other/0"):
        assert client.get(address, headers={"Host": LOOPBACK}).status_code == 404
    # Any other address gets Dash's page, never a file.
    answer = client.get("/picture/tiny/..%2f..%2fstudy.yaml", headers={"Host": LOOPBACK})
    assert b"search" not in answer.data


def test_no_run_is_an_error() -> None:
    with pytest.raises(StudyError, match="found no run"):
        make_application([])


@pytest.mark.browser
def test_click_through_from_table_to_trial_to_image(
    explore: Callable[..., str], watched_page: Any, run_directory: Make, fill_directory: Make, tmp_path: Path
) -> None:
    directory = fill_directory(run_directory(name=MARKUP))
    directory.config["data"] = {"source": "folder", "root": str(tmp_path / "data")}
    for row in directory.images:
        path = tmp_path / "data" / "wbc" / row["path"]
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (40, 40), (200, 10, 10)).save(path, "PNG")
    path = directory.save(per_segment=50)
    address = explore(path)
    page = watched_page
    page.goto(address)
    page.wait_for_function(f"document.querySelector('#name')?.textContent === {MARKUP!r}")
    # Every figure of the first view draws.
    page.wait_for_selector("#parallel .parcoords")
    page.wait_for_selector("#chosen-figure .main-svg")
    page.get_by_title("WBC_1/sum: mean 0.65,").click()
    page.wait_for_function("document.querySelector('#trial-count')?.textContent.includes(' of WBC_1/sum')")
    page.wait_for_function("document.querySelectorAll('#trial-table tbody tr').length === 5")
    page.locator("#trial-table button", has_text="0.01-sum-c101").click()
    page.wait_for_selector("#trial-curves .main-svg")
    page.locator("#matrix-test button").first.click()
    page.wait_for_function("document.querySelector('#pictures img')?.naturalWidth === 40")
    # The view can be shared: another tab shows the same.
    shared = page.url
    page.goto("about:blank")
    page.goto(shared)
    page.wait_for_function("document.querySelector('#pictures img')?.naturalWidth === 40")
    page.wait_for_function("document.querySelector('#trial-name')?.innerText.includes('0.01-sum-c101')")


def append(directory: Any) -> None:
    """Add the segments that are not there yet, each at once, as a study does; those that are there never change."""
    target = directory.path
    directory.path = target.with_name("being written")
    for segment in sorted(directory.save(per_segment=1).glob("records/*/*")):
        place = target / segment.relative_to(directory.path)
        if not place.exists():
            segment.rename(place)


@pytest.mark.browser
def test_a_record_that_is_appended_appears_and_the_choice_stays(
    explore: Callable[..., str], watched_page: Any, run_directory: Make, fill_directory: Make
) -> None:
    directory = fill_directory(run_directory(), confirm=False)
    path = directory.save(per_segment=1)
    address = explore(path)
    page = watched_page
    page.goto(f"{address}?arm=WBC_1%2Foff&selected=0.01-off-0")
    page.wait_for_function("document.querySelector('#trial-count')?.textContent.startsWith('3 trials of WBC_1/off, 1')")
    directory.trial("late", 0.01, "off", index=9, correct=[39])
    append(directory)
    page.wait_for_function("document.querySelector('#trial-count')?.textContent.startsWith('4 trials of WBC_1/off, 1')")
    page.wait_for_function("document.querySelector('#trial-table')?.innerText.includes('late')")
    page.wait_for_function("document.querySelector('[aria-label=\"select 0.01-off-0\"]')?.ariaChecked === 'true'")


@pytest.mark.browser
def test_a_brush_narrows_every_view_and_can_be_let_go(
    explore: Callable[..., str], watched_page: Any, finished: Path
) -> None:
    address = explore(finished)
    page = watched_page
    page.goto(address)
    page.wait_for_selector("#parallel .parcoords")
    page.wait_for_function("document.querySelector('#trial-count')?.textContent.startsWith('20 trials')")
    # Plotly's own door for what dragging along an axis does: log10 of 3e-3, the winners' learning rate.
    page.evaluate(
        "Plotly.restyle(document.querySelector('#parallel .js-plotly-plot'), 'dimensions[2].constraintrange', [[-2.6, -2.4]])"
    )
    page.wait_for_function("document.querySelector('#trial-count')?.textContent.startsWith('12 trials')")
    page.wait_for_function("document.querySelector('#picked-count')?.textContent.startsWith('4 of 12')")
    page.wait_for_function("location.search.includes('pick.learning_rate')")
    page.wait_for_function("document.querySelector('#comparison-table')?.innerText.includes('1 of 3 trials')")
    page.get_by_text("Let go of all ranges").click()
    page.wait_for_function("document.querySelector('#trial-count')?.textContent.startsWith('20 trials')")


@pytest.mark.browser
@pytest.mark.parametrize("kind", ["empty", "one arm", "failed and stopped", "no test split"])
def test_odd_studies_are_shown_as_they_are(
    explore: Callable[..., str], watched_page: Any, run_directory: Make, fill_directory: Make, kind: str
) -> None:
    directory = run_directory()
    if kind == "one arm":
        directory.trial("a", correct=[20, 21])
    elif kind == "failed and stopped":
        directory.trial("a", status="failed", error="Boom")
        directory.trial("b", fusion="sum", status="stopped", correct=[20])
    elif kind == "no test split":
        fill_directory(directory, test=False)
    address = explore(directory.save(per_segment=100))
    page = watched_page
    page.goto(address)
    page.wait_for_selector("#chosen-figure .main-svg")
    page.wait_for_selector("#trial-count")
    expected = {
        "empty": "No trial has been handed out yet.",
        "one arm": "validation accuracy",
        "failed and stopped": "No full-length run has ended yet.",
        "no test split": "optimistic",
    }
    page.wait_for_function(f"document.querySelector('#comparison')?.innerText.includes({expected[kind]!r})")
