"""Figures as files for a paper: svg, png or pdf, through kaleido."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from analysis.figures.registry import CaptionedFigure
from analysis.records.errors import StudyError

FORMATS = ("svg", "png", "pdf")
"""What a figure can be written as."""

_WIDTH = 1100
"""Pixels; a figure has the height that it has on the page."""


def write_static_images(figures: Iterable[CaptionedFigure], folder: Path, form: str) -> list[Path]:
    """Write every figure as ``<name>.<form>`` on white.

    Args:
        figures: From `analysis.figures.registry.figures`.
        folder: Made when it does not exist.
        form: One of `FORMATS`.

    Returns:
        The written files.

    Raises:
        StudyError: Another format, kaleido is not installed, or it finds no Chrome.
    """
    if form not in FORMATS:
        raise StudyError(f"static images: found format {form!r}, expected one of {', '.join(FORMATS)}.")
    try:
        import kaleido
    except ImportError as error:
        raise StudyError('Static images need kaleido: pip install "wbc-study[static]".') from error
    folder.mkdir(parents=True, exist_ok=True)
    written, orders = [], []
    for figure in figures:
        path = folder / f"{figure.name}.{form}"
        drawn = figure.figure.to_dict()
        drawn["layout"] |= {"paper_bgcolor": "white", "plot_bgcolor": "white", "font": {"color": "#1b1f24"}}
        size = {"width": _WIDTH, "height": int(figure.figure.layout.height)}
        orders.append({"fig": drawn, "path": str(path), "opts": {"format": form, **size}})
        written.append(path)
    try:
        kaleido.write_fig_from_object_sync(orders)
    except Exception as error:  # kaleido and the browser behind it have no common base
        raise StudyError(
            f"Static images: the browser that draws them failed ({error}). They need Chrome or Chromium; its path can be "
            "given in the environment variable BROWSER_PATH."
        ) from error
    return written
