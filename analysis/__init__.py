"""Records of a study -> tables, figures and a report. Imports neither torch nor Ray.

``from analysis import load_study`` is the public door. The names are imported when they are first used, so that
``import analysis`` stays cheap.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from analysis.records.errors import StudyError
    from analysis.records.study import Study, load_study
    from analysis.report.page import write_report
    from analysis.tables.table import Table

__all__ = ["Study", "StudyError", "Table", "load_study", "write_report"]

_HOMES = {
    "Study": "analysis.records.study",
    "StudyError": "analysis.records.errors",
    "Table": "analysis.tables.results",
    "load_study": "analysis.records.study",
    "write_report": "analysis.report.page",
}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib import import_module

    return getattr(import_module(_HOMES[name]), name)
