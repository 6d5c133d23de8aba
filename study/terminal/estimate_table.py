"""What a study would cost, as a table for the terminal."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

from rich.table import Table

if TYPE_CHECKING:
    from collections.abc import Iterable


class ArmCost(Protocol):
    """What the table shows of one arm."""

    @property
    def arm(self) -> str:
        """Name of the arm."""

    @property
    def train_images(self) -> int:
        """Number of labelled images that the arm trains on."""

    @property
    def steps(self) -> int:
        """Gradient steps of a full-length trial."""

    @property
    def first_rung(self) -> int | None:
        """Epoch of the first comparison; None where trials are never stopped."""

    @property
    def image_steps(self) -> int:
        """Training images shown, all trials of search and confirmation."""


def estimate_table(arms: Iterable[ArmCost], trials: int, confirmations: int) -> Table:
    """One line for each arm.

    Args:
        arms: What each arm would cost.
        trials: Search trials of one arm.
        confirmations: Confirmations of one arm.
    """
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0))
    # Names of arms are folded where the terminal is narrow; numbers are not.
    table.add_column("arm", overflow="fold")
    for heading in ("images", "steps", "1st rung", "search", "confirm", "image-steps"):
        table.add_column(heading, justify="right", no_wrap=True)
    for arm in arms:
        table.add_row(
            arm.arm,
            f"{arm.train_images:,}",
            f"{arm.steps:,}",
            f"epoch {arm.first_rung}" if arm.first_rung else "-",
            str(trials),
            str(confirmations),
            f"{arm.image_steps:,}",
        )
    return table
