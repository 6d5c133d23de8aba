"""Labelled image files of another data set, whatever classes it has and in whichever split they are.

This is no `Source`: finished models are scored on these files, which are neither split nor cached.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from data_utils.decoding import SUFFIXES, is_image
from data_utils.errors import DataError
from data_utils.sources.layout import list_folders, match_class
from data_utils.sources.source import SPLITS


def find_labelled(folder: Path, classes: Sequence[str]) -> list[tuple[Path, int]]:
    """Find the images below folders that are named after classes.

    They may lie in ``<Class>/``, ``data/<Class>/`` or ``<split>/data/<Class>/`` (all splits together). Classes may be missing.

    Args:
        folder: the data set's folder.
        classes: class names in the order of the labels; case and a plural s do not matter.

    Returns:
        (file, label) of each image, sorted by path.

    Raises:
        DataError: there is no such folder or no image of any class in it, or a folder beside those of the classes has images
            of something else.
    """
    if not folder.is_dir():
        raise DataError(
            f"{folder}: {'is a file' if folder.exists() else 'does not exist'}; expected a folder of labelled images."
        )
    homes = [folder / "data", *(folder / split / "data" for split in SPLITS)]
    homes = [home for home in homes if home.is_dir()] or [folder]
    found: list[tuple[Path, int]] = []
    try:
        for home in homes:
            for inside in list_folders(home):
                label = match_class(inside.name, tuple(classes))
                images = sorted(path for path in inside.rglob("*") if is_image(path) and path.is_file())
                if label is None and images:
                    raise DataError(
                        f"{inside}: holds images, but is no class of this study; expected {', '.join(classes)}. Rename it, "
                        "or move it out."
                    )
                found += [(path, label) for path in images if label is not None]
    except OSError as error:
        raise DataError(f"{error.filename or folder}: cannot be read ({error.strerror or error}).") from error
    if not found:
        raise DataError(
            f"{folder}: no image of any class; expected images ({', '.join(sorted(SUFFIXES))}) in <Class>/, data/<Class>/ or "
            f"<split>/data/<Class>/ with <Class> one of {', '.join(classes)}."
        )
    return sorted(found)
