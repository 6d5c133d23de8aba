"""Commands that look at the images of a study before it runs."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from study.commands.options import ConfigArgument, SetOption

if TYPE_CHECKING:
    from data_utils.arrays import ImageArrays
    from study.config.study import StudyConfig

data_app = typer.Typer(help="Look at the images of a study before running it.", no_args_is_help=True)


@data_app.command("audit")
def data_audit(config: ConfigArgument, overrides: SetOption = None) -> None:
    """Images per split and class, unreadable files, identical images and leaks."""
    from rich.console import Console

    from data_utils.audit import audit
    from study.config.files import load_config
    from study.terminal.audit_tables import audit_tables

    settings = load_config(config, [*(overrides or ()), "data.unreadable=skip"])
    arrays = prepare_images(settings)
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


def prepare_images(settings: StudyConfig) -> dict[str, ImageArrays]:
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
