"""What the explorer shows, as the address of the page says it."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass, fields
from urllib.parse import parse_qs, urlencode

METRICS = ("accuracy", "macro_f1", "weighted_f1")
"""Metrics that the comparison can show."""

_BRUSH = "pick."
"""Parameters with this prefix are ranges picked along an axis of the parallel coordinates."""


@dataclass(frozen=True)
class ViewState:
    """Everything that a reader can choose; each field is a parameter of the address, left out at its default."""

    run: str = ""
    """Key of the run that is looked at; the first one when empty or unknown."""
    metric: str = "accuracy"
    """Metric of the comparison, one of `METRICS`."""
    arms: tuple[str, ...] = ()
    """Arms whose trials are shown; all when empty."""
    statuses: tuple[str, ...] = ()
    """Statuses of the trials that are shown; all when empty."""
    arm: str = ""
    """The arm whose cell of the comparison was opened."""
    trial: str = ""
    """The trial that was opened."""
    cell: str = ""
    """The cell of its confusion matrix that was opened: "<actual label>,<predicted label>"."""
    selected: tuple[str, ...] = ()
    """Trials that were ticked, to be exported."""
    figure: str = "response"
    """Name of the figure that is shown for the chosen trials."""
    sort: str = "score"
    """Column by which trials are sorted."""
    ascending: bool = False
    page: int = 0
    """Page of the list of trials, 0-based."""
    picked: tuple[tuple[str, tuple[tuple[float, float], ...]], ...] = ()
    """Axis of the parallel coordinates -> ranges picked on it, in the axis's own scale."""


def read_address(search: str | None) -> ViewState:
    """The state that an address says; parameters that are unknown or make no sense are left at their defaults.

    Args:
        search: The part of the address from the question mark on; may be empty.
    """
    given = parse_qs((search or "").removeprefix("?"), keep_blank_values=False)
    values: dict[str, object] = {}
    for field in fields(ViewState):
        if field.name == "picked" or field.name not in given:
            continue
        default, texts = field.default, given[field.name]
        if isinstance(default, tuple):
            values[field.name] = tuple(dict.fromkeys(texts))
        elif isinstance(default, bool):
            values[field.name] = texts[0] == "yes"
        elif isinstance(default, int):
            values[field.name] = int(texts[0]) if texts[0].isascii() and texts[0].isdigit() else default
        else:
            values[field.name] = texts[0]
    if values.get("metric", METRICS[0]) not in METRICS:
        del values["metric"]
    picked = [
        (name.removeprefix(_BRUSH), _read_ranges(texts)) for name, texts in given.items() if name.startswith(_BRUSH)
    ]
    values["picked"] = tuple(sorted((name, ranges) for name, ranges in picked if name and ranges))
    return ViewState(**values)  # type: ignore[arg-type]  # each value has the type of its field's default


def write_address(state: ViewState) -> str:
    """The part of the address, from the question mark on, that says a state; empty for the default one."""
    default = ViewState()
    pairs: list[tuple[str, str]] = []
    for field in fields(ViewState):
        value = getattr(state, field.name)
        if value == getattr(default, field.name) or field.name == "picked":
            continue
        if isinstance(value, tuple):
            pairs += [(field.name, text) for text in value]
        elif isinstance(value, bool):
            pairs.append((field.name, "yes" if value else "no"))
        else:
            pairs.append((field.name, str(value)))
    for name, ranges in state.picked:
        pairs += [(f"{_BRUSH}{name}", f"{low!r}..{high!r}") for low, high in ranges]
    return f"?{urlencode(pairs)}" if pairs else ""


def _read_ranges(texts: Iterable[str]) -> tuple[tuple[float, float], ...]:
    ranges = []
    for text in texts:
        low, _, high = text.partition("..")
        try:
            ends = (float(low), float(high))
        except ValueError:
            continue
        if all(math.isfinite(end) for end in ends):
            ranges.append((min(ends), max(ends)))
    return tuple(sorted(ranges))
