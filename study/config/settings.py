"""What all settings share: immutable models whose unknown keys are errors, types and marks that several of them use."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field

from data_utils.config import Continuation

Fraction = Annotated[float, Field(gt=0.0, le=1.0)]

SEARCHABLE: dict[str, Any] = {"searchable": True}
"""Marks the settings of a training that `search.also` may name: those that leave its number of gradient steps as it is."""


# What else than `FREE` and `MOVABLE` a change may mean for a study that is continued; `study.config.changes` has the rules.
COUNT = Continuation("a number of which a study may ask for more")
BUDGET = Continuation("trials of each arm, resolved: a study may ask for more, but a grid has the size that it has")
CHOICES = Continuation("a set, in any order, to which a study may add")
NETWORKS = Continuation("a set of names to which a study may add, each with the place of its weights, which may move")
CONTROLS = Continuation("control arms, however they are written, to which a study may add")
MASK_WEIGHT = Continuation("may be given when the first arms that learn from masks are added")


class Settings(BaseModel):
    """Base of all settings: immutable, every number finite, and an unknown key is an error."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


def named_once(names: object, what: str, value: str | None) -> object:
    """A list of names as a mapping to one value; anything else as it is.

    Raises:
        ValueError: a name is repeated.
    """
    if not isinstance(names, list | tuple):
        return names
    if len({str(name) for name in names}) != len(names):
        raise ValueError(f"found {list(names)}, expected each {what} once")
    return dict.fromkeys(names, value)
