"""The images behind one cell of a confusion matrix."""

from __future__ import annotations

from typing import Any
from urllib.parse import quote

from dash import html

from analysis.explorer.pictures import PictureFolder, pictures_in_cell
from analysis.explorer.view_state import ViewState
from analysis.metrics import SPLIT_TITLES
from analysis.records.study import Study

SHOWN = 60
"""Pictures of a cell that are shown; the surest ones first."""


def picture_view(study: Study, state: ViewState, folder: PictureFolder, run: str) -> list[Any]:
    """Pictures of the opened cell.

    Args:
        study: The study.
        state: Which trial and cell are open.
        folder: Where the pictures are.
        run: Key of the run, for the pictures' addresses.
    """
    cell = read_cell(state.cell, len(study.classes))
    if not state.trial or cell is None:
        return [html.P("Open a cell of a confirmed run's confusion matrix to see its images.", className="none")]
    split, actual, predicted = cell
    rows = pictures_in_cell(study, state.trial, split, actual, predicted)
    where = SPLIT_TITLES[split]
    said = f"{len(rows):,} {where} images of {study.classes[actual]} taken for {study.classes[predicted]}"
    if len(rows) > SHOWN:
        said += f"; the {SHOWN} surest are shown"
    told = " Percent: the probability that the run gave its answer." if len(rows) else ""
    children: list[Any] = [html.P(f"{said}.{told}", id="picture-count")]
    if folder.reason:
        children.append(html.P(folder.reason, className="none"))
    tiles = []
    for row in rows.head(SHOWN).to_dict("records"):
        words = f"{row['path'] or row['image']}"
        picture: list[Any] = []
        if not folder.reason and row["row"] >= 0:
            address = f"/picture/{quote(run, safe='')}/{row['row']}"
            picture = [html.Img(src=address, alt=f"{study.classes[actual]} {words}")]
        tiles.append(html.Figure([*picture, html.Figcaption([html.B(f"{100 * row['probability']:.0f} % "), words])]))
    return [*children, html.Div(tiles, className="pictures" if not folder.reason else "pictures names")]


def read_cell(text: str, classes: int) -> tuple[str, int, int] | None:
    """Read ``test,3,4`` as ("test", 3, 4); None for anything that is no cell of these classes."""
    parts = text.split(",")
    if (
        len(parts) != 3
        or parts[0] not in ("val", "test")
        or not all(part.isascii() and part.isdigit() for part in parts[1:])
    ):
        return None
    actual, predicted = int(parts[1]), int(parts[2])
    return (parts[0], actual, predicted) if max(actual, predicted) < classes else None
