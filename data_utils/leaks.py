"""Identical images in several splits: found when a cache is built, dropped or fatal as the configuration says."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from data_utils.arrays import ImageArrays
from data_utils.config import DataConfig
from data_utils.errors import DataError
from data_utils.sources.source import SPLITS


class Leaks(NamedTuple):
    """What is kept of the images, and which of them are identical."""

    kept: NDArray[np.int64]
    """Sorted positions of the images that stay, int64."""
    dropped: list[tuple[str, str, str]]
    """(path, split, path of the image that is kept) of images that go because another split holds them."""
    duplicates: list[list[str]]
    """Paths of identical images, in one split or several."""


def find_leaks(paths: Sequence[str], splits: NDArray[np.str_], hashes: Sequence[str]) -> Leaks:
    """Find identical images; an image stays in the last of its splits alone, so that nothing judged on is trained or tuned on.

    Args:
        paths: N names of images.
        splits: str (N,), one of `SPLITS` each.
        hashes: N content hashes.
    """
    rank: dict[str, int] = {split: position for position, split in enumerate(SPLITS)}
    same: dict[str, list[int]] = {}
    for row, content in enumerate(hashes):
        same.setdefault(content, []).append(row)
    twins = [rows for rows in same.values() if len(rows) > 1]
    dropped = []
    gone: set[int] = set()
    for rows in twins:
        best = max(rows, key=lambda row: rank[str(splits[row])])
        for row in rows:
            if splits[row] != splits[best]:
                gone.add(row)
                dropped.append((paths[row], str(splits[row]), paths[best]))
    kept = np.array([row for row in range(len(paths)) if row not in gone], dtype=np.int64)
    return Leaks(kept, dropped, [[paths[row] for row in rows] for rows in twins])


def refuse_leaks(config: DataConfig, arrays: ImageArrays) -> None:
    """Refuse labelled images of which some are in two splits, where `data.leaks` is fatal.

    Raises:
        DataError: there is such an image.
    """
    if arrays.dropped and config.leaks == "fatal" and arrays.classes:
        path, split, other = arrays.dropped[0]
        raise DataError(
            f"{other} and {path} are the same image in two splits ({len(arrays.dropped)} such images, the second in "
            f"{split}). Remove it from one split, or set data.leaks: drop."
        )
