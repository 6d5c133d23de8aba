"""``wbc-study doctor``: prints what this machine offers, and what a study on it would take."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from study.commands.options import DEFAULT_ROOT, FAILED, RootOption

if TYPE_CHECKING:
    from rich.console import Console
    from rich.table import Table

    from study.commands.machine import Finding
    from study.commands.preset_times import PresetTime


def doctor(
    root: RootOption = DEFAULT_ROOT,
    quick: Annotated[bool, typer.Option("--quick", help="Do not measure what the presets would take.")] = False,
) -> None:
    """What this machine offers (CPU, memory, disk, GPU, Ray, browser) and what a study on it would take."""
    from analysis.records.object_store import is_remote
    from data_utils.config import DataConfig, cache_root
    from study.commands.machine import BAD, examine
    from study.commands.preset_times import estimate_presets

    cache = cache_root(DataConfig())
    # This machine's disk holds a copy of what a study has in an object store.
    findings = examine(cache if is_remote(root) else Path(root), cache)
    print_examination(findings, [] if quick else estimate_presets())
    if any(finding.state == BAD for finding in findings):
        raise typer.Exit(FAILED)


def print_examination(findings: list[Finding], times: list[PresetTime], console: Console | None = None) -> None:
    """Print what was found, then what the presets would take."""
    from rich.console import Console

    console = console or Console(highlight=False)
    console.print(_findings_table(findings))
    if not times:
        return
    console.print()
    console.print(_times_table(times))
    console.print(
        "Measured just now, with whatever else runs here; early stopping makes a study shorter. For your own images:"
        " wbc-study run CONFIG --dry-run",
        markup=False,
    )


def _findings_table(findings: list[Finding]) -> Table:
    """One line for each thing that was looked at."""
    from rich.table import Table
    from rich.text import Text

    from study.commands.machine import BAD, GOOD, NOTE

    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), show_header=False)
    table.add_column(no_wrap=True)
    table.add_column(no_wrap=True)
    table.add_column(overflow="fold")
    styles = {GOOD: "green", NOTE: "yellow", BAD: "red"}
    for finding in findings:
        table.add_row(Text(finding.what), Text(finding.state, style=styles[finding.state]), Text(finding.found))
    return table


def _times_table(times: list[PresetTime]) -> Table:
    """One line for each preset."""
    from rich.table import Table

    from study.terminal.progress import format_duration

    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0))
    table.add_column("preset")
    for heading in ("images/s of a trial", "trials at once", "study at most"):
        table.add_column(heading, justify="right", no_wrap=True)
    table.add_column("on")
    for each in times:
        duration = format_duration(each.seconds)
        table.add_row(each.preset, f"{each.images_per_second:,.3g}", str(each.slots), duration, each.on)
    return table
