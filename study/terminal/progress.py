"""What a person sees while a study runs: the phases, and one line for each arm."""

from __future__ import annotations

import threading
from contextlib import contextmanager
from time import monotonic
from typing import TYPE_CHECKING

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.table import Table
from rich.text import Text

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from study.search.queued_trials import ArmProgress

_PLAIN_INTERVAL = 20.0
"""Seconds between lines where the output is not a terminal."""


def format_duration(seconds: float) -> str:
    """A duration for people: ``45 s``, ``3 min 20 s``, ``2 h 05 min``, ``3 d 4 h``."""
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60:02d} s"
    if whole < 48 * 3600:
        return f"{whole // 3600} h {whole % 3600 // 60:02d} min"
    return f"{whole // 86400} d {whole % 86400 // 3600} h"


def time_left(arms: Sequence[ArmProgress], slots: int) -> float | None:
    """Estimated seconds until all trials have ended, None before any epoch was reported.

    An arm without an epoch counts as slow as the slowest arm so far. No further trial is expected to be stopped early.
    """
    known = [arm.seconds_per_epoch for arm in arms if arm.seconds_per_epoch is not None]
    if not known:
        return None
    return sum(arm.epochs_left * (arm.seconds_per_epoch or max(known)) for arm in arms) / max(1, slots)


def arm_table(arms: Sequence[ArmProgress], metric: str, slots: int = 1) -> Table:
    """One line for each arm: trials, best score, and time left if all slots worked for it."""
    table = Table(box=None, pad_edge=False, padding=(0, 1, 0, 0))
    # Names of arms are folded where the terminal is narrow; numbers are not.
    table.add_column("arm", overflow="fold")
    best = {"val_accuracy": "best acc.", "val_macro_f1": "best F1"}[metric]
    for heading in ("trials", "running", "done", "stopped", "failed", best, "left"):
        table.add_column(heading, justify="right", no_wrap=True)
    for arm in arms:
        left = arm.epochs_left * arm.seconds_per_epoch / slots if arm.seconds_per_epoch is not None else None
        table.add_row(
            Text(arm.arm),
            f"{arm.ended}/{arm.planned}",
            str(arm.running or "-"),
            str(arm.completed or "-"),
            str(arm.stopped or "-"),
            Text(str(arm.failed), style="red") if arm.failed else "-",
            f"{100 * arm.best:.1f} %" if arm.best is not None else "-",
            "-" if arm.ended == arm.planned else "?" if left is None else format_duration(left),
        )
    return table


class ImageProgress:
    """Counts the images of each domain that are decoded."""

    def __init__(self) -> None:
        self._done: dict[str, str] = {}

    def of(self, domain: str) -> Callable[[int, int], None]:
        """Callback for the decoding of a domain, which passes the images decoded so far and their total."""
        return lambda ready, total: self._done.update({domain: f"{ready:,}/{total:,} {domain}"})

    def describe(self) -> str:
        """All domains so far."""
        return ", ".join(self._done.values())


class Progress:
    """Prints phases as they begin and end, and keeps a table of the arms up to date."""

    def __init__(self, console: Console | None = None):
        self.console = console or Console(highlight=False)

    def say(self, text: str) -> None:
        """Print one line."""
        self.console.print(text, markup=False, soft_wrap=True)

    @contextmanager
    def phase(self, name: str, describe: Callable[[], str] = str) -> Iterator[Callable[[str], None]]:
        """Show a phase while it lasts, then print what it says of itself and how long it took.

        Args:
            name: Name of the phase.
            describe: Says how far the phase is; it is asked now and then.
        """
        began = monotonic()
        details: list[str] = []

        def headline() -> str:
            return f"{name:<9} {describe() or 'running'} | {format_duration(monotonic() - began)}"

        with self._shown(lambda: Text(headline()), headline):
            yield details.append
        self.say(f"{name:<9} {'; '.join(details) or 'done'} ({format_duration(monotonic() - began)})")

    @contextmanager
    def _shown(self, screen: Callable[[], RenderableType], line: Callable[[], str]) -> Iterator[None]:
        """Show a screen that is redrawn on a terminal; elsewhere print a line now and then."""
        if self.console.is_terminal:
            with Live(get_renderable=screen, console=self.console, refresh_per_second=2, transient=True):
                yield
            return
        ended = threading.Event()

        def print_lines() -> None:
            while not ended.wait(_PLAIN_INTERVAL):
                self.say(line())

        thread = threading.Thread(target=print_lines, daemon=True)
        thread.start()
        try:
            yield
        finally:
            ended.set()
            thread.join()

    @contextmanager
    def watch(
        self, name: str, arms: Callable[[], Sequence[ArmProgress]], slots: Callable[[], int], metric: str
    ) -> Iterator[None]:
        """Show the arms while their trials run: on a terminal a table that is redrawn, elsewhere a line now and then.

        Args:
            name: Name of the phase.
            arms: Says how far each arm is.
            slots: Number of trials that can run at once, at this moment.
            metric: ``val_accuracy`` or ``val_macro_f1``; what a score is.
        """
        began = monotonic()

        def headline(current: Sequence[ArmProgress]) -> str:
            ended, planned = sum(arm.ended for arm in current), sum(arm.planned for arm in current)
            left = time_left(current, slots())
            estimate = "" if ended == planned or left is None else f" | about {format_duration(left)} left"
            running = sum(arm.running for arm in current)
            since = format_duration(monotonic() - began)
            return f"{name:<9} {ended}/{planned} trials, {running} running | {since}{estimate}"

        def screen() -> Group:
            current = arms()
            return Group(Text(headline(current)), arm_table(current, metric, max(1, slots())))

        with self._shown(screen, lambda: headline(arms())):
            yield
        current = arms()
        completed, stopped = sum(arm.completed for arm in current), sum(arm.stopped for arm in current)
        self.say(
            f"{name:<9} {completed} trials completed, {stopped} stopped early,"
            f" {sum(arm.failed for arm in current)} failed or diverged ({format_duration(monotonic() - began)})"
        )
        self.console.print(arm_table(current, metric, max(1, slots())))
