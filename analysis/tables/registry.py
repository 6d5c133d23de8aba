"""Every table of a study, in the order of the report."""

from __future__ import annotations

from typing import TYPE_CHECKING

from analysis.records.schema import Phase
from analysis.tables.results import (
    calibration_table,
    class_recall_table,
    comparison_table,
    controls_table,
    held_out_table,
)
from analysis.tables.search import budget_table, failures_table, pretraining_table, winners_table
from analysis.tables.table import Table

if TYPE_CHECKING:
    from analysis.records.study import Study


def tables(study: Study) -> list[Table]:
    """All tables of a study, in the order of the report; those without any content are left out.

    Args:
        study: Any study, also one that has only begun.
    """
    # The statistics are imported when they are asked for: they need this module's Table.
    from analysis.tables.evaluation import evaluation_tables
    from analysis.tables.evidence import evidence_tables
    from analysis.tables.search import tuning_tables

    made = [
        *evidence_tables(study),
        comparison_table(study, "validation_accuracy", "Validation accuracy", "val_accuracy", "percent"),
        comparison_table(study, "validation_weighted_f1", "Validation weighted F1", "val_weighted_f1", "score"),
        comparison_table(study, "validation_macro_f1", "Validation macro F1", "val_macro_f1", "score"),
        class_recall_table(study, "val"),
        held_out_table(study),
        class_recall_table(study, "test"),
        calibration_table(study),
        controls_table(study),
        *evaluation_tables(study),
        winners_table(study),
        *tuning_tables(study),
        budget_table(study, Phase.SEARCH),
        budget_table(study, Phase.CONFIRM),
        pretraining_table(study),
        failures_table(study),
    ]
    return [table for table in made if table is not None]
