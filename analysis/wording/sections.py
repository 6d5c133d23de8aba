"""The contents of a report: its sections, how near to the front something stands, and the shape of an entry of a registry."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, Generic, TypeVar

if TYPE_CHECKING:
    from analysis.records.study import Study

_Made = TypeVar("_Made")


class Section(StrEnum):
    """Parts of the report that hold figures and tables, in their order."""

    RESULTS = "results"
    CLASSES = "classes"
    OUTSIDE = "outside"
    TRAINING = "training"
    SEARCH = "search"
    PRETRAINING = "pretraining"
    COST = "cost"

    @property
    def heading(self) -> str:
        """Heading of the section."""
        return "Out of domain" if self is Section.OUTSIDE else self.value.capitalize()


class Level(StrEnum):
    """How near to the front a figure or a table stands."""

    FRONT = "front"
    """The one figure and the one table that answer the study's question. The terminal ends with this table."""
    RESULTS = "results"
    """What a reader of the results wants to see."""
    APPENDIX = "appendix"
    """Too long or too particular for the results: the report folds up such a table, the terminal leaves it out."""


@dataclass(frozen=True)
class Entry(Generic[_Made]):
    """A line of the registry of tables, or of that of figures."""

    name: str
    """Name of its files and of its element on the page, e.g. ``validation_accuracy``."""
    title: str
    """Short heading."""
    section: Section
    level: Level
    make: Callable[[Study], _Made]
    """What it shows of a study, also of one that has only begun."""
