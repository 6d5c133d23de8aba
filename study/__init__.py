"""One study: configuration, arms, search, confirmation, run directory and command line.

>>> from study import StudyConfig, run_study
>>> run_study(StudyConfig(name="pilot"))  # doctest: +SKIP
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from study.config.files import load_config
    from study.config.study import StudyConfig
    from study.pipeline.run import run_study

__all__ = ["StudyConfig", "load_config", "run_study"]

_HOMES = {"StudyConfig": "study.config.study", "load_config": "study.config.files", "run_study": "study.pipeline.run"}


def __getattr__(name: str) -> Any:
    """Import a public name when it is first used: the command line must answer at once."""
    if name in _HOMES:
        from importlib import import_module

        return getattr(import_module(_HOMES[name]), name)
    raise AttributeError(f"module 'study' has no attribute {name!r}")
