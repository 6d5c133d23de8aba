"""What a click, a filter, another run or a brush makes of the state."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from analysis.explorer.view_state import ViewState

_INDEXED = "dimensions["
_RANGE = "].constraintrange"


def apply_click(state: ViewState, kind: str, value: Any) -> ViewState:
    """The state after a button was pressed.

    Args:
        state: Before.
        kind: "arm", "trial", "cell", "select", "sort", "page" or "clear".
        value: What the button stands for: an arm, a trial, a cell, a column, a page, or what is cleared ("selected",
            "picked").

    Raises:
        ValueError: An unknown kind.
    """
    changes: dict[str, Any]
    if kind == "arm":
        # A second click closes it.
        changes = {"arm": "" if state.arm == value else str(value), "page": 0}
    elif kind == "trial":
        changes = {"trial": str(value), "cell": ""}
    elif kind == "cell":
        changes = {"cell": str(value)}
    elif kind == "select":
        kept = tuple(other for other in state.selected if other != value)
        changes = {"selected": kept if value in state.selected else (*kept, str(value))}
    elif kind == "sort":
        ascending = not state.ascending if state.sort == value else value != "score"
        changes = {"sort": str(value), "ascending": ascending, "page": 0}
    elif kind == "page":
        changes = {"page": max(0, int(value))}
    elif kind == "clear":
        changes = {str(value): (), "page": 0}
    else:
        raise ValueError(f"kind: found {kind!r}, expected arm, trial, cell, select, sort, page or clear.")
    return replace(state, **changes)


def apply_filters(
    state: ViewState,
    *,
    metric: str,
    statuses: Sequence[str] | None,
    arms: Sequence[str] | None,
    figure: str | None,
) -> ViewState:
    """The state after one of the filters was changed.

    Args:
        state: Before.
        metric: Metric of the comparison.
        statuses: Ticked statuses; None or empty for all.
        arms: Ticked arms; None or empty for all.
        figure: Name of the chosen figure; None before there is a choice, which keeps the state's.
    """
    return replace(
        state,
        metric=metric,
        statuses=tuple(statuses or ()),
        arms=tuple(arms or ()),
        figure=figure or state.figure,
        page=0,
    )


def apply_run(state: ViewState, run: str, *, shown: str, first: str) -> ViewState:
    """The state after another run was chosen.

    Args:
        state: Before.
        run: Key of the run that was chosen.
        shown: Key of the run that the state shows.
        first: Key of the first run, which the address need not name.
    """
    if run == shown:
        return state
    # Arms, trials and ranges are those of the other run: only how to look is kept.
    return ViewState(run="" if run == first else run, metric=state.metric, figure=state.figure)


def apply_brush(state: ViewState, restyle: Sequence[Any] | None, axes: Sequence[str]) -> ViewState:
    """The state after ranges were picked on, or axes moved in, the parallel coordinates.

    Args:
        state: Before.
        restyle: What Plotly says has changed: ``[{"dimensions[2].constraintrange": [[low, high]]}, [0]]``, or, when an axis
            was moved, all dimensions.
        axes: Columns of the axes from left to right.
    """
    changes = restyle[0] if restyle else {}
    if not isinstance(changes, Mapping):
        return state
    picked: dict[str, Any] = dict(state.picked)
    for key, value in changes.items():
        if key == "dimensions":
            picked = {
                str(dimension["name"]): _ranges(dimension.get("constraintrange"))
                for dimension in value[0]
                if dimension.get("name") in axes
            }
        elif key.startswith(_INDEXED) and key.endswith(_RANGE):
            position = int(key.removeprefix(_INDEXED).removesuffix(_RANGE))
            if position < len(axes):
                picked[axes[position]] = _ranges(value)
    kept = tuple(sorted((name, ranges) for name, ranges in picked.items() if ranges))
    return state if kept == state.picked else replace(state, picked=kept, page=0)


def _ranges(value: Any) -> tuple[tuple[float, float], ...]:
    """Plotly's one range, several ranges, or several wrapped once more, as sorted pairs."""
    if value is None or len(value) == 0:
        return ()
    if all(isinstance(end, int | float) for end in value):
        return ((round(float(min(value)), 5), round(float(max(value)), 5)),)
    return tuple(sorted(pair for part in value if part is not None for pair in _ranges(part)))
