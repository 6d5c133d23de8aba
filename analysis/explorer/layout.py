"""The page of the explorer before anything is drawn in it: filters on the left, a section for each view."""

from __future__ import annotations

from collections.abc import Mapping

from dash import dcc, html
from dash.development.base_component import Component

from analysis.explorer.aria import aria
from analysis.explorer.runs import LiveRun, read_versions
from analysis.explorer.setting_filters import numeric_settings, setting_fields
from analysis.explorer.trial_views import GRAPH
from analysis.explorer.view_state import METRICS
from analysis.figures.registry import FIGURES
from analysis.metrics import METRIC_TITLES
from analysis.records.schema import TrialStatus

_POLL = 2.0
"""Seconds between two looks at the records of a running study."""


def page_layout(runs: Mapping[str, LiveRun]) -> html.Div:
    """The page; its views are drawn by the callbacks.

    Args:
        runs: Key -> run, at least one; with several there is a choice of the run and a view that compares them.
    """
    return html.Div(
        [
            dcc.Location(id="address", refresh=False),
            dcc.Interval(id="clock", interval=1000 * _POLL),
            dcc.Store(id="version", data=read_versions(runs)),
            dcc.Store(id="lines"),
            dcc.Store(id="shown-trial"),
            dcc.Store(id="shown-figure"),
            dcc.Download(id="download"),
            html.Header([html.H1("wbc-study", id="name"), html.Span(id="live", role="status")]),
            html.Div(
                [
                    html.Aside(html.Div(_filters(runs), className="sticky"), **aria(label="Filters")),
                    html.Main(_views(several=len(runs) > 1)),
                ],
                className="layout",
            ),
        ]
    )


def _filters(runs: Mapping[str, LiveRun]) -> list[Component | None]:
    return [
        *_run_filter(runs),
        html.Label("Metric of the comparison", className="title"),
        dcc.RadioItems(
            id="metric",
            options=[{"label": METRIC_TITLES[name], "value": name} for name in METRICS],
            value=METRICS[0],
            className="options",
        ),
        html.Label("Status", className="title"),
        dcc.Checklist(
            id="statuses",
            options=[{"label": status.value, "value": status.value} for status in TrialStatus],
            className="options",
        ),
        html.Label("Arms", className="title"),
        dcc.Checklist(id="arms", options=[], className="options"),
        html.P("None ticked: all are shown.", className="caption"),
        html.Label("Settings of the search", className="title"),
        setting_fields(numeric_settings(run.study for run in runs.values())),
    ]


def _run_filter(runs: Mapping[str, LiveRun]) -> list[Component | None]:
    """The choice of the run; with a single run it is there for the callbacks, but not to be seen."""
    keys = list(runs)
    if len(keys) > 1:
        return [
            html.Label("Run", className="title", htmlFor="run"),
            dcc.RadioItems(id="run", options=keys, value=keys[0], className="options"),
        ]
    return [None, dcc.RadioItems(id="run", options=keys, value=keys[0], style={"display": "none"})]


def _views(*, several: bool) -> list[Component]:
    return [
        html.Section([html.H2("Comparison"), html.Div(id="comparison")]),
        html.Section([html.H2("Runs side by side"), html.Div(id="runs")])
        if several
        else html.Div(id="runs", hidden=True),
        _settings_section(),
        _trials_section(),
        html.Section([html.H2("Trial"), html.Div(id="trial")]),
        html.Section([html.H2("Images"), html.Div(id="pictures")]),
        _figure_section(),
    ]


def _settings_section() -> html.Section:
    return html.Section(
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
    )


def _trials_section() -> html.Section:
    actions = [
        html.Button("Export as CSV", id="export"),
        html.Button("Clear the selection", id={"kind": "clear", "value": "selected"}),
    ]
    return html.Section([html.H2("Trials"), html.Div(actions, className="actions"), html.Div(id="trials")])


def _figure_section() -> html.Section:
    figures = [
        {"label": entry.title, "value": name} for name, entry in FIGURES.items() if name != "parallel_coordinates"
    ]
    return html.Section(
        [
            html.H2("Figure of the chosen trials"),
            dcc.Dropdown(id="figure", options=figures, clearable=False, searchable=False),
            html.Div(id="drawn", className="graph"),
        ]
    )
