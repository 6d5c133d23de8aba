"""The Dash application: layout, callbacks, and the server on loopback."""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping
from dataclasses import replace
from functools import lru_cache
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import flask
import pandas as pd
import plotly.graph_objects as go
from dash import ALL, Dash, Input, Output, Patch, State, ctx, dcc, html, no_update
from dash.exceptions import PreventUpdate

from analysis.arms import arm_order
from analysis.explorer.aria import aria
from analysis.explorer.choice import NarrowedStudy, chosen_trials, filtered_trials
from analysis.explorer.comparison_view import comparison_view
from analysis.explorer.events import apply_brush, apply_click
from analysis.explorer.picture_view import picture_view
from analysis.explorer.pictures import PictureFolder
from analysis.explorer.run_comparison import run_comparison_view
from analysis.explorer.runs import LiveRun, open_runs
from analysis.explorer.setting_filters import apply_field, numeric_settings, setting_fields, shown_range
from analysis.explorer.trial_views import GRAPH, sorted_trials, trial_list, trial_view
from analysis.explorer.view_state import METRICS, ViewState, read_address, write_address
from analysis.figures.gallery import FIGURES, captioned
from analysis.figures.parallel_coordinates import draw_parallel_coordinates, parallel_axes, parallel_coordinates_table
from analysis.figures.style import setting_colours
from analysis.metrics import METRIC_TITLES
from analysis.records.errors import StudyError
from analysis.records.schema import STATUSES
from analysis.records.study import Study
from analysis.report.prose import state as study_state

LOOPBACK = "127.0.0.1"
_HOSTS = frozenset({"127.0.0.1", "localhost", "::1"})
_POLL = 2.0
"""Seconds between two looks at the records of a running study."""


def make_application(paths: Iterable[Path], data: Path | None = None) -> Dash:
    """Build the explorer of one or several runs.

    Args:
        paths: Run directories; the studies may be running.
        data: Where the image data are now, when they are no longer at ``data.root``.

    Returns:
        The application; `serve` runs it.

    Raises:
        StudyError: A run cannot be read.
    """
    runs = open_runs(paths)
    if not runs:
        raise StudyError("explore: found no run, expected at least one run directory.")
    application = Dash(
        __name__,
        assets_folder=str(Path(__file__).parent / "assets"),
        serve_locally=True,
        suppress_callback_exceptions=True,  # the buttons of a view exist once it is drawn
        update_title="",
        title=f"wbc-study: {', '.join(runs)}",
    )
    application.layout = _layout(runs)
    folders = {key: PictureFolder(run.study, data) for key, run in runs.items()}
    _protect(application.server)
    _serve_pictures(application.server, runs, folders)
    _add_state_callbacks(application, runs)
    _add_view_callbacks(application, runs, folders)
    return application


def serve(application: Dash, port: int) -> None:
    """Serve the application on loopback until it is interrupted.

    Args:
        application: From `make_application`.
        port: Of 127.0.0.1.

    Raises:
        StudyError: The port is taken.
    """
    import logging

    from werkzeug.serving import make_server

    # One line for each request would bury what the command says.
    logging.getLogger("werkzeug").setLevel(logging.WARNING)
    try:
        server = make_server(LOOPBACK, port, application.server, threaded=True)
    except (OSError, SystemExit) as error:
        raise StudyError(f"Port {port} of {LOOPBACK} cannot be used ({error}). Choose another with --port.") from error
    server.serve_forever()


def _protect(server: flask.Flask) -> None:
    """Answer only to a page of ours: another site's name may be made to point at 127.0.0.1."""

    @server.before_request
    def check_host() -> flask.Response | None:
        if urlsplit(f"//{flask.request.host}").hostname in _HOSTS:
            return None
        return flask.Response("The explorer answers on loopback only.", status=403, mimetype="text/plain")

    @server.after_request
    def forbid_others(response: flask.Response) -> flask.Response:
        response.headers["X-Content-Type-Options"] = "nosniff"
        response.headers["Referrer-Policy"] = "no-referrer"
        response.headers["X-Frame-Options"] = "DENY"
        return response


def _serve_pictures(server: flask.Flask, runs: Mapping[str, LiveRun], folders: Mapping[str, PictureFolder]) -> None:
    @server.route("/picture/<run>/<int:row>")
    def picture(run: str, row: int) -> flask.Response:
        """A picture by its row of ``images.parquet``: the page cannot ask for a path."""
        if run not in runs or row >= len(runs[run].study.images):
            return flask.Response("There is no such picture.", status=404, mimetype="text/plain")
        try:
            content = folders[run].read(str(runs[run].study.images["path"].iloc[row]))
        except StudyError as error:
            return flask.Response(str(error), status=404, mimetype="text/plain")
        return flask.Response(content, mimetype="image/png", headers={"Cache-Control": "private, max-age=600"})


def _layout(runs: Mapping[str, LiveRun]) -> html.Div:
    several = len(runs) > 1
    filters = [
        html.Label("Run", className="title", htmlFor="run") if several else None,
        dcc.RadioItems(id="run", options=list(runs), value=next(iter(runs)), className="options")
        if several
        else dcc.RadioItems(id="run", options=list(runs), value=next(iter(runs)), style={"display": "none"}),
        html.Label("Metric of the comparison", className="title"),
        dcc.RadioItems(
            id="metric",
            options=[{"label": METRIC_TITLES[name], "value": name} for name in METRICS],
            value=METRICS[0],
            className="options",
        ),
        html.Label("Status", className="title"),
        dcc.Checklist(
            id="statuses", options=[{"label": name, "value": name} for name in STATUSES], className="options"
        ),
        html.Label("Arms", className="title"),
        dcc.Checklist(id="arms", options=[], className="options"),
        html.P("None ticked: all are shown.", className="caption"),
        html.Label("Settings of the search", className="title"),
        setting_fields(numeric_settings(run.study for run in runs.values())),
    ]
    figures = [{"label": kind.title, "value": name} for name, kind in FIGURES.items() if name != "parallel_coordinates"]
    return html.Div(
        [
            dcc.Location(id="address", refresh=False),
            dcc.Interval(id="clock", interval=1000 * _POLL),
            dcc.Store(id="version", data=_versions(runs)),
            dcc.Store(id="lines"),
            dcc.Store(id="shown-trial"),
            dcc.Store(id="shown-figure"),
            dcc.Download(id="download"),
            html.Header([html.H1("wbc-study", id="name"), html.Span(id="live", role="status")]),
            html.Div(
                [
                    html.Aside(html.Div(filters, className="sticky"), **aria(label="Filters")),
                    html.Main(
                        [
                            html.Section([html.H2("Comparison"), html.Div(id="comparison")]),
                            html.Section([html.H2("Runs side by side"), html.Div(id="runs")])
                            if several
                            else html.Div(id="runs", hidden=True),
                            html.Section(
                                [
                                    html.H2("Settings of all trials"),
                                    html.P(
                                        "Drag along an axis to pick trials, click it to let go: the list, the comparison's "
                                        "counts and the figure below follow.",
                                        className="caption",
                                    ),
                                    html.Div(dcc.Graph(id="parallel", config=GRAPH), className="graph"),
                                    html.Div(id="picked", className="actions"),
                                ]
                            ),
                            html.Section(
                                [
                                    html.H2("Trials"),
                                    html.Div(
                                        [
                                            html.Button("Export as CSV", id="export"),
                                            html.Button(
                                                "Clear the selection", id={"kind": "clear", "value": "selected"}
                                            ),
                                        ],
                                        className="actions",
                                    ),
                                    html.Div(id="trials"),
                                ]
                            ),
                            html.Section([html.H2("Trial"), html.Div(id="trial")]),
                            html.Section([html.H2("Images"), html.Div(id="pictures")]),
                            html.Section(
                                [
                                    html.H2("Figure of the chosen trials"),
                                    dcc.Dropdown(id="figure", options=figures, clearable=False, searchable=False),
                                    html.Div(id="drawn", className="graph"),
                                ]
                            ),
                        ]
                    ),
                ],
                className="layout",
            ),
        ]
    )


def _versions(runs: Mapping[str, LiveRun]) -> dict[str, int]:
    return {key: run.version for key, run in runs.items()}


def _run_of(runs: Mapping[str, LiveRun], state: ViewState) -> LiveRun:
    return runs.get(state.run) or next(iter(runs.values()))


def _add_state_callbacks(application: Dash, runs: dict[str, LiveRun]) -> None:
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
        run = _run_of(runs, read_address(search))
        told = f"{study_state(run.study)} Read at {time.strftime('%H:%M:%S', time.localtime(run.read_at))}."
        found = _versions(runs)
        return (no_update if found == known else found), run.problem or told, "problem" if run.problem else ""

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

        def ranges_of(state: ViewState) -> list[str]:
            return [shown_range(state, each["id"]["range"], each["id"]["end"]) for each in ctx.outputs_list[-2]]

        if cause is None or cause == "address":
            shown = _run_of(runs, state).key
            filters = list(state.statuses), list(state.arms)
            return no_update, shown, state.metric, *filters, state.figure, ranges_of(state), no_update
        if isinstance(cause, dict) and "range" in cause:
            text = ctx.triggered[0]["value"]
            changed = apply_field(state, _run_of(runs, state).study, cause["range"], cause["end"], text)
        elif isinstance(cause, dict):
            if not ctx.triggered[0]["value"]:
                raise PreventUpdate  # the button was drawn, not pressed
            changed = apply_click(state, cause["kind"], cause["value"])
        elif cause == "parallel":
            changed = apply_brush(state, restyle, (lines or {}).get("axes", []))
        elif cause == "run":
            # Arms, trials and ranges are those of the other run: only how to look is kept.
            other = ViewState(run="" if run == next(iter(runs)) else run, metric=state.metric, figure=state.figure)
            changed = state if run == _run_of(runs, state).key else other
        else:
            changed = replace(
                state,
                metric=metric,
                statuses=tuple(statuses or ()),
                arms=tuple(arms or ()),
                figure=figure or state.figure,
                page=0,
            )
        if changed == state:
            raise PreventUpdate
        # The address that this callback has set does not call it again: a brush has to fill the fields here.
        # Of a brush the page knows already: what it shows need not be sent back to it.
        known = {**lines, "picked": _picked(changed)} if cause == "parallel" and lines else no_update
        return write_address(changed), *[no_update] * 5, ranges_of(changed), known


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


def _picked(state: ViewState) -> list[Any]:
    """The picked ranges as a page stores them."""
    return [[name, [list(pair) for pair in pairs]] for name, pairs in state.picked]


def _brushed(axes: list[str], picked: Mapping[str, tuple[tuple[float, float], ...]]) -> Patch:
    """The parallel coordinates as they are, with these ranges picked."""
    patch = Patch()
    for position, name in enumerate(axes):
        ranges = [list(pair) for pair in picked.get(name, ())]
        patch["data"][0]["dimensions"][position]["constraintrange"] = (
            None if not ranges else ranges[0] if len(ranges) == 1 else ranges
        )
    return patch


def _add_view_callbacks(application: Dash, runs: dict[str, LiveRun], folders: Mapping[str, PictureFolder]) -> None:
    drawn_from = [Input("address", "search"), Input("version", "data")]
    # A page draws figures for a second or two and shows nothing else meanwhile: what can be read comes first.
    after_tables = [Input("trials", "children")]

    def chosen_now(state: ViewState) -> tuple[LiveRun, pd.DataFrame]:
        run = _run_of(runs, state)
        return run, _chosen(run.study, _choice(state))

    @application.callback(Output("name", "children"), Output("arms", "options"), *drawn_from)
    def draw_filters(search: str | None, _: Any) -> tuple[str, list[str]]:
        study = _run_of(runs, read_address(search)).study
        return study.name, arm_order(study)

    @application.callback(Output("comparison", "children"), *drawn_from)
    def draw_comparison(search: str | None, _: Any) -> list[Any]:
        state = read_address(search)
        run, rows = chosen_now(state)
        return comparison_view(run.study, state, rows)

    @application.callback(Output("runs", "children"), *drawn_from)
    def draw_runs(search: str | None, _: Any) -> list[Any]:
        if len(runs) < 2:
            raise PreventUpdate
        state = read_address(search)
        return run_comparison_view(
            {key: run.study for key, run in runs.items()}, _run_of(runs, state).key, state.metric
        )

    @application.callback(
        Output("parallel", "figure"), Output("lines", "data"), *drawn_from, *after_tables, State("lines", "data")
    )
    def draw_lines(search: str | None, _: Any, _tables: Any, lines: dict[str, Any] | None) -> tuple[Any, Any]:
        """The lines are drawn anew when other trials pass the filters; of another brush only its ranges are sent."""
        state = read_address(search)
        run = _run_of(runs, state)
        wanted = {"run": run.key, "version": run.version, "arms": list(state.arms), "statuses": list(state.statuses)}
        wanted["picked"] = _picked(state)
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

    @application.callback(Output("picked", "children"), *drawn_from)
    def draw_picked(search: str | None, _: Any) -> list[Any]:
        state = read_address(search)
        run, rows = chosen_now(state)
        searched = int((run.study.trials["phase"] == "search").sum())
        count = int((rows["phase"] == "search").sum())
        said = html.Span(
            f"{count:,} of {searched:,} trials of the search chosen.", id="picked-count", className="caption"
        )
        clear = html.Button("Let go of all ranges", id={"kind": "clear", "value": "picked"})
        return [said, clear] if state.picked else [said]

    @application.callback(Output("trials", "children"), *drawn_from)
    def draw_trials(search: str | None, _: Any) -> list[Any]:
        state = read_address(search)
        run, rows = chosen_now(state)
        return trial_list(run.study, state, rows)

    @application.callback(
        Output("trial", "children"), Output("shown-trial", "data"), *drawn_from, State("shown-trial", "data")
    )
    def draw_trial(search: str | None, _: Any, shown: list[Any] | None) -> tuple[Any, Any]:
        state = read_address(search)
        run = _run_of(runs, state)
        wanted = [run.key, run.version, state.trial, state.cell]
        if wanted == shown:
            raise PreventUpdate  # the page would draw the curves again, which takes longer than all the rest
        return trial_view(run.study, state), wanted

    @application.callback(Output("pictures", "children"), *drawn_from)
    def draw_pictures(search: str | None, _: Any) -> list[Any]:
        state = read_address(search)
        run = _run_of(runs, state)
        return picture_view(run.study, state, folders[run.key], run.key)

    _add_figure_callbacks(application, runs, after_tables)


def _add_figure_callbacks(application: Dash, runs: dict[str, LiveRun], after_tables: list[Input]) -> None:
    drawn_from = [Input("address", "search"), Input("version", "data")]

    @application.callback(
        Output("drawn", "children"),
        Output("shown-figure", "data"),
        *drawn_from,
        *after_tables,
        State("shown-figure", "data"),
    )
    def draw_figure(search: str | None, _: Any, _tables: Any, shown: list[Any] | None) -> tuple[Any, Any]:
        state = read_address(search)
        run = _run_of(runs, state)
        name = state.figure if state.figure in FIGURES else ViewState().figure
        wanted = [run.key, run.version, name, write_address(_choice(state))]
        if wanted == shown:
            raise PreventUpdate  # the page would draw the same again, which takes longer than all the rest
        figure, caption = _figure(run.study, _choice(state), name)
        graph = dcc.Graph(
            figure=figure, config=GRAPH, id="chosen-figure", style={"height": f"{figure.layout.height}px"}
        )
        return [graph, html.P(caption, className="caption")], wanted

    @application.callback(
        Output("download", "data"), Input("export", "n_clicks"), State("address", "search"), prevent_initial_call=True
    )
    def export(_: int | None, search: str | None) -> dict[str, Any]:
        """The selected trials, or the listed ones where none is selected, with all columns in full precision."""
        state = read_address(search)
        run = _run_of(runs, state)
        rows, trials = _chosen(run.study, _choice(state)), run.study.trials
        wanted = list(state.selected) or sorted_trials(rows, state)["trial_id"].tolist()
        exported = trials.set_index("trial_id").reindex([each for each in wanted if each in set(trials["trial_id"])])
        return {"content": exported.reset_index().to_csv(index=False, lineterminator="\n"), "filename": "trials.csv"}
