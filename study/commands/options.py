"""What several commands share: arguments, options, exit codes, and how a study is found by its name."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from study.storage.run_directory import RunDirectory

DONE, FAILED, USAGE = 0, 1, 2
"""Exit codes: done; failed; wrong usage, configuration or data. `INTERRUPTED` is the supervisor's too."""

FAILED_KNOWINGLY = 70
"""Exit code by which the supervised process says that the study has failed. Ray's native code ends a process with 1 when it has
lost its daemons, and so does anything that is nobody's intention: a new process may continue then."""

ConfigArgument = Annotated[
    str, typer.Argument(metavar="PRESET_OR_YAML", help="quick, local, published, cluster, or a YAML file.")
]
RunArgument = Annotated[
    str, typer.Argument(metavar="RUN", help="Name of a study below --root, or the path or address of its folder.")
]
RootOption = Annotated[
    str,
    typer.Option(
        "--root",
        envvar="WBC_STUDY_ROOT",
        help="Folder that holds the run directories, or s3://bucket/prefix in an object store.",
    ),
]
NameOption = Annotated[str | None, typer.Option("--name", help="Name of the study; the preset's or file's without it.")]
SetOption = Annotated[
    list[str] | None,
    typer.Option("--set", metavar="KEY=VALUE", help="Override a setting, e.g. search.trials_per_arm=8. Repeatable."),
]

DEFAULT_ROOT = "ray_results"
"""Root where neither `--root` nor its environment variable names one."""


def find_run(run: str, root: str) -> RunDirectory:
    """The run directory of a study, opened for reading.

    Args:
        run: Name of a study below `root`, or the path or address of its folder.
        root: Folder or address that holds the run directories.

    Raises:
        UsageError: there is no such study; the message lists those that are there.
    """
    from analysis.records.object_store import is_remote, join_location
    from study.errors import UsageError
    from study.storage.run_directory import RunDirectory, find_runs

    for location in (run,) if is_remote(run) else (join_location(root, run), Path(run)):
        directory = RunDirectory.to_read(location)
        if directory.exists:
            return directory
    known = [directory.folder.name for directory in find_runs(root)]
    raise UsageError(f"{run!r}: no such study in {root}. Found there: {', '.join(known) or 'none'}")
