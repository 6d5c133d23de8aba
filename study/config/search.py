"""Settings of the search: which trials each arm gets and which of them end early."""

from __future__ import annotations

import math
import re
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import Field, ValidationError, field_serializer, field_validator, model_validator

from data_utils.config import FREE, MOVABLE
from study.config.secrets import mask_password
from study.config.settings import BUDGET, SEARCHABLE, Settings
from study.config.training import TrainingConfig


class SettingRange(Settings):
    """A range that a further setting is searched in."""

    low: float = Field(description="Lowest value.")
    high: float = Field(description="Highest value.")
    log: bool = Field(default=False, description="Whether on a logarithmic scale.")

    @model_validator(mode="after")
    def _ordered(self) -> Self:
        if self.low > self.high or (self.log and self.low <= 0):
            raise ValueError(
                f"found low {self.low} and high {self.high}, expected the lower first"
                + (", above 0 on a logarithmic scale" if self.log else "")
            )
        return self


Axis = tuple[bool | int | float | str, ...] | SettingRange
"""Choices of a further setting, or its range."""

_SEARCHABLE = {
    f"training.{name}": field
    for name, field in TrainingConfig.model_fields.items()
    if field.json_schema_extra == SEARCHABLE
}


class SearchConfig(Settings):
    """Which trials each arm gets and which of them end early."""

    mode: Literal["grid", "random", "qmc", "tpe"] = Field(
        default="tpe",
        description="`grid`: every point of the grid once. `random`, `qmc`: points that follow from the seed and the"
        " index alone, the same in every arm. `tpe`: Optuna's sampler, one study per arm, the first points as in `qmc`;"
        " of more than 200 trials of an arm it looks at the newest 150 to 200 and the best 25 before them.",
    )
    trials_per_arm: Annotated[int | None, BUDGET] = Field(
        default=None, ge=1, description="Trials of each arm. Empty: the grid's size in grid mode, else 8."
    )
    learning_rate: tuple[float, float] = Field(
        default=(1e-4, 1e-2), description="Range, searched on a logarithmic scale."
    )
    weight_decay: tuple[float, float] = Field(
        default=(1e-6, 1e-2), description="Range, searched on a logarithmic scale."
    )
    grid_learning_rate: tuple[float, ...] = Field(
        default=(3e-4, 1e-3, 3e-3), min_length=1, description="Points of the grid."
    )
    grid_weight_decay: tuple[float, ...] = Field(
        default=(1e-5, 1e-4, 1e-3), min_length=1, description="Points of the grid."
    )
    also: dict[str, Axis] = Field(
        default={},
        description="Further settings to search, each with choices (`training.sampling: [natural, balanced]`) or a range"
        " (`training.effective_beta: {low: 0.9, high: 0.9999}`, with `log: true` on a logarithmic scale). A grid has every"
        f" combination of the choices. Known: {', '.join(_SEARCHABLE)}.",
    )
    tpe_startup: int = Field(default=4, ge=1, description="Trials of an arm before the TPE model suggests points.")
    warm_start: Annotated[Path | None, MOVABLE] = Field(
        default=None,
        description="Run directory of an earlier study. The first trial of each arm takes the point of that study's"
        " winner of the same arm, moved into the space searched here; it counts in the budget. Not in grid mode. Kept in the"
        " manifest when the study begins: what becomes of the earlier one does not matter then.",
    )
    scheduler: Literal["asha", "none"] = Field(
        default="asha",
        description="`asha` stops a trial at a rung when it is worse than the upper 1/reduction_factor of its arm.",
    )
    metric: Literal["val_accuracy", "val_macro_f1"] = Field(
        default="val_accuracy", description="What rungs compare and winners and epochs are chosen by."
    )
    grace_epochs: int = Field(default=1, ge=1, description="No trial is stopped before this epoch.")
    grace_steps: int = Field(
        default=0,
        ge=0,
        description="Nor before this many gradient steps, so that arms with little data are past answering the majority class.",
    )
    reduction_factor: float = Field(
        default=2.0, gt=1, description="ASHA keeps about one in this many trials at each rung."
    )
    max_failures: int = Field(
        default=2,
        ge=0,
        description="How often in a row, without an epoch between, a trial that raised or lost its process is taken up again.",
    )

    storage: Annotated[str, FREE] = Field(
        default="journal",
        repr=False,
        description="Where Optuna's dashboard finds the search, one Optuna study `<study>/<arm>` for each arm: `journal` is the"
        " file optuna.journal in the run directory, `memory` nowhere, a URL a database such as postgresql://user@host:5432/database."
        " Passwords are neither written nor printed; WBC_STUDY_STORAGE in the environment replaces the URL.",
    )

    @field_validator("storage")
    @classmethod
    def _known_storage(cls, storage: str) -> str:
        if storage not in ("journal", "memory") and not re.match(r"(postgresql|sqlite|mysql)(\+\w+)?://", storage):
            raise ValueError(
                f"found {mask_password(storage)!r}, expected `journal`, `memory` or a URL such as"
                " postgresql://user@host:5432/database"
            )
        return storage

    @field_serializer("storage")
    def _without_password(self, storage: str) -> str:
        return mask_password(storage)

    @field_validator("also", mode="before")
    @classmethod
    def _dotted(cls, also: object) -> object:
        # `--set search.also.training.sampling=[...]` nests what a file writes with a dot.
        if not isinstance(also, dict) or not isinstance(also.get("training"), dict):
            return also
        nested = {f"training.{name}": axis for name, axis in also["training"].items()}
        return {name: axis for name, axis in also.items() if name != "training"} | nested

    @field_validator("also")
    @classmethod
    def _known_settings(cls, also: dict[str, Axis]) -> dict[str, Axis]:
        for name in also:
            if name not in _SEARCHABLE:
                raise ValueError(f"found {name}, expected one of {', '.join(_SEARCHABLE)}")
        return {name: _checked_axis(name, axis) for name, axis in also.items()}

    @property
    def grid_lengths(self) -> tuple[int, ...]:
        """Number of values on each axis of the grid: learning rates, weight decays, choices of each further setting."""
        axes = [self.grid_learning_rate, self.grid_weight_decay, *self.also.values()]
        return tuple(len(axis) for axis in axes if isinstance(axis, tuple))

    @property
    def grid_size(self) -> int:
        """Number of points of the grid."""
        return math.prod(self.grid_lengths)

    @property
    def budget(self) -> int:
        """Trials of each arm, resolved."""
        return self.trials_per_arm or (self.grid_size if self.mode == "grid" else 8)

    @field_validator("learning_rate", "weight_decay")
    @classmethod
    def _ordered(cls, bounds: tuple[float, float]) -> tuple[float, float]:
        if not 0 < bounds[0] <= bounds[1]:
            raise ValueError(f"found {list(bounds)}, expected two positive numbers, the lower first")
        return bounds

    @field_validator("grid_learning_rate", "grid_weight_decay")
    @classmethod
    def _grid_values(cls, values: tuple[float, ...]) -> tuple[float, ...]:
        if len(set(values)) != len(values) or min(values) < 0:
            raise ValueError(f"found {list(values)}, expected distinct values of at least 0")
        return values

    @model_validator(mode="after")
    def _grid_begins_nowhere(self) -> Self:
        if self.mode == "grid" and self.warm_start is not None:
            raise ValueError(
                f"search.warm_start is {self.warm_start}, but a grid visits its own points only. Leave search.warm_start out"
                " (null), or set search.mode to tpe, random or qmc"
            )
        return self

    @model_validator(mode="after")
    def _grid_has_choices(self) -> Self:
        ranges = [name for name, axis in self.also.items() if isinstance(axis, SettingRange)]
        if self.mode == "grid" and ranges:
            raise ValueError(
                f"search.also: {', '.join(ranges)} has a range, but a grid visits listed values. List some, such as"
                f" {ranges[0]}: [0.1, 1.0], or set search.mode to tpe, random or qmc"
            )
        return self

    @model_validator(mode="after")
    def _grid_is_complete(self) -> Self:
        if self.mode == "grid" and self.trials_per_arm not in (None, self.grid_size):
            raise ValueError(
                f"search.trials_per_arm is {self.trials_per_arm}, but the grid has"
                f" {' x '.join(map(str, self.grid_lengths))} = {self.grid_size} points."
                f" Set search.trials_per_arm to {self.grid_size} or leave it out (null), or change search.grid_learning_rate,"
                " search.grid_weight_decay and search.also"
            )
        return self


def _checked_axis(name: str, axis: Axis) -> Axis:
    """An axis whose every value the setting itself would accept, in the setting's own type."""
    field = _SEARCHABLE[name]
    if isinstance(axis, SettingRange):
        if field.annotation is not float:
            raise ValueError(f"{name}: found a range, expected choices such as {name}: [...]; it is no number")
        values: tuple[Any, ...] = (axis.low, axis.high)
    else:
        values = axis
    key = name.removeprefix("training.")
    try:
        checked = tuple(getattr(TrainingConfig.model_validate({key: value}), key) for value in values)
    except ValidationError as error:
        problem = error.errors()[0]
        raise ValueError(f"{name}: found {problem['input']!r}: {problem['msg']}") from None
    if isinstance(axis, SettingRange):
        return axis
    if not checked or len(set(checked)) != len(checked):
        raise ValueError(f"{name}: found {list(values)}, expected at least one choice and each once")
    return checked
