"""A point of the search space: learning rate, weight decay and whatever else is searched."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, NamedTuple

from analysis.records.schema import NO_SETTINGS

if TYPE_CHECKING:
    from collections.abc import Mapping


class Point(NamedTuple):
    """What the search chooses for a trial."""

    learning_rate: float
    weight_decay: float
    settings: str = NO_SETTINGS
    """Values of the settings in `search.also` by their names, as `write_settings` writes them: in the records as it is."""


def write_settings(values: Mapping[str, Any]) -> str:
    """The text of searched settings, the same for the same values."""
    return json.dumps(dict(values), sort_keys=True)


def read_settings(text: str) -> dict[str, Any]:
    """Searched settings from their text; none from that of a record older than the column."""
    return dict(json.loads(text or NO_SETTINGS))
