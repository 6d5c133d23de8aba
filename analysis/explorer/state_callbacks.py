"""Callbacks between the address and the filters: whatever a reader does changes the address, from which views are drawn."""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Any

from dash import ALL, Dash, Input, Output, State, ctx, no_update
from dash.exceptions import PreventUpdate

from analysis.explorer.choice import picked_ranges
from analysis.explorer.events import apply_brush, apply_click, apply_filters, apply_run
from analysis.explorer.runs import LiveRun, read_versions, run_of
from analysis.explorer.setting_filters import apply_field, shown_range
from analysis.explorer.view_state import ViewState, read_address, write_address
from analysis.report.prose import study_state


def add_state_callbacks(application: Dash, runs: Mapping[str, LiveRun]) -> None:
    """Let an application look at the records now and then, and turn what a reader does into another address."""
    _add_clock(application, runs)
    _add_choices(application, runs)


def _add_clock(application: Dash, runs: Mapping[str, LiveRun]) -> None:
    @application.callback(
        Output("version", "data"),
        Output("live", "children"),
        Output("live", "className"),
        Input("clock", "n_intervals"),
        Input("address", "search"),
        State("version", "data"),
    )
    def look(_: int | None, search: str | None, known: dict[str, int]) -> tuple[Any, str, str]:
        """Read what has changed; what is chosen stays as it is."""
        for run in runs.values():
            run.refresh()
        run = run_of(runs, read_address(search))
        told = f"{study_state(run.study)} Read at {time.strftime('%H:%M:%S', time.localtime(run.read_at))}."
        found = read_versions(runs)
        return (no_update if found == known else found), run.problem or told, "problem" if run.problem else ""


def _add_choices(application: Dash, runs: Mapping[str, LiveRun]) -> None:
    @application.callback(
        Output("address", "search"),
        Output("run", "value"),
        Output("metric", "value"),
        Output("statuses", "value"),
        Output("arms", "value"),
        Output("figure", "value"),
        Output({"range": ALL, "end": ALL}, "value"),
        Output("lines", "data", allow_duplicate=True),
        Input("address", "search"),
        Input("run", "value"),
        Input("metric", "value"),
        Input("statuses", "value"),
        Input("arms", "value"),
        Input("figure", "value"),
        Input({"kind": ALL, "value": ALL}, "n_clicks"),
        Input("parallel", "restyleData"),
        Input({"range": ALL, "end": ALL}, "value"),
        State("lines", "data"),
        prevent_initial_call="initial_duplicate",
    )
    def choose(
        search: str | None,
        run: str,
        metric: str,
        statuses: list[str] | None,
        arms: list[str] | None,
        figure: str | None,
        _: list[int | None],
        restyle: list[Any] | None,
        _fields: list[str | None],
        lines: dict[str, Any] | None,
    ) -> tuple[Any, ...]:
        """Everything that a reader does changes the address; the address sets the filters."""
        state, cause = read_address(search), ctx.triggered_id
        if cause is None or cause == "address":
            shown = run_of(runs, state).key
            filters = list(state.statuses), list(state.arms)
            return no_update, shown, state.metric, *filters, state.figure, _range_fields(state), no_update
        if isinstance(cause, dict):
            changed = _after_component(state, run_of(runs, state), cause, ctx.triggered[0]["value"])
        elif cause == "parallel":
            changed = apply_brush(state, restyle, (lines or {}).get("axes", []))
        elif cause == "run":
            changed = apply_run(state, run, shown=run_of(runs, state).key, first=next(iter(runs)))
        else:
            changed = apply_filters(state, metric=metric, statuses=statuses, arms=arms, figure=figure)
        if changed == state:
            raise PreventUpdate
        # The address that this callback has set does not call it again: a brush has to fill the fields here.
        # The page knows a brush already: what it shows need not be sent back to it.
        known = {**lines, "picked": picked_ranges(changed)} if cause == "parallel" and lines else no_update
        return write_address(changed), *[no_update] * 5, _range_fields(changed), known


def _range_fields(state: ViewState) -> list[str]:
    """Content of the fields for ranges, in the order in which the page asks for it."""
    return [shown_range(state, each["id"]["range"], each["id"]["end"]) for each in ctx.outputs_list[-2]]


def _after_component(state: ViewState, run: LiveRun, cause: Mapping[str, str], value: Any) -> ViewState:
    """The state after one of many alike was used: a field of a range was left, or a button was pressed."""
    if "range" in cause:
        return apply_field(state, run.study, cause["range"], cause["end"], value)
    if not value:
        raise PreventUpdate  # the button was drawn, not pressed
    return apply_click(state, cause["kind"], cause["value"])
