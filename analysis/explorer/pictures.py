"""Pictures behind the cells of a confusion matrix, read from the user's own data folder and never copied."""

from __future__ import annotations

import io
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

import pandas as pd
from PIL import Image

from analysis.records.errors import StudyError

if TYPE_CHECKING:
    from analysis.records.study import Study

_LONGEST_SIDE = 320
"""Pixels: larger pictures are reduced before they are sent to the page."""
_SAMPLE = 20
"""Paths that are tried in every folder to find out to which one they are relative."""


class PictureFolder:
    """The folder that the paths of a study's ``images.parquet`` are relative to."""

    def __init__(self, study: Study, root: Path | None = None) -> None:
        """Find the folder.

        Args:
            study: The study.
            root: Where the data are now; ``data.root`` of the configuration when None.
        """
        data = study.config.get("data")
        data = data if isinstance(data, Mapping) else {}
        given = root if root is not None else data.get("root")
        self.folder = _find_folder(Path(str(given)).expanduser(), study.images) if given else None
        self.reason = ""
        """Why there are no pictures; empty when there are."""
        if self.folder is None:
            self.reason = (
                f"The pictures are not below {given}: say where they are with --data."
                if given
                else "The images of this study were generated or downloaded and are not in a folder: there is no picture to show."
            )

    def locate(self, relative: str) -> Path:
        """Where a picture should be; it need not be there.

        Args:
            relative: A path of ``images.parquet``.

        Raises:
            StudyError: There are no pictures, or the path leads out of their folder.
        """
        if self.folder is None:
            raise StudyError(self.reason)
        path = (self.folder / relative).resolve()
        if not path.is_relative_to(self.folder):
            raise StudyError(f"images.parquet: {relative!r} leads out of {self.folder}; it is not shown.")
        return path

    def read(self, relative: str) -> bytes:
        """One picture as PNG, decoded here, so that nothing but pixels reaches the page.

        Args:
            relative: A path of ``images.parquet``; a tile of a larger image is not supported.

        Raises:
            StudyError: The path leads out of the folder, or the file is missing or no picture.
        """
        path = self.locate(relative)
        try:
            with Image.open(path) as image:
                picture = image.convert("RGB")
        except (OSError, ValueError, Image.DecompressionBombError) as error:
            raise StudyError(f"{path}: cannot be shown ({error}).") from error
        picture.thumbnail((_LONGEST_SIDE, _LONGEST_SIDE))
        buffer = io.BytesIO()
        picture.save(buffer, "PNG")
        return buffer.getvalue()


def _find_folder(root: Path, images: pd.DataFrame) -> Path | None:
    """The root or the folder in it below which most of a sample of paths exist; None when none does."""
    if not root.is_dir() or not len(images):
        return None
    sample = images["path"].iloc[:: max(1, len(images) // _SAMPLE)]
    candidates = [root, *sorted(path for path in root.iterdir() if path.is_dir())]
    found = [sum((folder / path).is_file() for path in sample) for folder in candidates]
    best = max(range(len(candidates)), key=lambda position: found[position])
    return candidates[best].resolve() if found[best] else None


def pictures_in_cell(study: Study, trial_id: str, split: str, actual: int, predicted: int) -> pd.DataFrame:
    """Images of one true class that a run took for one class.

    Args:
        study: The study.
        trial_id: A confirmed run: only these have predictions for each image.
        split: "val" or "test".
        actual: True label.
        predicted: Predicted label.

    Returns:
        image, path, row (position in ``images.parquet``, -1 when it is not there) and probability (of the predicted class),
        the surest first.
    """
    rows = study.predictions
    rows = rows[
        (rows["trial_id"] == trial_id)
        & (rows["split"] == split)
        & (rows["label"] == actual)
        & (rows["predicted"] == predicted)
    ]
    column = f"p_{study.classes[predicted].lower()}"
    places = pd.Series(study.images.index, index=study.images["split"] + "/" + study.images["path"])
    places = places[~places.index.duplicated()]
    found = (rows["split"] + "/" + rows["path"]).map(places).fillna(-1).astype("int64")
    made = rows[["image", "path"]].assign(row=found, probability=rows[column])
    return made.sort_values(["probability", "image"], ascending=[False, True], kind="stable").reset_index(drop=True)
