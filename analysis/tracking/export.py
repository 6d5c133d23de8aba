"""Export of a study to one of the trackers."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterable
from importlib.util import find_spec
from pathlib import Path

from analysis.records.errors import StudyError
from analysis.records.study import Study
from analysis.tracking.mlflow import write_mlflow
from analysis.tracking.tensorboard import write_tensorboard
from analysis.tracking.wandb import write_wandb

TRACKERS: dict[str, Callable[[Study, Path], int]] = {
    "tensorboard": write_tensorboard,
    "mlflow": write_mlflow,
    "wandb": write_wandb,
}
"""Name, as in the configuration, -> what writes a study for it."""
_PACKAGES = {"tensorboard": "tensorboardX", "mlflow": "mlflow", "wandb": "wandb"}


def check_trackers(trackers: Iterable[str]) -> None:
    """Check that the packages of some trackers are installed, before a study begins that needs them.

    Raises:
        StudyError: A package is not installed; the message says what to install.
    """
    for tracker in trackers:
        if find_spec(_PACKAGES[tracker]) is None:
            raise StudyError(
                f'tracking.{tracker}: {_PACKAGES[tracker]} is not installed. pip install "wbc-study[{tracker}]", or leave it out.'
            )


def export_tracking(study: Study, tracker: str, folder: Path | None = None) -> Path:
    """Write a study for a tracker; what an earlier export wrote is replaced.

    Args:
        study: Any study, also a running one.
        tracker: One of `TRACKERS`.
        folder: Folder that is written; ``<study>/tracking/<tracker>`` when None. A folder that is named must not exist yet.

    Returns:
        The folder.

    Raises:
        StudyError: There is no such tracker, its package is not installed, or the folder exists.

    Example:
        >>> export_tracking(study, "tensorboard", tmp / "board").name
        'board'
    """
    if tracker not in TRACKERS:
        raise StudyError(f"{tracker!r}: there is no such tracker. There are: {', '.join(TRACKERS)}.")
    if folder is None:
        folder = study.path / "tracking" / tracker
        shutil.rmtree(folder, ignore_errors=True)
    elif folder.exists():
        raise StudyError(f"{folder}: exists already. Name a folder that does not; nothing of yours is deleted.")
    TRACKERS[tracker](study, folder)
    return folder
