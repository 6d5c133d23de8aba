"""First points of a search that knows an earlier one: the winners of the same arms."""

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
    """Read the winning points of an earlier study.

    Args:
        folder: Run directory of the earlier study, which need not be finished.
        arms: Names of the arms that are searched now.
        searched: Names of the further settings that are searched now, such as ``training.sampling``.

    Returns:
        Points by the arm's name; arms without a winner there are missing. Further settings have the values that the winner was
        trained with, whether the earlier search chose them or its configuration did.

    Raises:
        UsageError: the folder holds no study, or none of the arms has a winner there.
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
    """First point of each arm: as kept when this study began, whatever became of the earlier one since.

    Args:
        folder: Run directory of the earlier study.
        arms: Names of the arms that are searched now.
        kept: Points in the manifest of this study by the arm's name; None when the study begins.
        say: Prints a line.
        searched: Names of the further settings that are searched now.

    Raises:
        UsageError: as by `earlier_winners`, when this study begins.
    """
    if kept is not None:
        return {arm: Point(float(point[0]), float(point[1]), *point[2:]) for arm, point in kept.items()}
    points = earlier_winners(folder, arms, searched)
    missing = [arm for arm in arms if arm not in points]
    say(f"Beginning with the winners of {folder}" + (f"; it has none of {', '.join(missing)}" if missing else ""))
    return points
