"""The command ``wbc-study``."""

from __future__ import annotations

import signal
import sys
import traceback
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, NoReturn

import typer

from analysis.records.schema import Phase
from study.commands.jobs import NameOption, SetOption, job_app, recipe, submit
from study.execution.supervisor import INTERRUPTED

if TYPE_CHECKING:
    from collections.abc import Callable

    from data_utils.cache import ImageArrays
    from study.config.study import StudyConfig
    from study.storage.run_directory import RunDirectory

DONE, FAILED, USAGE = 0, 1, 2
"""Exit codes: done; failed; wrong usage, configuration or data. `INTERRUPTED` is the supervisor's too."""

FAILED_KNOWINGLY = 70
"""With which the supervised process says that the study has failed. Ray's native code ends a process with 1 when it has lost
its daemons, and so does anything that is nobody's intention: a new process may continue then."""

app = typer.Typer(
    name="wbc-study",
    help="How much do features pretrained on histology help to classify white blood cells, at each amount of labelled data?",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)
data_app = typer.Typer(help="Look at the images of a study before running it.", no_args_is_help=True)
config_app = typer.Typer(help="Show what can be configured.", no_args_is_help=True)
app.add_typer(data_app, name="data")
app.add_typer(config_app, name="config")
app.add_typer(job_app, name="job")

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

_ROOT = "ray_results"


@app.command()
def run(
    config: ConfigArgument,
    name: NameOption = None,
    root: RootOption = _ROOT,
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
        from study.pipeline.estimate import print_estimate

        print_estimate(settings, root, restart=restart)
        return
    from study.execution.supervisor import die_with_supervisor, is_supervised, supervise

    if not is_supervised():
        if restart:
            _set_aside(join_location(root, settings.name), settings)
        arguments = [argument for argument in sys.argv[1:] if argument != "--restart"]
        final = {DONE: DONE, FAILED_KNOWINGLY: FAILED, USAGE: USAGE, INTERRUPTED: INTERRUPTED}
        raise typer.Exit(supervise(arguments, typer.echo, final))
    die_with_supervisor()
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
    from study.pipeline.outcome import lost_trials, shortfalls

    for line in lost_trials(study):
        typer.echo(line)
    missing = shortfalls(study)
    if missing:
        typer.echo("This study is not what was asked for:\n  " + "\n  ".join(missing), err=True)
        raise typer.Exit(FAILED)


app.command()(submit)
app.command()(recipe)


@app.command()
def status(run_: RunArgument, root: RootOption = _ROOT) -> None:
    """Phases and arms of a study, running or not."""
    from rich.console import Console

    from analysis import load_study
    from study.terminal.progress import arm_table
    from study.terminal.status import arm_progress, describe_phases

    directory = _find_run(run_, root)
    study = load_study(directory.location)
    console = Console(highlight=False)
    console.print(f"{study.name}: {describe_phases(directory)}", markup=False, soft_wrap=True)
    for phase in (Phase.SEARCH, Phase.CONFIRM):
        arms = arm_progress(study, phase)
        if arms:
            console.print(f"\n{phase}", markup=False)
            console.print(arm_table(arms, study.metric))


@app.command("list")
def list_runs(root: RootOption = _ROOT) -> None:
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


@app.command()
def doctor(
    root: RootOption = _ROOT,
    quick: Annotated[bool, typer.Option("--quick", help="Do not measure what the presets would take.")] = False,
) -> None:
    """What this machine offers (CPU, memory, disk, GPU, Ray, browser) and what a study on it would take."""
    from analysis.records.object_store import is_remote
    from data_utils.config import DataConfig, cache_root
    from study.commands.doctor import BAD, estimate_presets, examine, print_examination

    cache = cache_root(DataConfig())
    # Of a study in an object store this machine's disk holds a copy.
    findings = examine(cache if is_remote(root) else Path(root), cache)
    print_examination(findings, [] if quick else estimate_presets())
    if any(finding.state == BAD for finding in findings):
        raise typer.Exit(FAILED)


@app.command()
def report(
    run_: RunArgument,
    root: RootOption = _ROOT,
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
    from analysis import load_study
    from analysis.report.page import write_report, zip_report

    directory = _find_run(run_, root)
    study = load_study(directory.location)
    index = write_report(study, out, images=not no_images, static=static_images)
    if out is None:
        directory.publish_below(index.parent)
    _print_results(study, index)
    if archive:
        typer.echo(f"Archive: {zip_report(index.parent)}")


@app.command()
def explore(
    runs: Annotated[
        list[str], typer.Argument(metavar="RUN...", help="Studies below --root, or paths of their folders.")
    ],
    root: RootOption = _ROOT,
    port: Annotated[int, typer.Option(min=1, max=65535, help="Of this machine's loopback.")] = 8050,
    data: Annotated[
        Path | None, typer.Option("--data", help="Folder of the images, when they are no longer at data.root.")
    ] = None,
) -> None:
    """Look at one or several studies in the browser, also while they run. Ctrl-C ends it."""
    from analysis.explorer.application import LOOPBACK, make_application, serve
    from analysis.records.object_store import is_remote, pull_study

    locations = [_find_run(run_, root).location for run_ in runs]
    # Of a study in an object store, what it has at this moment.
    application = make_application([pull_study(str(at)) if is_remote(at) else Path(at) for at in locations], data)
    typer.echo(f"http://{LOOPBACK}:{port}/ shows {', '.join(runs)}; Ctrl-C ends it.")
    try:
        serve(application, port)
    except KeyboardInterrupt:
        typer.echo("Ended.")


@app.command()
def predict(
    run_: RunArgument,
    images: Annotated[
        list[str],
        typer.Argument(metavar="IMAGES...", help="Image files, folders with all that is below them, or globs."),
    ],
    root: RootOption = _ROOT,
    arm: Annotated[
        str | None, typer.Option("--arm", help="Such as WBC_100/sum; the best on validation without it.")
    ] = None,
    seed: Annotated[
        int | None,
        typer.Option("--seed", help="Of one confirmed run; without it the mean probabilities of all of the arm."),
    ] = None,
    out: Annotated[Path | None, typer.Option("--out", help="File for all probabilities: .csv or .parquet.")] = None,
    overlays: Annotated[
        Path | None,
        typer.Option(
            "--overlays", help="Folder for a picture of each image with what speaks for its class (Grad-CAM)."
        ),
    ] = None,
    device: Annotated[
        str | None, typer.Option("--device", help="cpu or cuda; without it the GPU where there is one.")
    ] = None,
) -> None:
    """Classify new images with an arm's confirmed models. Not for diagnosis."""
    from study.commands.predict import run_predict

    directory = _find_run(run_, root)
    directory.pull(checkpoints=True)
    if not run_predict(directory, images, arm=arm, seed=seed, out=out, overlays=overlays, device=device):
        raise typer.Exit(FAILED)


@app.command()
def evaluate(
    run_: RunArgument,
    data: Annotated[
        Path, typer.Argument(metavar="DATA", help="Folder with <Class>/, data/<Class>/ or <split>/data/<Class>/.")
    ],
    root: RootOption = _ROOT,
    name: Annotated[str | None, typer.Option("--name", help="Of the evaluation; the folder's without it.")] = None,
    device: Annotated[
        str | None, typer.Option("--device", help="cpu or cuda; without it the GPU where there is one.")
    ] = None,
) -> None:
    """Score the confirmed models on another labelled data set, say of another microscope, and write the report anew."""
    from analysis import load_study
    from analysis.report.page import write_report
    from analysis.report.terminal import print_tables
    from analysis.tables.evaluation import evaluation_tables
    from study.inference.evaluation import evaluate as evaluate_on
    from study.terminal.progress import Progress

    directory = _find_run(run_, root)
    directory.pull(checkpoints=True)
    done: list[tuple[int, int]] = [(0, 0)]
    with Progress().phase("evaluate", lambda: "{:,}/{:,} images".format(*done[-1])) as say:
        stored = evaluate_on(directory, data, name=name, device=device, tell=lambda *counts: done.append(counts))
        say(f"{done[-1][1]:,} images")
    study = load_study(directory.folder)
    index = write_report(study)
    directory.publish_below(directory.folder / "evaluations")
    directory.publish_below(directory.report)
    print_tables(table for table in evaluation_tables(study) if table.title.startswith(f"Out of domain: {stored}"))
    typer.echo(f"Stored: {directory.folder / 'evaluations' / stored}\nReport: {index}")


@app.command()
def export(
    run_: RunArgument,
    root: RootOption = _ROOT,
    arm: Annotated[
        str | None, typer.Option("--arm", help="Such as WBC_100/sum; the best on validation without it.")
    ] = None,
    seed: Annotated[
        int | None,
        typer.Option("--seed", help="Of one confirmed run; without it the mean probabilities of all of the arm."),
    ] = None,
    out: Annotated[
        Path | None, typer.Option("--out", help="Folder; `exports/ARM` in the run directory without it.")
    ] = None,
    check: Annotated[
        list[str] | None,
        typer.Option("--check", metavar="IMAGES", help="Files, folder or glob to compare with PyTorch on. Repeatable."),
    ] = None,
) -> None:
    """Write an arm's confirmed models as ONNX, with the preparation of images inside, and a model card."""
    from study.inference.image_files import find_images
    from study.inference.model_export import export_model
    from study.terminal.progress import Progress

    directory = _find_run(run_, root)
    directory.pull(checkpoints=True)
    images = find_images(check) if check else []
    with Progress().phase("export") as say:
        written = export_model(directory, arm=arm, seed=seed, out=out, images=images)
        if out is None:
            directory.publish_below(directory.folder / "exports")
        say(f"differs from PyTorch by at most {written.difference:.1g} in a probability on {written.images:,} images")
    typer.echo(f"Written: {written.model} ({written.model.stat().st_size / 2**20:.1f} MiB)\nWritten: {written.card}")


@app.command("export-tracking")
def export_tracking(
    run_: RunArgument,
    to: Annotated[str, typer.Option("--to", metavar="TRACKER", help="tensorboard, mlflow or wandb (offline).")],
    root: RootOption = _ROOT,
    out: Annotated[
        Path | None, typer.Option("--out", help="A new folder; `tracking/TRACKER` in the run directory without it.")
    ] = None,
) -> None:
    """Write a study's records, finished or not, for TensorBoard, MLflow or Weights & Biases."""
    from analysis import load_study
    from analysis.tracking.export import export_tracking as export

    typer.echo(f"Written: {export(load_study(_find_run(run_, root).location), to, out)}")


@app.command()
def replay(
    run_: RunArgument,
    trial: Annotated[str, typer.Argument(metavar="TRIAL", help="Id of a trial, or its beginning.")],
    root: RootOption = _ROOT,
) -> None:
    """Train a trial again and compare every epoch bit for bit with its record."""
    from study.training.replay import replay as replay_trial

    different = 0
    for epoch in replay_trial(_find_run(run_, root), trial):
        shown = (
            f"epoch {epoch.epoch:3d}  train loss {epoch.replayed['train_loss']}  val loss {epoch.replayed['val_loss']}"
        )
        if epoch.identical:
            typer.echo(f"{shown}  identical")
        else:
            different += 1
            wrong = [key for key, value in epoch.replayed.items() if epoch.recorded[key] != value]
            typer.echo(f"{shown}  differs in {', '.join(f'{key} (recorded {epoch.recorded[key]})' for key in wrong)}")
    if different:
        typer.echo(
            f"{different} epochs differ. The same kind of CPU, versions and number of threads are needed: see manifest.json."
        )
        raise typer.Exit(FAILED)
    typer.echo("Every epoch is identical.")


@app.command()
def clean(
    run_: RunArgument,
    root: RootOption = _ROOT,
    everything: Annotated[bool, typer.Option("--all", help="Remove the whole study, records and report too.")] = False,
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask.")] = False,
) -> None:
    """Free the disk: remove a study's checkpoints, or with --all the whole study."""
    from study.errors import UsageError

    directory = _find_run(run_, root)
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


@app.command()
def fetch(
    run_: RunArgument,
    root: RootOption = _ROOT,
    out: Annotated[
        Path | None, typer.Option("--out", help="A new folder; the study's name in this folder without it.")
    ] = None,
    checkpoints: Annotated[bool, typer.Option("--checkpoints", help="Also the weights of trials.")] = False,
) -> None:
    """Copy a study from an object store: records, report, encoders."""
    from study.errors import UsageError

    directory = _find_run(run_, root)
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


@data_app.command("audit")
def data_audit(config: ConfigArgument, overrides: SetOption = None) -> None:
    """Images per split and class, unreadable files, identical images and leaks."""
    from rich.console import Console

    from data_utils.audit import audit
    from study.config.files import load_config
    from study.terminal.audit_tables import audit_tables

    settings = load_config(config, [*(overrides or ()), "data.unreadable=skip"])
    arrays = _prepare_images(settings)
    console = Console(highlight=False)
    for table in audit_tables(audit(arrays, settings.arms.fractions, settings.seed)):
        console.print(table, markup=False, soft_wrap=isinstance(table, str))


@data_app.command("preview")
def data_preview(
    config: ConfigArgument,
    overrides: SetOption = None,
    out: Annotated[Path, typer.Option(help="Folder for the pictures.")] = Path("preview"),
) -> None:
    """Write a contact sheet of each image set."""
    from data_utils.preview import preview
    from data_utils.sources.opening import open_source
    from study.config.files import load_config
    from study.design.arms import trained_encoders
    from study.storage.local_images import with_local_data

    settings = load_config(config, overrides or ())
    out.mkdir(parents=True, exist_ok=True)
    for domain in ("wbc", *trained_encoders(settings)):
        typer.echo(preview(open_source(with_local_data(settings.data), domain), out / f"{domain}.png"))


@config_app.command("show")
def config_show(config: ConfigArgument, overrides: SetOption = None) -> None:
    """A configuration, complete, as YAML."""
    from study.config.files import dump_config, load_config

    typer.echo(dump_config(load_config(config, overrides or ())), nl=False)


@config_app.command("schema")
def config_schema() -> None:
    """Every setting with its meaning, as JSON schema."""
    import json

    from study.config.study import StudyConfig

    typer.echo(json.dumps(StudyConfig.model_json_schema(), indent=2))


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


def _find_run(run_: str, root: str) -> RunDirectory:
    from analysis.records.object_store import is_remote, join_location
    from study.errors import UsageError
    from study.storage.run_directory import RunDirectory, find_runs

    for location in (run_,) if is_remote(run_) else (join_location(root, run_), Path(run_)):
        directory = RunDirectory.to_read(location)
        if directory.exists:
            return directory
    known = [directory.folder.name for directory in find_runs(root)]
    raise UsageError(f"{run_!r}: no such study in {root}. Found there: {', '.join(known) or 'none'}")


def _prepare_images(settings: StudyConfig) -> dict[str, ImageArrays]:
    """Decode the images of a study, or open them where they are decoded already, by domain."""
    from study.design.arms import trained_encoders
    from study.storage.local_images import open_images
    from study.terminal.progress import ImageProgress, Progress

    progress = ImageProgress()
    with Progress().phase("images", progress.describe) as tell:
        domains = ("wbc", *trained_encoders(settings))
        arrays = {domain: open_images(settings.data, domain, progress.of(domain)) for domain in domains}
        tell(", ".join(f"{len(images):,} {domain}" for domain, images in arrays.items()))
    return arrays


def _set_aside(location: Path | str, settings: StudyConfig) -> None:
    from study.storage.run_directory import RunDirectory
    from study.terminal.status import describe_phases

    directory = RunDirectory.to_read(location)
    if not directory.exists:
        return
    # Images that cannot be used must not cost the old study its name.
    _prepare_images(settings)
    state = describe_phases(directory)
    epochs = len(directory.sizes(directory.records / "epochs"))
    typer.echo(f"{directory.location} holds a study ({state}, {epochs} segments of epochs).")
    typer.echo(f"It is set aside as {directory.set_aside()}; nothing of it is used or deleted.")


def _say_what_happens(say: Callable[[str], None], location: Path | str, settings: StudyConfig) -> None:
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


def _print_results(study: Any, index: Path | None = None) -> None:
    from analysis.report.terminal import print_tables
    from analysis.tables.registry import tables

    # The verdict is what one wants to know: it stands at the end, where it is not scrolled away.
    shown = [table for table in tables(study) if not table.appendix]
    print_tables(sorted(shown, key=lambda table: table.name == "verdicts"))
    typer.echo(f"Report: {index or study.path / 'report' / 'index.html'}")
