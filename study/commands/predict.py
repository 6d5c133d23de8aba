"""What `wbc-study predict` prints and writes."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table
from rich.text import Text

from study.errors import UsageError
from study.inference.image_files import find_images
from study.inference.prediction import FilePredictions, predict
from study.terminal.progress import Progress

if TYPE_CHECKING:
    from study.storage.run_directory import RunDirectory

_SHOWN = 20
"""Files that are listed on the terminal, and unreadable ones."""

_FORMATS = (".csv", ".parquet")


def run_predict(
    directory: RunDirectory,
    images: Sequence[str],
    *,
    arm: str | None,
    seed: int | None,
    out: Path | None,
    overlays: Path | None,
    device: str | None,
    console: Console | None = None,
) -> bool:
    """Predict, show a little, write all.

    Returns:
        Whether any file could be read.

    Raises:
        UsageError: an image, arm, seed, device or output cannot be used.
    """
    if out is not None and out.suffix not in _FORMATS:
        raise UsageError(f"--out {out}: expected a file name that ends in {' or '.join(_FORMATS)}")
    paths = find_images(images)
    console = console or Console(highlight=False)
    done = 0

    def tell(count: int) -> None:
        nonlocal done
        done = count

    progress = Progress(console)
    with progress.phase("predict", lambda: f"{done:,}/{len(paths):,} images") as say:
        found = predict(directory, paths, arm=arm, seed=seed, device=device, overlays=overlays, tell=tell)
        read = len(paths) - len(found.unreadable)
        say(f"{read:,} images, {read / max(found.seconds, 1e-9):,.0f} a second")
    seeds = ", ".join(map(str, found.seeds))
    progress.say(
        f"{found.arm}, {'mean of the seeds' if len(found.seeds) > 1 else 'seed'} {seeds}; confidence calibrated with temperature"
        f" {found.temperature:.2f}, fitted on the study's validation images. Not for diagnosis."
    )
    _print_classes(found, console)
    _print_files(found, console)
    if out is not None:
        out.parent.mkdir(parents=True, exist_ok=True)
        if out.suffix == ".csv":
            found.table.to_csv(out, index=False)
        else:
            found.table.to_parquet(out, index=False)
        progress.say(f"Written: {out}")
    if overlays is not None and read:
        progress.say(f"Written: {overlays} ({read:,} pictures)")
    return read > 0


def _print_classes(found: FilePredictions, console: Console) -> None:
    read = found.table[found.table["error"] == ""]
    counts = read["class"].value_counts()
    if len(counts):
        console.print(Text(", ".join(f"{count:,} {name}" for name, count in counts.items())))


def _print_files(found: FilePredictions, console: Console) -> None:
    table = Table(box=SIMPLE_HEAD, pad_edge=False, padding=(0, 1, 0, 0))
    table.add_column("file", overflow="fold")
    table.add_column("class", no_wrap=True)
    table.add_column("confidence", justify="right", no_wrap=True)
    read = found.table[found.table["error"] == ""]
    for row in read.head(_SHOWN).to_dict("records"):
        table.add_row(Text(row["file"]), Text(row["class"]), f"{100 * row['confidence']:.1f} %")
    if len(read):
        console.print(table)
    if len(read) > _SHOWN:
        console.print(f"and {len(read) - _SHOWN:,} more; --out writes all of them")
    unreadable = found.unreadable
    if len(unreadable):
        console.print(f"{len(unreadable):,} files cannot be read:")
        for row in unreadable.head(_SHOWN).to_dict("records"):
            console.print(Text(f"  {row['file']}: {row['error']}"), soft_wrap=True)
        if len(unreadable) > _SHOWN:
            console.print(f"  and {len(unreadable) - _SHOWN:,} more")
