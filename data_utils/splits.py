"""Which images train, validate and test: splits that the source gives, and a fifth of train set aside for one it does not."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from data_utils.config import DataConfig
from data_utils.errors import DataError
from data_utils.sources.source import Source, Split

ASIDE_SHARE = 0.2
"""A fifth, as the design says: enough for a verdict, little enough to leave the smallest class images to train on."""


def settle_splits(
    config: DataConfig,
    source: Source,
    *,
    given: Sequence[Split],
    labels: NDArray[np.int64],
    units: NDArray[np.int64],
    hashes: NDArray[np.str_],
    subsets: NDArray[np.bool_],
) -> tuple[NDArray[np.str_], dict[str, str]]:
    """Set images of train aside for the splits that the source does not give.

    The test images are chosen first, so that they do not depend on whether val is given.

    Args:
        config: the data configuration; `test` is read.
        source: the images of a domain.
        given: N splits of the source.
        labels: int64 (N,).
        units: int64 (N,), see `join_units`.
        hashes: str (N,), content hashes.
        subsets: bool (N, S), which ready-made subsets hold an image.

    Returns:
        str (N,), the split of each image, and the origin of `test` and of `val`: `folder`, `set aside` or `none`.
    """
    splits = np.array(given, dtype="<U5")
    origins = {name: "folder" if np.any(splits == name) else "none" for name in ("test", "val")}
    wanted = ["test"] if source.domain == "wbc" and config.test == "auto" else []
    for name in [*wanted, "val"]:
        # What is already judged on is not drawn from again: an identical image would be dropped from train anyway.
        judged = np.isin(hashes, hashes[splits != "train"])
        free = np.flatnonzero((splits == "train") & ~judged)
        if origins[name] == "none" and len(free):
            aside = set_aside(labels[free], units[free], hashes[free], subsets[free])
            splits[free[aside]] = name
            origins[name] = "set aside" if aside.any() else "none"
    return splits, origins


def check_splits(
    config: DataConfig,
    source: Source,
    labels: NDArray[np.int64],
    splits: NDArray[np.str_],
    *,
    origins: Mapping[str, str],
    lost: str,
) -> None:
    """Check that every split has an image of every class: what no image shows is neither learnt nor judged.

    Args:
        config: the data configuration; `test` is read.
        source: the images of a domain.
        labels: int64 (N,).
        splits: str (N,), `train`, `val` or `test`.
        origins: where `test` and `val` are from, see `settle_splits`.
        lost: words for the message about images that were left out, empty without any.

    Raises:
        DataError: a split lacks a class, or an unlabelled one has no image.
    """
    needed: list[Split] = ["train", "val"]
    if np.any(splits == "test") or (source.domain == "wbc" and config.test == "auto"):
        needed.append("test")
    for split in needed:
        found = labels[splits == split]
        if not source.classes and not len(found):
            raise DataError(
                f"{source.domain}: {split} has no image, of {len(labels)} in all{lost}; expected at least one to train on "
                "and one to validate on. Tiles of one image stay together, so that two image files are needed: add image "
                f"files, or put some into a folder named {split}."
            )
        empty = ", ".join(name for label, name in enumerate(source.classes) if not np.any(found == label))
        if empty:
            given = split == "train" or origins[split] == "folder"
            remedy = (
                f"Add images of it to {split}" if given else f"Add images of it to train, or a folder named {split}"
            )
            if split == "test" and source.domain == "wbc":
                remedy += ", or set data.test: none"
            aside = "" if given else " (a fifth of train is set aside, whole groups only, and train keeps at least one)"
            raise DataError(
                f"{source.domain}: {split} has no image of {empty}{lost}{aside}; expected at least one of every class. "
                f"{remedy}."
            )


def join_units(groups: NDArray[np.str_], hashes: NDArray[np.str_]) -> NDArray[np.int64]:
    """Number the units that must stay on one side of a split.

    Images of one group belong together, and so do identical images; an image without a group is on its own.

    Args:
        groups: str (N,), empty when unknown.
        hashes: str (N,), content hashes; empty where an image is joined to no other.

    Returns:
        int64 (N,), the index of the first image of the unit that an image belongs to.
    """
    # Only a build needs it; trials open what was built.
    from scipy.sparse import coo_array
    from scipy.sparse.csgraph import connected_components

    images = np.arange(len(groups))
    edges = []
    for keys in (groups, hashes):
        # Each image with the first one of the same key.
        _, first, key = np.unique(keys, return_index=True, return_inverse=True)
        known = keys != ""
        edges.append(np.stack([images[known], first[key][known]]))
    ends = np.concatenate(edges, axis=1)
    graph = coo_array((np.ones(ends.shape[1], dtype=np.bool_), ends), shape=(len(groups), len(groups)))
    _, component = connected_components(graph, directed=False)
    _, first = np.unique(component, return_index=True)
    units: NDArray[np.int64] = first[component].astype(np.int64)
    return units


def set_aside(
    labels: NDArray[np.int64],
    units: NDArray[np.int64],
    hashes: NDArray[np.str_],
    subsets: NDArray[np.bool_],
    share: float = ASIDE_SHARE,
) -> NDArray[np.bool_]:
    """Choose a stratified share of the images, whole units only, in the order of their content hashes.

    The choice depends on content alone, not on file names or the order of files. Ready-made subsets of train give the
    same share as the rest, so that each remains about the same part of train. Every class keeps at least one image in
    train and in every subset that holds it, and gives at least one where other units are left.

    Args:
        labels: int64 (N,).
        units: int64 (N,), see `join_units`.
        hashes: str (N,), content hashes.
        subsets: bool (N, S), which ready-made subsets hold an image; S may be 0.
        share: share of every class, in (0, 1).

    Returns:
        bool (N,), true where an image is set aside.
    """
    _, rows = np.unique(units, return_inverse=True)
    first: dict[int, str] = {}
    for row, content in zip(rows.tolist(), hashes.tolist(), strict=True):
        first[row] = min(first.get(row, content), content)
    order = sorted(range(len(first)), key=lambda row: first[row])
    choice = _Choice(labels, rows, subsets, share)
    for row in order:
        if choice.comes_closer_with(row) and choice.can_spare(row):
            choice.take(row)
    # Small classes and large groups: a share that rounds to nothing would leave no image to judge the class by.
    for column in choice.classes:
        if not any(choice.holds_class(row, column) for row in choice.taken):
            left = (row for row in order if row not in choice.taken and choice.holds_class(row, column))
            row = next(filter(choice.can_spare, left), None)
            if row is not None:
                choice.take(row)
    return np.isin(rows, list(choice.taken))


class _Choice:
    """The units that are set aside so far, and what is still wanted of each class.

    Args:
        labels: int64 (N,).
        rows: int64 (N,), the number of each image's unit, from 0.
        subsets: bool (N, S).
        share: share of every class that is wanted, in (0, 1).
    """

    def __init__(
        self, labels: NDArray[np.int64], rows: NDArray[np.intp], subsets: NDArray[np.bool_], share: float
    ) -> None:
        classes, columns = np.unique(labels, return_inverse=True)
        strata = _number_strata(subsets)
        count = int(rows.max(initial=-1)) + 1
        self.classes = range(len(classes))
        self.taken: set[int] = set()
        self._cells = np.zeros((count, len(classes), int(strata.max(initial=0)) + 1), dtype=np.int64)
        np.add.at(self._cells, (rows, columns, strata), 1)
        # How many images of each class a unit holds of all images, and of every subset.
        self._holds = np.zeros((count, len(classes), subsets.shape[1] + 1), dtype=np.int64)
        np.add.at(self._holds, (rows, columns), np.column_stack([np.ones(len(labels), dtype=np.int64), subsets]))
        self._left = self._holds.sum(axis=0)
        # Rounded sums, not rounded cells: the strata come from the innermost subset outwards, so that every subset of
        # nested ones gives its rounded share, and so does the class.
        sums = np.rint(self._cells.sum(axis=0).cumsum(axis=1) * share).astype(np.int64)
        self._wanted = np.diff(sums, axis=1, prepend=0)

    def holds_class(self, row: int, column: int) -> bool:
        """Say whether a unit has an image of a class."""
        return bool(self._holds[row, column, 0])

    def comes_closer_with(self, row: int) -> bool:
        """Say whether a unit brings the images set aside closer to what is wanted."""
        return _distance(self._wanted - self._cells[row]) < _distance(self._wanted)

    def can_spare(self, row: int) -> bool:
        """Say whether train and every subset keep an image of each class when the unit is taken."""
        return bool(np.all((self._left > self._holds[row]) | (self._holds[row] == 0)))

    def take(self, row: int) -> None:
        """Set a unit aside."""
        self.taken.add(row)
        self._left = self._left - self._holds[row]
        self._wanted = self._wanted - self._cells[row]


def _distance(missing: NDArray[np.int64]) -> int:
    """Count the images that are missing or too many, int64 (classes, strata): a group that fits no stratum may fit its class."""
    return int(np.abs(missing).sum() + np.abs(missing.sum(axis=1)).sum())


def _number_strata(subsets: NDArray[np.bool_]) -> NDArray[np.int64]:
    """Number the images that the same subsets hold, int64 (N,), from those in most subsets to those in none."""
    if not subsets.shape[1]:
        return np.zeros(len(subsets), dtype=np.int64)
    patterns, stratum = np.unique(subsets, axis=0, return_inverse=True)
    position = np.empty(len(patterns), dtype=np.int64)
    position[np.argsort(-patterns.sum(axis=1), kind="stable")] = np.arange(len(patterns))
    return position[stratum.reshape(-1)]
