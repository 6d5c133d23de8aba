"""The report of a study: one folder that opens offline by double click, prints, and can be mailed as a zip."""

from __future__ import annotations

import re
import shlex
import shutil
import zipfile
from collections.abc import Iterator, Mapping
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from urllib.parse import quote

import plotly.io
import plotly.offline
from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from analysis.figures.registry import CaptionedFigure, figures
from analysis.figures.style import percent_name
from analysis.records.errors import StudyError
from analysis.records.study import Study
from analysis.report.files import write_tables
from analysis.report.methods import methods
from analysis.report.prose import control_notes, count_images, study_state, summary, verdict_sentences
from analysis.report.static_images import write_static_images
from analysis.tables.registry import tables
from analysis.tables.table import Table
from analysis.wording.formats import MISSING
from analysis.wording.sections import Section

_RELATED = (
    ("validation_accuracy", "fraction_curve"),
    ("validation_macro_f1", "fraction_curve"),
    ("test_metrics", "comparison_dots"),
    ("test_metrics", "paired_difference"),
    ("controls", "paired_difference"),
    ("validation_recall", "recall_heatmap"),
    ("test_recall", "recall_heatmap"),
    ("test_recall", "confusion_shares"),
    ("calibration", "reliability"),
    ("verdicts", "paired_difference"),
    ("verdicts_macro_f1", "paired_difference"),
    ("mean_differences", "paired_difference"),
    ("tuning_curves", "tuning_curves"),
    ("winners", "response"),
    ("winners", "learning_curves_accuracy"),
    ("budget_search", "rungs"),
    ("budget_search", "worker_timeline"),
    ("pretraining", "pretraining_curves"),
)
"""Tables and figures that show the same from two sides; each links to the other."""


def write_report(
    study: Study, folder: str | Path | None = None, *, images: bool = True, static: str | None = None
) -> Path:
    """Write ``index.html``, ``plotly.min.js`` and ``tables/``; the same records give the same bytes.

    Args:
        study: Any study, also one that is still running.
        folder: Where to write; ``<study>/report`` when None. Made when it does not exist. What an earlier report left
            there and this one does not have is removed, and so is its archive (see `zip_report`).
        images: Whether to include what shows or names pictures of the data: the encoders' reconstructions, and the
            messages of failed trials, which can name files (file names can carry patients' names).
        static: Also write every figure as a file of this format, "svg", "png" or "pdf", into ``figures/``; needs the
            extra ``static`` and a Chrome or Chromium.

    Returns:
        Path of ``index.html``.

    Raises:
        StudyError: The folder cannot be written, or static images cannot be made.

    Example:
        >>> write_report(study, tmp / "report").name
        'index.html'
    """
    folder = study.path / "report" if folder is None else Path(folder)
    made = [table if images else _without_file_names(table) for table in tables(study)]
    drawn = figures(study)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        _sweep(folder)
        write_tables(made, folder / "tables")
        (folder / "plotly.min.js").write_text(plotly.offline.get_plotlyjs(), encoding="utf-8", newline="\n")
        reconstructions = _copy_reconstructions(study, folder) if images else {}
        page = render_page(study, made, drawn, reconstructions, images=images)
        target = folder / "index.html"
        target.write_text(page, encoding="utf-8", newline="\n")
        if static is not None:
            write_static_images(drawn, folder / "figures", static)
    except OSError as error:
        raise StudyError(f"{folder}: the report cannot be written there ({error}). Choose another folder.") from error
    return target


def zip_report(folder: str | Path) -> Path:
    """Pack a report into ``<folder>.zip`` beside it; the same report gives the same bytes.

    Args:
        folder: A folder that `write_report` wrote.

    Returns:
        Path of the archive; its only top-level entry is the folder's name.

    Raises:
        StudyError: The archive cannot be written.

    Example:
        >>> zip_report(write_report(study, tmp / "to mail").parent).name
        'to mail.zip'
    """
    folder = Path(folder)
    target = folder.with_name(f"{folder.name}.zip")
    try:
        with zipfile.ZipFile(target, "w", zipfile.ZIP_DEFLATED, compresslevel=6) as archive:
            for path in sorted(path for path in folder.rglob("*") if path.is_file()):
                # A fixed time: the archive depends on what the report says, not on when it was written.
                entry = zipfile.ZipInfo(f"{folder.name}/{path.relative_to(folder).as_posix()}", (1980, 1, 1, 0, 0, 0))
                entry.compress_type, entry.external_attr = zipfile.ZIP_DEFLATED, 0o644 << 16
                archive.writestr(entry, path.read_bytes(), compresslevel=6)
    except OSError as error:
        raise StudyError(f"{target}: the archive cannot be written there ({error}).") from error
    return target


def render_page(
    study: Study,
    made: list[Table],
    figures: list[CaptionedFigure],
    reconstructions: Mapping[str, str],
    *,
    images: bool = True,
) -> str:
    """HTML of the report.

    Args:
        study: The study.
        made: Its tables.
        figures: Its figures.
        reconstructions: Encoder -> address of its image, relative to the page.
        images: False: say that pictures were left out.
    """
    environment = Environment(
        loader=PackageLoader("analysis.report", "templates"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
    )
    sections = []
    for section in Section:
        shown = [figure for figure in figures if figure.section == section]
        listed = [table for table in made if table.section == section]
        listed.sort(key=lambda table: table.appendix)  # folded tables come last
        if shown or listed:
            sections.append(
                (
                    section,
                    section.heading,
                    [(table, table.display()) for table in listed],
                    [(f, _figure_json(f)) for f in shown],
                )
            )
    titles = {f"table-{table.name}": table.title for table in made} | {f"section-{f.name}": f.title for f in figures}
    return environment.get_template("report.html.j2").render(
        name=study.name,
        summary=summary(study),
        verdicts=verdict_sentences(study),
        methods=methods(study),
        state=study_state(study),
        arms=_arm_rows(study),
        controls=control_notes(study),
        image_counts=[(split, [f"{count:,}" for count in counts]) for split, counts in count_images(study).items()],
        classes=study.classes,
        sections=sections,
        related=_related(titles),
        reconstructions=reconstructions,
        images=images,
        provenance=list(_provenance(study.manifest)),
        settings=list(_flatten(study.config)),
    )


def _related(titles: Mapping[str, str]) -> dict[str, list[tuple[str, str]]]:
    """Id of a table or figure -> (id, title) of what shows the same from another side."""
    links: dict[str, list[tuple[str, str]]] = {name: [] for name in titles}
    for table, figure in _RELATED:
        one, other = f"table-{table}", f"section-{figure}"
        if one in titles and other in titles:
            links[one].append((other, titles[other]))
            links[other].append((one, titles[one]))
    return links


def _arm_rows(study: Study) -> list[tuple[str, ...]]:
    arms = study.trials.drop_duplicates("arm").sort_values(["control", "fraction", "fusion", "arm"], kind="stable")
    names = ("fusion", "encoders", "control", "network")
    return [
        (str(row["arm"]), percent_name(row["fraction"]), *(str(row[name]) or MISSING for name in names))
        for row in arms.to_dict("records")
    ]


def _figure_json(figure: CaptionedFigure) -> Markup:
    """A figure as JSON that can stand in a script element: no tag can begin in it."""
    text = plotly.io.to_json(figure.figure, validate=False)
    for character, escape in (("<", "\\u003c"), (">", "\\u003e"), ("&", "\\u0026")):
        text = text.replace(character, escape)
    return Markup(text)  # what could end the element was escaped on the line above


def _without_file_names(table: Table) -> Table:
    """A table without the texts that can name files: of an exception only its type is left."""
    if table.name != "failures":
        return table
    frame = table.frame.drop(columns="error")
    kinds = [re.match(r"[\w.]*", reason) for reason in frame["reason"]]
    frame["reason"] = [kind[0] if kind else "" for kind in kinds]
    caption = "Trials that ended with an exception after all retries; messages are left out, since they can name files."
    return replace(table, frame=frame, caption=caption)


def _sweep(folder: Path) -> None:
    """Remove what an earlier report wrote: what this one leaves out must not stay behind, nor be mailed by mistake."""
    folder.with_name(f"{folder.name}.zip").unlink(missing_ok=True)
    patterns = ("tables/*.csv", "tables/*.md", "tables/*.tex", "reconstructions-*.png")
    for pattern in (*patterns, "figures/*.svg", "figures/*.png", "figures/*.pdf"):
        for path in folder.glob(pattern):
            path.unlink()


def _copy_reconstructions(study: Study, folder: Path) -> dict[str, str]:
    copied = {}
    for path in sorted(study.path.glob("pretrain/*/reconstructions.png")):
        name = f"reconstructions-{path.parent.name}.png"
        shutil.copyfile(path, folder / name)
        copied[path.parent.name] = quote(name)
    return copied


def _provenance(manifest: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """The manifest as rows, its times to be read and its command to be typed again."""
    for name, value in _flatten(manifest):
        if name == "command" and isinstance(manifest["command"], list):
            # The first word is the file that Python ran: the same command has several.
            yield name, shlex.join(["wbc-study", *map(str, manifest["command"][1:])])
        else:
            yield name, _readable_time(name, value)


def _readable_time(name: str, value: str) -> str:
    """Seconds since 1970, under a name that ends in ``_at``, as a date and time of day in UTC; anything else as it is."""
    if not name.endswith("_at"):
        return value
    try:
        return datetime.fromtimestamp(float(value), UTC).strftime("%Y-%m-%d %H:%M:%S UTC")
    except (ValueError, OverflowError, OSError):
        return value


def _flatten(value: Any, prefix: str = "") -> Iterator[tuple[str, str]]:
    """Nested mappings as rows (dotted name, value)."""
    if isinstance(value, Mapping) and value:
        for key in value:
            yield from _flatten(value[key], f"{prefix}.{key}" if prefix else str(key))
    elif isinstance(value, list):
        yield prefix, ", ".join(map(str, value)) or MISSING
    elif prefix:
        yield prefix, MISSING if value in (None, "", {}) else str(value)
