"""Fields for the ranges of the searched settings: what brushing an axis does, for a keyboard and to the digit."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import Any

import numpy as np
from dash import dcc, html

from analysis.explorer.aria import aria
from analysis.explorer.view_state import ViewState
from analysis.figures.parallel_coordinates import axis_values
from analysis.hyperparameters import LEARNING_RATE, WEIGHT_DECAY, hyperparameter_title, is_logarithmic
from analysis.records.schema import Phase
from analysis.records.study import Study

_ENDS = ("low", "high")


def numeric_settings(studies: Iterable[Study]) -> list[str]:
    """Searched settings that are numbers: learning rate, weight decay, then what the configurations search besides, by name.

    Settings with names as choices are picked on the parallel coordinates alone.
    """
    others = set()
    for study in studies:
        search = study.config.get("search")
        also = search.get("also") if isinstance(search, Mapping) else None
        for name, values in (also or {}).items():
            given = [values.get(end) for end in _ENDS] if isinstance(values, Mapping) else list(values)
            if all(isinstance(value, int | float) and not isinstance(value, bool) for value in given):
                others.add(str(name))
    return [LEARNING_RATE, WEIGHT_DECAY, *sorted(others)]


def setting_fields(names: Iterable[str]) -> html.Div:
    """Two fields for each setting, from and to; a field acts when it is left or Enter is pressed."""
    return html.Div(
        [
            html.Div(
                [
                    html.Span(hyperparameter_title(name)),
                    *(
                        dcc.Input(
                            id={"range": name, "end": end},
                            type="text",
                            debounce=True,
                            autoComplete="off",
                            placeholder={"low": "from", "high": "to"}[end],
                        )
                        for end in _ENDS
                    ),
                ],
                className="range",
                role="group",
                **aria(label=f"{hyperparameter_title(name)}: from, to"),
            )
            for name in names
        ],
        id="ranges",
    )


def shown_range(state: ViewState, name: str, end: str) -> str:
    """What the field of one end says: the picked end in the setting's own scale, empty where nothing is picked."""
    ranges = dict(state.picked).get(name, ())
    if not ranges:
        return ""
    place = ranges[0][0] if end == "low" else ranges[-1][1]
    return f"{10**place if is_logarithmic(name) else place:.4g}"


def apply_field(state: ViewState, study: Study, name: str, end: str, text: str | None) -> ViewState:
    """The state after a field was filled in or emptied.

    Args:
        state: Before.
        study: The run that is looked at: an end that is left open reaches as far as its trials.
        name: The setting.
        end: "low" or "high".
        text: A number in the setting's own scale; anything else opens the end.
    """
    if (text or "") == shown_range(state, name, end):
        return state
    searched = study.trials[study.trials["phase"] == Phase.SEARCH]
    places = axis_values(searched[name], name)[0] if name in searched else np.zeros(0)
    places = places[np.isfinite(places)]
    if not len(places):
        return state
    extremes = {"low": float(places.min()), "high": float(places.max())}
    ranges = dict(state.picked).get(name, ())
    ends = {"low": ranges[0][0], "high": ranges[-1][1]} if ranges else dict(extremes)
    given = _place(text, name)
    ends[end] = extremes[end] if given is None else given
    low, high = sorted((round(ends["low"], 5), round(ends["high"], 5)))
    others = [pair for pair in state.picked if pair[0] != name]
    everything = low <= extremes["low"] + 1e-4 and high >= extremes["high"] - 1e-4
    picked = others if everything else [*others, (name, ((low, high),))]
    return replace(state, picked=tuple(sorted(picked)), page=0)


def _place(text: Any, name: str) -> float | None:
    """Position along the setting's axis; None for what is no number that the axis has."""
    try:
        value = float(str(text).replace(",", "."))
    except ValueError:
        return None
    if is_logarithmic(name):
        return float(np.log10(value)) if 0 < value < np.inf else None
    return value if np.isfinite(value) else None
