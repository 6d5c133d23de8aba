"""Commands for the models of a finished study: predict with them, evaluate, export and replay them."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from study.commands.options import DEFAULT_ROOT, FAILED, RootOption, RunArgument, find_run

ArmOption = Annotated[str | None, typer.Option("--arm", help="Such as WBC_100/sum; the best on validation without it.")]
SeedOption = Annotated[
    int | None,
    typer.Option("--seed", help="Of one confirmed run; without it the mean probabilities of all of the arm."),
]
DeviceOption = Annotated[
    str | None, typer.Option("--device", help="cpu or cuda; without it the GPU where there is one.")
]


def predict(
    run_: RunArgument,
    images: Annotated[
        list[str],
        typer.Argument(metavar="IMAGES...", help="Image files, folders with all that is below them, or globs."),
    ],
    root: RootOption = DEFAULT_ROOT,
    arm: ArmOption = None,
    seed: SeedOption = None,
    out: Annotated[Path | None, typer.Option("--out", help="File for all probabilities: .csv or .parquet.")] = None,
    overlays: Annotated[
        Path | None,
        typer.Option(
            "--overlays", help="Folder for a picture of each image with what speaks for its class (Grad-CAM)."
        ),
    ] = None,
    device: DeviceOption = None,
) -> None:
    """Classify new images with an arm's confirmed models. Not for diagnosis."""
    from study.commands.predict import run_predict

    directory = find_run(run_, root)
    directory.pull(checkpoints=True)
    if not run_predict(directory, images, arm=arm, seed=seed, out=out, overlays=overlays, device=device):
        raise typer.Exit(FAILED)


def evaluate(
    run_: RunArgument,
    data: Annotated[
        Path, typer.Argument(metavar="DATA", help="Folder with <Class>/, data/<Class>/ or <split>/data/<Class>/.")
    ],
    root: RootOption = DEFAULT_ROOT,
    name: Annotated[str | None, typer.Option("--name", help="Of the evaluation; the folder's without it.")] = None,
    device: DeviceOption = None,
) -> None:
    """Score the confirmed models on another labelled data set, say of another microscope, and write the report anew."""
    from analysis.records.study import load_study
    from analysis.report.page import write_report
    from analysis.report.terminal import print_tables
    from analysis.tables.evaluation import evaluation_tables
    from study.inference.evaluation import evaluate as evaluate_on
    from study.terminal.progress import Progress

    directory = find_run(run_, root)
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


def export(
    run_: RunArgument,
    root: RootOption = DEFAULT_ROOT,
    arm: ArmOption = None,
    seed: SeedOption = None,
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

    directory = find_run(run_, root)
    directory.pull(checkpoints=True)
    images = find_images(check) if check else []
    with Progress().phase("export") as say:
        written = export_model(directory, arm=arm, seed=seed, out=out, images=images)
        if out is None:
            directory.publish_below(directory.folder / "exports")
        say(f"differs from PyTorch by at most {written.difference:.1g} in a probability on {written.images:,} images")
    typer.echo(f"Written: {written.model} ({written.model.stat().st_size / 2**20:.1f} MiB)\nWritten: {written.card}")


def replay(
    run_: RunArgument,
    trial: Annotated[str, typer.Argument(metavar="TRIAL", help="Id of a trial, or its beginning.")],
    root: RootOption = DEFAULT_ROOT,
) -> None:
    """Train a trial again and compare every epoch bit for bit with its record."""
    from study.training.replay import replay as replay_trial

    different = 0
    for epoch in replay_trial(find_run(run_, root), trial):
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
