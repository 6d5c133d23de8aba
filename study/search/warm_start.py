"""Where a search begins that knows an earlier one: the winners of the same arms."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from analysis.records.errors import StudyError
from study.design.points import Point, read_settings, write_settings
from study.design.trials import recorded_point
from study.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Mapping, Sequence
    from pathlib import Path


def earlier_winners(folder: Path, arms: Collection[str], searched: Collection[str] = ()) -> dict[str, Point]:
    """The winning points of an earlier study.

    Args:
        folder: Its run directory. It need not be finished.
        arms: Names of the arms that are searched now.
        searched: Names of the further settings that are searched now, such as ``training.sampling``.

    Returns:
        Points by the arm's name; arms without a winner there are missing. Further settings have the value that the winner was
        trained with, chosen by the earlier search or configured for all its trials.

    Raises:
        UsageError: there is no study, or no arm of it has the name of one of ours and a winner.
    """
    from analysis.records.study import load_study

    try:
        study = load_study(folder)
        winners = study.winners()
    except StudyError as error:
        raise UsageError(f"search.warm_start: {error}") from error
    training = study.config.get("training")
    configured = {f"training.{name}": value for name, value in (training if isinstance(training, dict) else {}).items()}

    def point_of(row: Mapping[Any, Any]) -> Point:
        point = recorded_point(row)
        values = {**configured, **read_settings(point.settings)}
        return point._replace(settings=write_settings({name: values[name] for name in searched if name in values}))

    points = {str(row["arm"]): point_of(row) for row in winners.to_dict("records") if row["arm"] in arms}
    if not points:
        raise UsageError(
            f"search.warm_start: {folder} has winners of the arms {', '.join(winners['arm']) or 'none'}, expected one at least of"
            f" {', '.join(arms)}. Choose another study, or leave search.warm_start out (null)"
        )
    return points


def first_points(
    folder: Path,
    arms: Collection[str],
    kept: Mapping[str, Sequence[Any]] | None,
    say: Callable[[str], None],
    searched: Collection[str] = (),
) -> dict[str, Point]:
    """Where each arm begins: as kept when this study began, whatever became of the earlier one since.

    Args:
        folder: Run directory of the earlier study.
        arms: Names of the arms that are searched now.
        kept: What the manifest of this study has; None when it begins.
        say: Prints a line.
        searched: Names of the further settings that are searched now.

    Raises:
        UsageError: as `earlier_winners`, when this study begins.
    """
    if kept is not None:
        return {arm: Point(float(point[0]), float(point[1]), *point[2:]) for arm, point in kept.items()}
    points = earlier_winners(folder, arms, searched)
    missing = [arm for arm in arms if arm not in points]
    say(f"Beginning with the winners of {folder}" + (f"; it has none of {', '.join(missing)}" if missing else ""))
    return points
