"""The Dash application and the server that shows it on loopback."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from urllib.parse import urlsplit

import flask
from dash import Dash

from analysis.explorer.layout import page_layout
from analysis.explorer.pictures import PictureFolder
from analysis.explorer.runs import LiveRun, open_runs
from analysis.explorer.state_callbacks import add_state_callbacks
from analysis.explorer.view_callbacks import add_view_callbacks
from analysis.records.errors import StudyError

LOOPBACK = "127.0.0.1"
_HOSTS = frozenset({"127.0.0.1", "localhost", "::1"})


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
    application.layout = page_layout(runs)
    folders = {key: PictureFolder(run.study, data) for key, run in runs.items()}
    _protect(application.server)
    _serve_pictures(application.server, runs, folders)
    add_state_callbacks(application, runs)
    add_view_callbacks(application, runs, folders)
    return application


def serve(application: Dash, port: int) -> None:
    """Serve the application on loopback until it is interrupted.

    Args:
        application: From `make_application`.
        port: Port of 127.0.0.1.

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
