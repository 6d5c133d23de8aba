"""Where a search begins that knows an earlier one: the winners of the same arms."""

from __future__ import annotations

from typing import TYPE_CHECKING

from analysis.errors import StudyError
from study.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Mapping, Sequence
    from pathlib import Path

    from study.points import Point


def earlier_winners(folder: Path, arms: Collection[str]) -> dict[str, Point]:
    """The winning points of an earlier study.

    Args:
        folder: Its run directory. It need not be finished.
        arms: Names of the arms that are searched now.

    Returns:
        Learning rate and weight decay by the arm's name; arms without a winner there are missing.

    Raises:
        UsageError: there is no study, or no arm of it has the name of one of ours and a winner.
    """
    from analysis import load_study

    try:
        winners = load_study(folder).winners()
    except StudyError as error:
        raise UsageError(f"search.warm_start: {error}") from error
    points = {
        str(row["arm"]): (float(row["learning_rate"]), float(row["weight_decay"]))
        for row in winners.to_dict("records")
        if row["arm"] in arms
    }
    if not points:
        raise UsageError(
            f"search.warm_start: {folder} has winners of the arms {', '.join(winners['arm']) or 'none'}, expected one at least of"
            f" {', '.join(arms)}. Choose another study, or leave search.warm_start out (null)"
        )
    return points


def first_points(
    folder: Path, arms: Collection[str], kept: Mapping[str, Sequence[float]] | None, say: Callable[[str], None]
) -> dict[str, Point]:
    """Where each arm begins: as kept when this study began, whatever became of the earlier one since.

    Args:
        folder: Run directory of the earlier study.
        arms: Names of the arms that are searched now.
        kept: What the manifest of this study has; None when it begins.
        say: Prints a line.

    Raises:
        UsageError: as `earlier_winners`, when this study begins.
    """
    if kept is not None:
        return {arm: (float(point[0]), float(point[1])) for arm, point in kept.items()}
    points = earlier_winners(folder, arms)
    missing = [arm for arm in arms if arm not in points]
    say(f"Beginning with the winners of {folder}" + (f"; it has none of {', '.join(missing)}" if missing else ""))
    return points
