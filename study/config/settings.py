"""What all settings share: immutable models whose unknown keys are errors, and types that several of them use."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field

Fraction = Annotated[float, Field(gt=0.0, le=1.0)]

SEARCHABLE: dict[str, Any] = {"searchable": True}
"""Marks the settings of a training that `search.also` may name: those that leave its number of gradient steps as it is."""


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
