"""Records of a study -> tables, figures and a report. Imports neither torch nor Ray.

``from analysis import load_study`` is the public door. The names are imported when they are first used, so that
``import analysis`` stays cheap.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from analysis.api import Study, load_study
    from analysis.records.errors import StudyError
    from analysis.report.page import write_report
    from analysis.tables.table import Table

__all__ = ["Study", "StudyError", "Table", "load_study", "write_report"]

_HOMES = {
    "Study": "analysis.api",
    "StudyError": "analysis.records.errors",
    "Table": "analysis.tables.table",
    "load_study": "analysis.api",
    "write_report": "analysis.report.page",
}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib import import_module

    return getattr(import_module(_HOMES[name]), name)
