"""The command ``wbc-study``: its commands in the order of its help, and how it ends."""

from __future__ import annotations

import signal
import sys
import traceback
from typing import TYPE_CHECKING, Any, NoReturn

import typer

from study.commands import configs, data, doctor, jobs, models, studies
from study.commands.options import DONE, FAILED, FAILED_KNOWINGLY, USAGE

if TYPE_CHECKING:
    from collections.abc import Callable

COMMANDS: dict[str, Callable[..., None]] = {
    "run": studies.run,
    "submit": jobs.submit,
    "recipe": jobs.recipe,
    "status": studies.status,
    "list": studies.list_runs,
    "doctor": doctor.doctor,
    "report": studies.report,
    "explore": studies.explore,
    "predict": models.predict,
    "evaluate": models.evaluate,
    "export": models.export,
    "export-tracking": studies.export_tracking,
    "replay": models.replay,
    "clean": studies.clean,
    "fetch": studies.fetch,
}
"""Every command in the order of the help; the groups follow."""

GROUPS = {"data": data.data_app, "config": configs.config_app, "job": jobs.job_app}
"""Every group of commands in the order of the help."""

app = typer.Typer(
    name="wbc-study",
    help="How much do features pretrained on histology help to classify white blood cells, at each amount of labelled data?",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)
for _name, _command in COMMANDS.items():
    app.command(_name)(_command)
for _name, _group in GROUPS.items():
    app.add_typer(_group, name=_name)


def main() -> NoReturn:
    """Run the command line; never returns."""
    from study.errors import RayLost, StudyFailed, UsageError
    from study.execution.supervisor import is_supervised

    # Ctrl-C too: a shell starts commands in the background with it ignored, and Python leaves that as it is.
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, _interrupt)
    try:
        app()
        code = DONE
    except SystemExit as ending:
        code = int(ending.code or DONE)
    except UsageError as error:
        typer.echo(f"Error: {error}", err=True)
        code = USAGE
    except RayLost as error:
        typer.echo(f"Failed: {error}", err=True)
        sys.exit(FAILED)
    except (StudyFailed, OSError) as error:
        typer.echo(f"Failed: {error}", err=True)
        code = FAILED
    except ValueError as error:
        # The packages below know no common base; the heavy ones are imported only once something went wrong.
        from analysis.records.errors import StudyError
        from data_utils.errors import DataError
        from models.errors import WeightsError

        if isinstance(error, DataError | WeightsError | StudyError):
            typer.echo(f"Error: {error}", err=True)
            code = USAGE
        else:
            traceback.print_exc()
            code = FAILED
    except Exception:
        # A mistake of ours: shown whole, and not tried again.
        traceback.print_exc()
        code = FAILED
    sys.exit(FAILED_KNOWINGLY if code == FAILED and is_supervised() else code)


def _interrupt(*_: Any) -> NoReturn:
    raise KeyboardInterrupt
