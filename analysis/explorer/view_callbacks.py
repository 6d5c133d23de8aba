"""Callbacks that draw the views: each from the address and the records alone."""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache
from typing import Any

import pandas as pd
import plotly.graph_objects as go
from dash import Dash, Input, Output, Patch, State, dcc, html
from dash.exceptions import PreventUpdate

from analysis.arms import arm_order
from analysis.explorer.choice import NarrowedStudy, chosen_trials, filtered_trials, picked_ranges
from analysis.explorer.comparison_view import comparison_view
from analysis.explorer.picture_view import picture_view
from analysis.explorer.pictures import PictureFolder
from analysis.explorer.run_comparison import run_comparison_view
from analysis.explorer.runs import LiveRun, run_of
from analysis.explorer.trial_views import GRAPH, sorted_trials, trial_list, trial_view
from analysis.explorer.view_state import ViewState, read_address, write_address
from analysis.figures.parallel_coordinates import draw_parallel_coordinates, parallel_axes, parallel_coordinates_table
from analysis.figures.registry import FIGURES, captioned
from analysis.figures.style import setting_colours
from analysis.records.schema import Phase
from analysis.records.study import Study

_DRAWN_FROM = (Input("address", "search"), Input("version", "data"))
# A page draws figures for a second or two and shows nothing else meanwhile: what can be read comes first.
_AFTER_TABLES = (Input("trials", "children"),)


def add_view_callbacks(application: Dash, runs: Mapping[str, LiveRun], folders: Mapping[str, PictureFolder]) -> None:
    """Let an application draw its views.

    Args:
        application: With the layout of `analysis.explorer.layout`.
        runs: Key -> run.
        folders: Key of each run -> where its pictures are.
    """
    _add_results(application, runs)
    _add_lines(application, runs)
    _add_trials(application, runs)
    _add_pictures(application, runs, folders)
    _add_figure(application, runs)
    _add_export(application, runs)


def _add_results(application: Dash, runs: Mapping[str, LiveRun]) -> None:
    @application.callback(Output("name", "children"), Output("arms", "options"), *_DRAWN_FROM)
    def draw_filters(search: str | None, _: Any) -> tuple[str, list[str]]:
        study = run_of(runs, read_address(search)).study
        return study.name, arm_order(study)

    @application.callback(Output("comparison", "children"), *_DRAWN_FROM)
    def draw_comparison(search: str | None, _: Any) -> list[Any]:
        state = read_address(search)
        study = run_of(runs, state).study
        return comparison_view(study, state, _chosen(study, _choice(state)))

    @application.callback(Output("runs", "children"), *_DRAWN_FROM)
    def draw_runs(search: str | None, _: Any) -> list[Any]:
        if len(runs) < 2:
            raise PreventUpdate
        state = read_address(search)
        return run_comparison_view({key: run.study for key, run in runs.items()}, run_of(runs, state).key, state.metric)


def _add_lines(application: Dash, runs: Mapping[str, LiveRun]) -> None:
    @application.callback(
        Output("parallel", "figure"), Output("lines", "data"), *_DRAWN_FROM, *_AFTER_TABLES, State("lines", "data")
    )
    def draw_lines(search: str | None, _: Any, _tables: Any, lines: dict[str, Any] | None) -> tuple[Any, Any]:
        """The lines are drawn anew when other trials pass the filters; of another brush only its ranges are sent."""
        state = read_address(search)
        run = run_of(runs, state)
        wanted = {"run": run.key, "version": run.version, "arms": list(state.arms), "statuses": list(state.statuses)}
        wanted["picked"] = picked_ranges(state)
        if lines and {**lines, "axes": None} == {**wanted, "axes": None}:
            raise PreventUpdate
        if lines and {**lines, "axes": None, "picked": None} == {**wanted, "axes": None, "picked": None}:
            return _brushed(lines["axes"], dict(state.picked)), {**wanted, "axes": lines["axes"]}
        filtered = bool(state.arms or state.statuses)
        study = NarrowedStudy(run.study, filtered_trials(run.study, state)["trial_id"]) if filtered else run.study
        table = parallel_coordinates_table(study)
        ranges = {name: [list(pair) for pair in pairs] for name, pairs in state.picked}
        figure = draw_parallel_coordinates(table, setting_colours(run.study), run.study.metric, ranges)
        return figure, {**wanted, "axes": parallel_axes(table) if len(table) else []}

    @application.callback(Output("picked", "children"), *_DRAWN_FROM)
    def draw_picked(search: str | None, _: Any) -> list[Any]:
        state = read_address(search)
        study = run_of(runs, state).study
        rows = _chosen(study, _choice(state))
        searched = int((study.trials["phase"] == Phase.SEARCH).sum())
        count = int((rows["phase"] == Phase.SEARCH).sum())
        said = html.Span(
            f"{count:,} of {searched:,} trials of the search chosen.", id="picked-count", className="caption"
        )
        clear = html.Button("Let go of all ranges", id={"kind": "clear", "value": "picked"})
        return [said, clear] if state.picked else [said]


def _add_trials(application: Dash, runs: Mapping[str, LiveRun]) -> None:
    @application.callback(Output("trials", "children"), *_DRAWN_FROM)
    def draw_trials(search: str | None, _: Any) -> list[Any]:
        state = read_address(search)
        study = run_of(runs, state).study
        return trial_list(study, state, _chosen(study, _choice(state)))

    @application.callback(
        Output("trial", "children"), Output("shown-trial", "data"), *_DRAWN_FROM, State("shown-trial", "data")
    )
    def draw_trial(search: str | None, _: Any, shown: list[Any] | None) -> tuple[Any, Any]:
        state = read_address(search)
        run = run_of(runs, state)
        wanted = [run.key, run.version, state.trial, state.cell]
        if wanted == shown:
            raise PreventUpdate  # the page would draw the curves again, which takes longer than all the rest
        return trial_view(run.study, state), wanted


def _add_pictures(application: Dash, runs: Mapping[str, LiveRun], folders: Mapping[str, PictureFolder]) -> None:
    @application.callback(Output("pictures", "children"), *_DRAWN_FROM)
    def draw_pictures(search: str | None, _: Any) -> list[Any]:
        state = read_address(search)
        run = run_of(runs, state)
        return picture_view(run.study, state, folders[run.key], run.key)


def _add_figure(application: Dash, runs: Mapping[str, LiveRun]) -> None:
    @application.callback(
        Output("drawn", "children"),
        Output("shown-figure", "data"),
        *_DRAWN_FROM,
        *_AFTER_TABLES,
        State("shown-figure", "data"),
    )
    def draw_figure(search: str | None, _: Any, _tables: Any, shown: list[Any] | None) -> tuple[Any, Any]:
        state = read_address(search)
        run = run_of(runs, state)
        name = state.figure if state.figure in FIGURES else ViewState().figure
        wanted = [run.key, run.version, name, write_address(_choice(state))]
        if wanted == shown:
            raise PreventUpdate  # the page would draw the same again, which takes longer than all the rest
        figure, caption = _figure(run.study, _choice(state), name)
        graph = dcc.Graph(
            figure=figure, config=GRAPH, id="chosen-figure", style={"height": f"{figure.layout.height}px"}
        )
        return [graph, html.P(caption, className="caption")], wanted


def _add_export(application: Dash, runs: Mapping[str, LiveRun]) -> None:
    @application.callback(
        Output("download", "data"), Input("export", "n_clicks"), State("address", "search"), prevent_initial_call=True
    )
    def export(_: int | None, search: str | None) -> dict[str, Any]:
        """The selected trials, or the listed ones where none is selected, with all columns in full precision."""
        state = read_address(search)
        study = run_of(runs, state).study
        rows, trials = _chosen(study, _choice(state)), study.trials
        wanted = list(state.selected) or sorted_trials(rows, state)["trial_id"].tolist()
        exported = trials.set_index("trial_id").reindex([each for each in wanted if each in set(trials["trial_id"])])
        return {"content": exported.reset_index().to_csv(index=False, lineterminator="\n"), "filename": "trials.csv"}


def _choice(state: ViewState) -> ViewState:
    """What decides which trials are chosen, without the rest of the state."""
    return ViewState(arms=state.arms, statuses=state.statuses, picked=state.picked)


# Several views ask for the same at once. A study that is read again is another object, so nothing old is shown.
@lru_cache(maxsize=8)
def _chosen(study: Study, choice: ViewState) -> pd.DataFrame:
    return chosen_trials(study, choice)


@lru_cache(maxsize=16)
def _figure(study: Study, choice: ViewState, name: str) -> tuple[go.Figure, str]:
    whole = choice == ViewState()
    made = captioned(study if whole else NarrowedStudy(study, _chosen(study, choice)["trial_id"]), name)
    return made.figure, made.caption


def _brushed(axes: list[str], picked: Mapping[str, tuple[tuple[float, float], ...]]) -> Patch:
    """The parallel coordinates as they are, with these ranges picked."""
    patch = Patch()
    for position, name in enumerate(axes):
        ranges = [list(pair) for pair in picked.get(name, ())]
        patch["data"][0]["dimensions"][position]["constraintrange"] = (
            None if not ranges else ranges[0] if len(ranges) == 1 else ranges
        )
    return patch
