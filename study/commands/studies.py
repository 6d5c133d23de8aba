"""Commands for a whole study: run it, look at it, report it, free its disk, fetch it."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from analysis.records.schema import Phase
from study.commands.data import prepare_images
from study.commands.options import (
    DEFAULT_ROOT,
    DONE,
    FAILED,
    FAILED_KNOWINGLY,
    USAGE,
    ConfigArgument,
    NameOption,
    RootOption,
    RunArgument,
    SetOption,
    find_run,
)
from study.execution.supervisor import INTERRUPTED, die_with_supervisor, is_supervised, supervise

if TYPE_CHECKING:
    from collections.abc import Callable

    from analysis.records.study import Study
    from study.config.study import StudyConfig


def run(
    config: ConfigArgument,
    name: NameOption = None,
    root: RootOption = DEFAULT_ROOT,
    overrides: SetOption = None,
    address: Annotated[
        str | None, typer.Option(help="Of a Ray cluster, or `auto`; without it resources.address, or Ray starts here.")
    ] = None,
    restart: Annotated[
        bool, typer.Option("--restart", help="Set an existing study of that name aside and start over.")
    ] = False,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Say what would be done, in what time and memory, and stop.")
    ] = False,
) -> None:
    """Run a study, or continue one that was interrupted. A finished one prints its tables."""
    from analysis.records.object_store import join_location
    from study.config.files import load_config

    settings = load_config(config, overrides or (), name)
    if dry_run:
        from study.pipeline.dry_run import print_estimate

        print_estimate(settings, root, restart=restart)
        return
    if not is_supervised():
        if restart:
            _set_aside(join_location(root, settings.name), settings)
        raise typer.Exit(_run_supervised())
    die_with_supervisor()
    _run_in_this_process(settings, root, address)


def status(run_: RunArgument, root: RootOption = DEFAULT_ROOT) -> None:
    """Phases and arms of a study, running or not."""
    from rich.console import Console

    from analysis.records.study import load_study
    from study.terminal.progress import arm_table
    from study.terminal.status import arm_progress, describe_phases

    directory = find_run(run_, root)
    study = load_study(directory.location)
    console = Console(highlight=False)
    console.print(f"{study.name}: {describe_phases(directory)}", markup=False, soft_wrap=True)
    for phase in (Phase.SEARCH, Phase.CONFIRM):
        arms = arm_progress(study, phase)
        if arms:
            console.print(f"\n{phase}", markup=False)
            console.print(arm_table(arms, study.metric))


def list_runs(root: RootOption = DEFAULT_ROOT) -> None:
    """Studies below --root."""
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    from study.errors import UsageError
    from study.storage.run_directory import find_runs
    from study.terminal.status import describe_phases

    found = find_runs(root)
    if not found:
        typer.echo(f"No studies in {root}. `wbc-study run quick` makes one.")
        return
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0))
    table.add_column("study")
    table.add_column("state")
    for directory in found:
        try:
            state = describe_phases(directory)
        except UsageError:
            # One damaged study does not hide the others; `status` says more of it.
            state = "damaged: manifest.json is not readable"
        table.add_row(Text(directory.folder.name), Text(state))
    Console(highlight=False).print(table)


def report(
    run_: RunArgument,
    root: RootOption = DEFAULT_ROOT,
    out: Annotated[
        Path | None, typer.Option("--out", help="Folder to write; `report` in the run directory without it.")
    ] = None,
    no_images: Annotated[
        bool, typer.Option("--no-images", help="Leave out what shows or names a picture of the data.")
    ] = False,
    archive: Annotated[bool, typer.Option("--zip", help="Also pack the report into one file, to be mailed.")] = False,
    static_images: Annotated[
        str | None,
        typer.Option(
            "--static-images", metavar="svg|png|pdf", help="Also write every figure as a file of this format."
        ),
    ] = None,
) -> None:
    """Write tables and HTML report of a study anew and print the tables."""
    from analysis.records.study import load_study
    from analysis.report.page import write_report, zip_report

    directory = find_run(run_, root)
    study = load_study(directory.location)
    index = write_report(study, out, images=not no_images, static=static_images)
    if out is None:
        directory.publish_below(index.parent)
    _print_results(study, index)
    if archive:
        typer.echo(f"Archive: {zip_report(index.parent)}")


def explore(
    runs: Annotated[
        list[str], typer.Argument(metavar="RUN...", help="Studies below --root, or paths of their folders.")
    ],
    root: RootOption = DEFAULT_ROOT,
    port: Annotated[int, typer.Option(min=1, max=65535, help="Of this machine's loopback.")] = 8050,
    data: Annotated[
        Path | None, typer.Option("--data", help="Folder of the images, when they are no longer at data.root.")
    ] = None,
) -> None:
    """Look at one or several studies in the browser, also while they run. Ctrl-C ends it."""
    from analysis.explorer.application import LOOPBACK, make_application, serve
    from analysis.records.object_store import is_remote, pull_study

    locations = [find_run(run_, root).location for run_ in runs]
    # A study in an object store is shown as it is at this moment.
    application = make_application([pull_study(str(at)) if is_remote(at) else Path(at) for at in locations], data)
    typer.echo(f"http://{LOOPBACK}:{port}/ shows {', '.join(runs)}; Ctrl-C ends it.")
    try:
        serve(application, port)
    except KeyboardInterrupt:
        typer.echo("Ended.")


def clean(
    run_: RunArgument,
    root: RootOption = DEFAULT_ROOT,
    everything: Annotated[bool, typer.Option("--all", help="Remove the whole study, records and report too.")] = False,
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask.")] = False,
) -> None:
    """Free the disk: remove a study's checkpoints, or with --all the whole study."""
    from study.errors import UsageError

    directory = find_run(run_, root)
    if directory.is_running():
        raise UsageError(f"{directory.folder}: the study is running; stop it first")
    targets = [directory.folder] if everything else [directory.checkpoints, directory.folder / ".scratch"]
    files = {name: size for target in targets for name, size in directory.sizes(target).items()}
    if not files:
        typer.echo(f"Nothing to remove in {directory.location}.")
        return
    size = sum(files.values())
    what = directory.location if everything else f"the checkpoints of {directory.location}"
    question = f"Remove {what} ({len(files)} files, {size / 2**20:.1f} MiB)?"
    if not everything and not directory.is_complete(Phase.CONFIRM):
        question = "This study is not finished: interrupted trials would start again. " + question
    if not yes and not typer.confirm(question):
        raise typer.Exit(FAILED)
    with directory.lock():
        for target in targets:
            directory.remove_folder(target)
    typer.echo(f"Removed {size / 2**20:.1f} MiB.")


def fetch(
    run_: RunArgument,
    root: RootOption = DEFAULT_ROOT,
    out: Annotated[
        Path | None, typer.Option("--out", help="A new folder; the study's name in this folder without it.")
    ] = None,
    checkpoints: Annotated[bool, typer.Option("--checkpoints", help="Also the weights of trials.")] = False,
) -> None:
    """Copy a study from an object store: records, report, encoders."""
    from study.errors import UsageError

    directory = find_run(run_, root)
    if directory.store is None:
        raise UsageError(
            f"{directory.location} is a folder already: copy it. Only what was written below --root s3://bucket/prefix is fetched"
        )
    target = out or Path(directory.folder.name)
    if target.exists() and any(target.iterdir()):
        raise UsageError(f"{target}: found files there. Choose another folder with --out")
    hidden = (".",) if checkpoints else (".", "checkpoints/")
    directory.store.download_tree(target, leave=lambda key: key.startswith(hidden))
    typer.echo(f"Written: {target}")


def export_tracking(
    run_: RunArgument,
    to: Annotated[str, typer.Option("--to", metavar="TRACKER", help="tensorboard, mlflow or wandb (offline).")],
    root: RootOption = DEFAULT_ROOT,
    out: Annotated[
        Path | None, typer.Option("--out", help="A new folder; `tracking/TRACKER` in the run directory without it.")
    ] = None,
) -> None:
    """Write a study's records, finished or not, for TensorBoard, MLflow or Weights & Biases."""
    from analysis.records.study import load_study
    from analysis.tracking.export import export_tracking as export

    typer.echo(f"Written: {export(load_study(find_run(run_, root).location), to, out)}")


def _run_supervised() -> int:
    """Give this process's command line, without `--restart`, to a supervised process; returns the exit code."""
    arguments = [argument for argument in sys.argv[1:] if argument != "--restart"]
    final = {DONE: DONE, FAILED_KNOWINGLY: FAILED, USAGE: USAGE, INTERRUPTED: INTERRUPTED}
    return supervise(arguments, typer.echo, final)


def _run_in_this_process(settings: StudyConfig, root: str, address: str | None) -> None:
    """Run the study, print its tables, and say what is missing of what was asked for."""
    from analysis.records.object_store import join_location
    from study.pipeline.outcome import lost_trials, shortfalls
    from study.pipeline.run import run_study
    from study.terminal.progress import Progress

    progress = Progress()
    _say_what_happens(progress.say, join_location(root, settings.name), settings)
    try:
        study = run_study(settings, root, address=address, progress=progress)
    except KeyboardInterrupt:
        typer.echo("Interrupted. The same command continues where this one stopped.", err=True)
        raise typer.Exit(INTERRUPTED) from None
    _print_results(study)
    for line in lost_trials(study):
        typer.echo(line)
    missing = shortfalls(study)
    if missing:
        typer.echo("This study is not what was asked for:\n  " + "\n  ".join(missing), err=True)
        raise typer.Exit(FAILED)


def _set_aside(location: Path | str, settings: StudyConfig) -> None:
    """Keep the study that is there under another name, so that a new one can begin."""
    from study.storage.run_directory import RunDirectory
    from study.terminal.status import describe_phases

    directory = RunDirectory.to_read(location)
    if not directory.exists:
        return
    # Images that cannot be used must not cost the old study its name.
    prepare_images(settings)
    state = describe_phases(directory)
    epochs = len(directory.sizes(directory.records / "epochs"))
    typer.echo(f"{directory.location} holds a study ({state}, {epochs} segments of epochs).")
    typer.echo(f"It is set aside as {directory.set_aside()}; nothing of it is used or deleted.")


def _say_what_happens(say: Callable[[str], None], location: Path | str, settings: StudyConfig) -> None:
    """Say whether a study begins, continues, is extended or is finished.

    Raises:
        UsageError: another study is there.
    """
    from study.storage.run_directory import RunDirectory
    from study.storage.same_study import check_same_study

    directory = RunDirectory.to_read(location)
    grown = check_same_study(directory, settings.with_absolute_paths())
    if grown:
        say(f"Extending {location}: {'; '.join(grown)}")
    elif directory.is_complete(Phase.REPORT):
        say(f"{location} is a finished study; these are its tables.")
    else:
        say(f"{'Continuing' if directory.exists else 'Writing to'} {location}")


def _print_results(study: Study, index: Path | None = None) -> None:
    """Print the main tables and where the report is."""
    from analysis.report.terminal import print_tables
    from analysis.tables.registry import tables

    # The verdict is what one wants to know: it stands at the end, where it is not scrolled away.
    shown = [table for table in tables(study) if not table.appendix]
    print_tables(sorted(shown, key=lambda table: table.front))
    typer.echo(f"Report: {index or study.path / 'report' / 'index.html'}")
