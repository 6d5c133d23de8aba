"""Every table of a study: its name, title, place and function, in the order of the report."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

from analysis.records.schema import Phase
from analysis.tables.evaluation import evaluation_tables
from analysis.tables.evidence import (
    accuracy_verdicts_table,
    claims_table,
    detectable_table,
    intervals_table,
    mean_differences_table,
    seed_recalls_table,
    seed_tests_table,
    verdicts_table,
)
from analysis.tables.results import (
    calibration_table,
    class_recall_table,
    comparison_table,
    controls_table,
    held_out_table,
)
from analysis.tables.search import (
    budget_table,
    edges_table,
    failures_table,
    pretraining_table,
    tuning_curves_table,
    winners_table,
)
from analysis.tables.table import Content, Table
from analysis.wording.sections import Entry, Level, Section

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from analysis.records.study import Study

TableEntry = Entry[Content | None]
"""One of the tables that a study may have; its function gives None where the study has nothing to fill it with."""

RESULT_TABLES: tuple[TableEntry, ...] = (
    Entry("verdicts", "Verdicts: accuracy", Section.RESULTS, Level.FRONT, accuracy_verdicts_table),
    Entry(
        "verdicts_macro_f1",
        "Verdicts: macro F1",
        Section.RESULTS,
        Level.APPENDIX,
        partial(verdicts_table, metric="macro_f1"),
    ),
    Entry(
        "verdicts_weighted_f1",
        "Verdicts: weighted F1",
        Section.RESULTS,
        Level.APPENDIX,
        partial(verdicts_table, metric="weighted_f1"),
    ),
    Entry(
        "mean_differences",
        "Mean differences over fractions",
        Section.RESULTS,
        Level.APPENDIX,
        mean_differences_table,
    ),
    Entry("claims", "Claims of the published report, checked", Section.RESULTS, Level.RESULTS, claims_table),
    Entry(
        "intervals_accuracy",
        "Accuracy with intervals",
        Section.RESULTS,
        Level.RESULTS,
        partial(intervals_table, metric="accuracy"),
    ),
    Entry(
        "intervals_macro_f1",
        "Macro F1 with intervals",
        Section.RESULTS,
        Level.APPENDIX,
        partial(intervals_table, metric="macro_f1"),
    ),
    Entry(
        "intervals_weighted_f1",
        "Weighted F1 with intervals",
        Section.RESULTS,
        Level.APPENDIX,
        partial(intervals_table, metric="weighted_f1"),
    ),
    Entry("detectable", "What the study could have detected", Section.RESULTS, Level.RESULTS, detectable_table),
    Entry("seed_recalls", "Recall of each class in each run", Section.CLASSES, Level.APPENDIX, seed_recalls_table),
    Entry("seed_tests", "Runs of one seed, image by image", Section.RESULTS, Level.APPENDIX, seed_tests_table),
    Entry(
        "validation_accuracy",
        "Validation accuracy",
        Section.RESULTS,
        Level.RESULTS,
        partial(comparison_table, metric="val_accuracy"),
    ),
    Entry(
        "validation_weighted_f1",
        "Validation weighted F1",
        Section.RESULTS,
        Level.RESULTS,
        partial(comparison_table, metric="val_weighted_f1"),
    ),
    Entry(
        "validation_macro_f1",
        "Validation macro F1",
        Section.RESULTS,
        Level.RESULTS,
        partial(comparison_table, metric="val_macro_f1"),
    ),
    Entry(
        "validation_recall",
        "Validation recall by class",
        Section.CLASSES,
        Level.RESULTS,
        partial(class_recall_table, split="val"),
    ),
    Entry("test_metrics", "Test metrics", Section.RESULTS, Level.RESULTS, held_out_table),
    Entry(
        "test_recall",
        "Test recall by class",
        Section.CLASSES,
        Level.RESULTS,
        partial(class_recall_table, split="test"),
    ),
    Entry("calibration", "Calibration of the probabilities", Section.CLASSES, Level.APPENDIX, calibration_table),
    Entry("controls", "Controls", Section.RESULTS, Level.RESULTS, controls_table),
)
"""What the study's own images say. The tables of other data sets, as many as the study has, come after them."""

SEARCH_TABLES: tuple[TableEntry, ...] = (
    Entry("winners", "Winning hyperparameters", Section.SEARCH, Level.RESULTS, winners_table),
    Entry("edges", "Winners at the edge of their range", Section.SEARCH, Level.RESULTS, edges_table),
    Entry("tuning_curves", "Tuning curves", Section.SEARCH, Level.APPENDIX, tuning_curves_table),
    Entry(
        "budget_search",
        "Budget spent in the search",
        Section.COST,
        Level.RESULTS,
        partial(budget_table, phase=Phase.SEARCH),
    ),
    Entry(
        "budget_confirm",
        "Budget spent in the confirmation",
        Section.COST,
        Level.RESULTS,
        partial(budget_table, phase=Phase.CONFIRM),
    ),
    Entry("pretraining", "Pretraining", Section.PRETRAINING, Level.RESULTS, pretraining_table),
    Entry("failures", "Failed trials", Section.COST, Level.RESULTS, failures_table),
)
"""How the results came about and what they cost."""


def tables(study: Study) -> list[Table]:
    """All tables of a study, in the order of the report; those without any content are left out.

    Args:
        study: Any study, also one that has only begun.
    """
    return [*_filled(study, RESULT_TABLES), *evaluation_tables(study), *_filled(study, SEARCH_TABLES)]


def _filled(study: Study, entries: Iterable[TableEntry]) -> Iterator[Table]:
    for entry in entries:
        content = entry.make(study)
        if content is not None:
            yield content.as_table(entry.name, entry.title, entry.section, entry.level)
