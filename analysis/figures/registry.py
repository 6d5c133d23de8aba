"""Every figure of a study: its name, title, place, drawing and caption, in the order of the report."""

from __future__ import annotations

import difflib
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import plotly.graph_objects as go

from analysis.figures.comparison_dots import comparison_dots, comparison_dots_caption
from analysis.figures.confusion import (
    confusion_counts,
    confusion_counts_caption,
    confusion_shares,
    confusion_shares_caption,
    recall_heatmap,
    recall_heatmap_caption,
)
from analysis.figures.domain_shift import domain_shift, domain_shift_caption
from analysis.figures.fraction_curve import fraction_curve, fraction_curve_caption
from analysis.figures.importance import importance, importance_caption
from analysis.figures.learning_curves import learning_curves, learning_curves_caption
from analysis.figures.paired_difference import paired_difference, paired_difference_caption
from analysis.figures.parallel_coordinates import parallel_coordinates, parallel_coordinates_caption
from analysis.figures.pretraining_curves import pretraining_curves, pretraining_curves_caption
from analysis.figures.reliability import reliability, reliability_caption
from analysis.figures.response import response, response_caption
from analysis.figures.rungs import rungs, rungs_caption
from analysis.figures.tuning_curves import tuning_curves, tuning_curves_caption
from analysis.figures.with_without_curves import with_without_curves, with_without_curves_caption
from analysis.figures.worker_timeline import worker_timeline, worker_timeline_caption
from analysis.records.errors import StudyError
from analysis.records.study import Study
from analysis.wording.sections import Entry, Level, Section


@dataclass(frozen=True)
class FigureEntry(Entry[go.Figure]):
    """One of the figures that a study has."""

    caption: Callable[[Study], str]
    """What to see, which runs, n, and what the figure is not."""


@dataclass(frozen=True)
class CaptionedFigure:
    """A figure of the report; ``name`` is also the id of its element."""

    name: str
    title: str
    caption: str
    figure: go.Figure
    section: Section
    level: Level


_LISTED = (
    FigureEntry(
        "fraction_curve",
        "Validation results against the amount of labelled data",
        Section.RESULTS,
        Level.RESULTS,
        fraction_curve,
        fraction_curve_caption,
    ),
    FigureEntry(
        "paired_difference",
        "Difference to no pretraining, seed by seed",
        Section.RESULTS,
        Level.FRONT,
        paired_difference,
        paired_difference_caption,
    ),
    FigureEntry(
        "comparison_dots",
        "Runs without and with pretraining",
        Section.RESULTS,
        Level.RESULTS,
        comparison_dots,
        comparison_dots_caption,
    ),
    FigureEntry(
        "recall_heatmap",
        "Recall of each class",
        Section.CLASSES,
        Level.RESULTS,
        recall_heatmap,
        recall_heatmap_caption,
    ),
    FigureEntry(
        "confusion_shares",
        "Confusion matrices, percent",
        Section.CLASSES,
        Level.RESULTS,
        confusion_shares,
        confusion_shares_caption,
    ),
    FigureEntry(
        "confusion_counts",
        "Confusion matrices, images",
        Section.CLASSES,
        Level.APPENDIX,
        confusion_counts,
        confusion_counts_caption,
    ),
    FigureEntry(
        "reliability",
        "Confidence and right answers",
        Section.CLASSES,
        Level.RESULTS,
        reliability,
        reliability_caption,
    ),
    FigureEntry(
        "domain_shift",
        "On other data sets",
        Section.OUTSIDE,
        Level.RESULTS,
        domain_shift,
        domain_shift_caption,
    ),
    FigureEntry(
        "with_without_curves",
        "Training without and with pretraining",
        Section.TRAINING,
        Level.RESULTS,
        with_without_curves,
        with_without_curves_caption,
    ),
    FigureEntry(
        "learning_curves_accuracy",
        "Learning curves: accuracy",
        Section.TRAINING,
        Level.APPENDIX,
        partial(learning_curves, quantity="accuracy"),
        partial(learning_curves_caption, quantity="accuracy"),
    ),
    FigureEntry(
        "learning_curves_loss",
        "Learning curves: loss",
        Section.TRAINING,
        Level.APPENDIX,
        partial(learning_curves, quantity="loss"),
        partial(learning_curves_caption, quantity="loss"),
    ),
    FigureEntry(
        "response",
        "Response to learning rate and weight decay",
        Section.SEARCH,
        Level.APPENDIX,
        response,
        response_caption,
    ),
    FigureEntry(
        "parallel_coordinates",
        "All settings of all trials",
        Section.SEARCH,
        Level.APPENDIX,
        parallel_coordinates,
        parallel_coordinates_caption,
    ),
    FigureEntry(
        "importance",
        "Importance of the hyperparameters",
        Section.SEARCH,
        Level.APPENDIX,
        importance,
        importance_caption,
    ),
    FigureEntry(
        "tuning_curves",
        "Best of so many trials",
        Section.SEARCH,
        Level.APPENDIX,
        tuning_curves,
        tuning_curves_caption,
    ),
    FigureEntry(
        "rungs",
        "Early stopping and its cost",
        Section.SEARCH,
        Level.APPENDIX,
        rungs,
        rungs_caption,
    ),
    FigureEntry(
        "pretraining_curves",
        "Pretraining of the encoders",
        Section.PRETRAINING,
        Level.APPENDIX,
        pretraining_curves,
        pretraining_curves_caption,
    ),
    FigureEntry(
        "worker_timeline",
        "Trials on the workers",
        Section.COST,
        Level.APPENDIX,
        worker_timeline,
        worker_timeline_caption,
    ),
)

FIGURES = {entry.name: entry for entry in _LISTED}
"""Name -> figure, in the order of the report."""


def figures(study: Study) -> list[CaptionedFigure]:
    """All figures of a study; those without content yet say so, those of pretraining and other data sets are left out."""
    absent = set() if len(study.curves) else {"pretraining_curves"}
    absent |= set() if any(study.path.glob("evaluations/*/evaluation.json")) else {"domain_shift"}
    return [captioned(study, name) for name in FIGURES if name not in absent]


def captioned(study: Study, name: str) -> CaptionedFigure:
    """One figure with title and caption; see `draw_figure`."""
    figure = draw_figure(study, name)
    entry = FIGURES[name]
    return CaptionedFigure(name, entry.title, entry.caption(study), figure, entry.section, entry.level)


def draw_figure(study: Study, name: str) -> go.Figure:
    """Draw one figure by its name.

    Raises:
        StudyError: There is no such figure; the message names the nearest and all others.
    """
    if name not in FIGURES:
        near = difflib.get_close_matches(name, FIGURES, n=1)
        hint = f" Did you mean {near[0]!r}?" if near else ""
        raise StudyError(f"{name!r}: there is no such figure.{hint} There are: {', '.join(FIGURES)}.")
    return FIGURES[name].make(study)
