"""Labelled image files in a folder of another data set: whatever classes it has, without splits."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from data_utils.decoding import SUFFIXES, is_image
from data_utils.errors import DataError
from data_utils.sources.folder import SPLITS, match_class


def find_labelled(folder: Path, classes: Sequence[str]) -> list[tuple[Path, int]]:
    """Images below folders that are named after classes.

    They may lie in ``<Class>/``, ``data/<Class>/`` or ``<split>/data/<Class>/`` (all splits together). Classes may be missing.

    Args:
        folder: Of the data set.
        classes: Names in the order of the labels; case and a plural s do not matter.

    Returns:
        (file, label), sorted by path.

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
            for inside in sorted(path for path in home.iterdir() if path.is_dir() and not path.name.startswith(".")):
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
