"""The report of a study: one page, one script, the tables as files. Works offline and prints."""

from __future__ import annotations

import shutil
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any
from urllib.parse import quote

import plotly.io
import plotly.offline
from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from analysis.comparison import compared_settings, control_settings, majority_floor, setting_title
from analysis.controls import describe_controls
from analysis.errors import StudyError
from analysis.export import write_tables
from analysis.figures.gallery import CaptionedFigure, gallery
from analysis.figures.style import percent_name
from analysis.schema import PHASES
from analysis.study import Study
from analysis.tables import MISSING, Table, tables

_PLOT_CONFIG = {
    "responsive": True,
    "displaylogo": False,
    # The page works offline and sends nothing anywhere.
    "modeBarButtonsToRemove": ["sendChartToCloud", "select2d", "lasso2d"],
}


def write_report(study: Study, folder: str | Path | None = None) -> Path:
    """Write ``index.html``, ``plotly.min.js`` and ``tables/``; the same records give the same bytes.

    Args:
        study: Any study, also one that is still running.
        folder: Where to write; ``<study>/report`` when None. Made when it does not exist.

    Returns:
        Path of ``index.html``.

    Raises:
        StudyError: The folder cannot be written.
    """
    folder = study.path / "report" if folder is None else Path(folder)
    made = tables(study)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        write_tables(made, folder / "tables")
        (folder / "plotly.min.js").write_text(plotly.offline.get_plotlyjs(), encoding="utf-8", newline="\n")
        reconstructions = _copy_reconstructions(study, folder)
        page = render_page(study, made, gallery(study), reconstructions)
        target = folder / "index.html"
        target.write_text(page, encoding="utf-8", newline="\n")
    except OSError as error:
        raise StudyError(f"{folder}: the report cannot be written there ({error}). Choose another folder.") from error
    return target


def render_page(
    study: Study, made: list[Table], figures: list[CaptionedFigure], reconstructions: Mapping[str, str]
) -> str:
    """HTML of the report.

    Args:
        study: The study.
        made: Its tables.
        figures: Its figures.
        reconstructions: Encoder -> address of its image, relative to the page.
    """
    environment = Environment(
        loader=PackageLoader("analysis", "templates"), autoescape=True, undefined=StrictUndefined, trim_blocks=True
    )
    return environment.get_template("report.html.j2").render(
        name=study.name,
        summary=summary(study),
        state=state(study),
        arms=_arm_rows(study),
        images=_image_rows(study),
        classes=study.classes,
        tables=[(table, table.display()) for table in made],
        figures=[(figure, _figure_html(figure)) for figure in figures],
        reconstructions=reconstructions,
        provenance=list(_flatten(study.manifest)),
        settings=list(_flatten(study.config)),
    )


def state(study: Study) -> str:
    """One sentence on how far the study is, from its records alone."""
    trials = study.trials
    counts = trials["status"].value_counts()
    confirmed = len(study.confirmed)
    parts = [f"{len(trials):,} trials so far"] if counts.get("running", 0) else [f"{len(trials):,} trials"]
    parts += [f"{counts[status]:,} {status}" for status in counts.index.sort_values()]
    sentence = ", ".join(parts) + f"; {confirmed:,} confirmed runs"
    phases = study.manifest.get("phases")
    if isinstance(phases, Mapping):
        states = {name: phases[name] for name in PHASES if name in phases}
        words = [
            f"{name} {value.get('state', MISSING) if isinstance(value, Mapping) else value}"
            for name, value in states.items()
        ]
        if words:
            sentence += f". Phases: {', '.join(words)}"
    return sentence + "."


def summary(study: Study) -> list[str]:
    """The study in words, one paragraph each: question, data, arms, budget, what is shown and what is not."""
    trials, images = study.trials, study.images
    data = study.config.get("data")
    source = str(data.get("wbc_source") or data.get("source", "")) if isinstance(data, Mapping) else ""
    told = {"synthetic": " The images are generated: results on them say that the program works, nothing about cells."}
    paragraphs = [
        "Question: how much do features pretrained on histology (PRCC, CAM16) help to classify white blood cells, at "
        "each amount of labelled data?"
    ]
    if len(images):
        counts = images["split"].value_counts()
        splits = [f"{counts[split]:,} {split}" for split in ("train", "val", "test") if split in counts]
        floor = majority_floor(study)
        words = f"Data: {len(images):,} images ({', '.join(splits)}) of {len(study.classes)} classes"
        words += f", source {source!r}." if source else "."
        if floor:
            words += f" The most frequent validation class is {floor['class']}: always answering it is the floor."
        paragraphs.append(words + told.get(source, ""))
    settings = [
        setting_title(setting).replace("without", "without pretraining").replace("with (", "with pretraining (")
        for setting in compared_settings(study)
    ]
    controls = control_settings(study)
    words = f"Arms: {trials.loc[trials['control'] == '', 'arm'].nunique()}"
    if settings:
        words += f", namely {' and '.join(settings)} at {trials['fraction'].nunique()} fractions of the labelled images"
    words += f"; controls: {', '.join(controls)}." if controls else "; no control arms."
    if controls:
        words += f" What they control for: {describe_controls(trials.loc[trials['control'] != '', 'control'])}"
    paragraphs.append(words)
    paragraphs.append(
        f"Budget: {len(trials):,} trials, {int(trials['epochs'].sum()):,} epochs, "
        f"{int(trials['gradient_steps'].sum()):,} gradient steps, {trials['seconds'].sum() / 3600:,.2f} hours of "
        "training and validation summed over trials."
    )
    shown = (
        "Shown: validation and test results"
        if study.confirmed["test_accuracy"].notna().any()
        else ("Shown: validation results only, which are optimistic")
    )
    paragraphs.append(
        f"{shown}, with their spread over seeds. This report passes no verdict: a difference of means is no evidence "
        "of a gain until an interval and the controls say so."
    )
    return paragraphs


def _arm_rows(study: Study) -> list[tuple[str, ...]]:
    arms = study.trials.drop_duplicates("arm").sort_values(["control", "fraction", "fusion", "arm"], kind="stable")
    names = ("fusion", "encoders", "control")
    return [
        (str(row["arm"]), percent_name(row["fraction"]), *(str(row[name]) or MISSING for name in names))
        for row in arms.to_dict("records")
    ]


def _image_rows(study: Study) -> list[tuple[str, list[str]]]:
    images = study.images
    counts = images.groupby(["split", "label"])["image"].count()
    return [
        (split, [f"{counts.get((split, label), 0):,}" for label in range(len(study.classes))])
        for split in ("train", "val", "test")
        if (images["split"] == split).any()
    ]


def _figure_html(figure: CaptionedFigure) -> Markup:
    """A figure's element and script; Plotly writes < and > in its data as escapes."""
    html = plotly.io.to_html(
        figure.figure,
        full_html=False,
        include_plotlyjs=False,
        div_id=figure.name.replace("_", "-"),
        config=_PLOT_CONFIG,
    )
    return Markup(html)  # made by Plotly; texts in it went through style.safe


def _copy_reconstructions(study: Study, folder: Path) -> dict[str, str]:
    copied = {}
    for path in sorted(study.path.glob("pretrain/*/reconstructions.png")):
        name = f"reconstructions-{path.parent.name}.png"
        shutil.copyfile(path, folder / name)
        copied[path.parent.name] = quote(name)
    return copied


def _flatten(value: Any, prefix: str = "") -> Iterator[tuple[str, str]]:
    """Nested mappings as rows (dotted name, value)."""
    if isinstance(value, Mapping) and value:
        for key in value:
            yield from _flatten(value[key], f"{prefix}.{key}" if prefix else str(key))
    elif isinstance(value, list):
        yield prefix, ", ".join(map(str, value)) or MISSING
    elif prefix:
        yield prefix, MISSING if value in (None, "", {}) else str(value)
