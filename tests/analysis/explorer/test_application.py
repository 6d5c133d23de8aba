"""The explorer in a real browser, and what its server refuses."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pandas as pd
import pytest
from PIL import Image
from werkzeug.serving import make_server

from analysis import StudyError, load_study
from analysis.explorer.application import LOOPBACK, make_application
from analysis.wording.formats import MISSING

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
    page.evaluate("document.querySelector('#chosen-figure .main-svg').dataset.drawn = 'once'")
    page.get_by_title("WBC_1/sum: mean 0.65,").click()
    page.wait_for_function("document.querySelector('#trial-count')?.textContent.includes(' of WBC_1/sum')")
    page.wait_for_function("document.querySelectorAll('#trial-table tbody tr').length === 5")
    page.locator("#trial-table button", has_text="0.01-sum-c101").click()
    page.wait_for_selector("#trial-curves .main-svg")
    page.locator("#matrix-test button").first.click()
    page.wait_for_function("document.querySelector('#pictures img')?.naturalWidth === 40")
    # A figure that stays the same is not drawn again: that takes a page longer than all the rest.
    assert page.locator("#chosen-figure .main-svg").first.get_attribute("data-drawn") == "once"
    # On a telephone the page is as wide as the screen: what is wider scrolls by itself.
    page.set_viewport_size({"width": 420, "height": 900})
    assert page.evaluate("document.documentElement.scrollWidth") <= 420
    page.set_viewport_size({"width": 1440, "height": 900})
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
def test_a_brush_and_a_field_narrow_every_view_and_what_is_ticked_is_exported(
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
    page.wait_for_function("document.querySelector('#comparison-table')?.innerText.includes('1 of 3 search trials')")
    field = page.locator("#ranges input").first
    page.wait_for_function("document.querySelector('#ranges input').value === '0.002512'")
    page.get_by_text("Let go of all ranges").click()
    page.wait_for_function("document.querySelector('#trial-count')?.textContent.startsWith('20 trials')")
    page.wait_for_function("document.querySelector('#ranges input').value === ''")
    # The same by keyboard; the axis shows it too.
    field.fill("2e-3")
    field.press("Enter")
    page.wait_for_function("document.querySelector('#trial-count')?.textContent.startsWith('12 trials')")
    page.wait_for_function(
        "document.querySelector('#parallel .js-plotly-plot').data[0].dimensions[2].constraintrange?.[0] === -2.69897"
    )
    page.get_by_label("select 0.01-off-1").click()
    page.wait_for_function("document.querySelector('#trial-count')?.textContent.endsWith(' 1 selected.')")
    with page.expect_download() as download:
        page.locator("#export").click()
    exported = pd.read_csv(download.value.path())
    expected = load_study(finished).trials.set_index("trial_id")
    assert exported["trial_id"].tolist() == ["0.01-off-1"]
    for name in ("val_accuracy", "val_loss", "learning_rate", "val_recall_basophil"):
        assert exported[name].tolist() == [expected.loc["0.01-off-1", name]]


@pytest.mark.browser
def test_odd_studies_are_shown_as_they_are_and_beside_each_other(
    explore: Callable[..., str], watched_page: Any, run_directory: Make, fill_directory: Make
) -> None:
    kinds = {
        "finished": "Test accuracy.",
        "empty": "No trial has been handed out yet.",
        "one arm": "Validation accuracy.",
        "failed and stopped": "No full-length run has ended yet.",
        "no test split": "optimistic",
        "no basophil in test": "Test accuracy.",
    }
    made = {kind: run_directory(kind) for kind in kinds}
    fill_directory(made["finished"])
    made["one arm"].trial("a", correct=[20, 21])
    made["failed and stopped"].trial("a", status="failed", error="Boom")
    made["failed and stopped"].trial("b", fusion="sum", status="stopped", correct=[20])
    fill_directory(made["no test split"], test=False)
    fill_directory(made["no basophil in test"])
    for table in (made["no basophil in test"].images, made["no basophil in test"].rows["predictions"]):
        table[:] = [row for row in table if (row["split"], row["label"]) != ("test", 0)]
    address = explore(*(directory.save(per_segment=100) for directory in made.values()))
    page = watched_page
    for kind, expected in kinds.items():
        trial = "&trial=0.01-off-c101" if kind == "no basophil in test" else ""
        page.goto(f"{address}?run={quote(kind)}{trial}")
        page.wait_for_function(f"document.querySelector('#comparison')?.innerText.includes({expected!r})")
        page.wait_for_selector("#chosen-figure .main-svg")
        page.wait_for_selector("#trial-count")
        # Every run has a column beside the others, also one without results.
        page.wait_for_function(f"document.querySelectorAll('#run-table thead th').length === {1 + len(kinds)}")
        page.wait_for_function(f"document.querySelector('#run-table thead th:nth-child(2)').innerText === {kind!r}")
    # A class without images has no counts, not zeros.
    page.wait_for_function(
        "document.querySelector('#matrix-test tbody tr')?.innerText.replace(/\\s+/g, ' ').trim() "
        f"=== 'Basophil (0) {' '.join([MISSING] * 5)}'"
    )
    # In the dark everything that Dash paints is as light as the rest of the page's text.
    page.emulate_media(color_scheme="dark")
    text = page.evaluate("getComputedStyle(document.body).color")
    for painted in ("#statuses label", "#arms label", "#metric label", "#figure", "#ranges input"):
        assert page.locator(painted).first.evaluate("each => getComputedStyle(each).color") == text, painted
    assert page.locator("#figure").evaluate("each => getComputedStyle(each).backgroundColor") != "rgb(255, 255, 255)"
