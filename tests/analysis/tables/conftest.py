"""Tables by their names."""

from __future__ import annotations

from analysis import Study
from analysis.tables.registry import tables
from analysis.tables.table import Table


def named(study: Study) -> dict[str, Table]:
    """Name -> table, in the order of the report."""
    return {table.name: table for table in tables(study)}
