"""Setting images of train aside for a split that the data set does not bring."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

ASIDE_SHARE = 0.2
"""A fifth, as the design says: enough for a verdict, little enough to leave the smallest class images to train on."""


def join_units(groups: NDArray[np.str_], hashes: NDArray[np.str_]) -> NDArray[np.int64]:
    """Number the units that must stay on one side of a split.

    Images of one group belong together, and so do identical images; an image without a group is on its own.

    Args:
        groups: str (N,), empty when unknown.
        hashes: str (N,), content hashes.

    Returns:
        int64 (N,), the index of the first image of the unit that an image belongs to.
    """
    parent = list(range(len(groups)))

    def find(i: int) -> int:
        while parent[i] != i:
            parent[i] = parent[parent[i]]
            i = parent[i]
        return i

    first: dict[tuple[str, str], int] = {}
    for i, (group, content) in enumerate(zip(groups.tolist(), hashes.tolist(), strict=True)):
        for key in (("group", group), ("content", content)):
            if key[1]:
                a, b = find(first.setdefault(key, i)), find(i)
                parent[max(a, b)] = min(a, b)
    return np.array([find(i) for i in range(len(parent))], dtype=np.int64)


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
        share: of every class, in (0, 1).

    Returns:
        bool (N,), true where an image is set aside.
    """
    classes, columns = np.unique(labels, return_inverse=True)
    strata = _number_strata(subsets)
    names, rows = np.unique(units, return_inverse=True)
    cells = np.zeros((len(names), len(classes), int(strata.max(initial=0)) + 1), dtype=np.int64)
    np.add.at(cells, (rows, columns, strata), 1)
    counts = cells.sum(axis=2)
    # How many images of each class a unit holds of all images, and of every subset.
    holds = np.zeros((len(names), len(classes), subsets.shape[1] + 1), dtype=np.int64)
    np.add.at(holds, (rows, columns), np.column_stack([np.ones(len(labels), dtype=np.int64), subsets]))
    first: dict[int, str] = {}
    for row, content in zip(rows.tolist(), hashes.tolist(), strict=True):
        first[row] = min(first.get(row, content), content)
    order = sorted(range(len(names)), key=lambda row: first[row])

    left = holds.sum(axis=0)
    # Rounded sums, not rounded cells: the strata come from the innermost subset outwards, so that every subset of
    # nested ones gives its rounded share, and so does the class.
    sums = np.rint(cells.sum(axis=0).cumsum(axis=1) * share).astype(np.int64)
    wanted = np.diff(sums, axis=1, prepend=0)
    taken: set[int] = set()

    def is_spared(row: int) -> bool:
        """Say whether train and every subset keep an image of each class when the unit is taken."""
        return bool(np.all((left > holds[row]) | (holds[row] == 0)))

    def distance(missing: NDArray[np.int64]) -> int:
        # Of the strata, and of the classes: a group that fits no stratum well may still fit its class.
        return int(np.abs(missing).sum() + np.abs(missing.sum(axis=1)).sum())

    def take(row: int) -> None:
        nonlocal left, wanted
        taken.add(row)
        left = left - holds[row]
        wanted = wanted - cells[row]

    for row in order:
        if distance(wanted - cells[row]) < distance(wanted) and is_spared(row):
            take(row)
    # Small classes and large groups: a share that rounds to nothing would leave no image to judge the class by.
    for column in range(len(classes)):
        if any(counts[row, column] for row in taken):
            continue
        for row in order:
            if row not in taken and counts[row, column] and is_spared(row):
                take(row)
                break
    return np.isin(rows, list(taken))


def _number_strata(subsets: NDArray[np.bool_]) -> NDArray[np.int64]:
    """Number the images that the same subsets hold, int64 (N,), from those in most subsets to those in none."""
    if not subsets.shape[1]:
        return np.zeros(len(subsets), dtype=np.int64)
    patterns, stratum = np.unique(subsets, axis=0, return_inverse=True)
    position = np.empty(len(patterns), dtype=np.int64)
    position[np.argsort(-patterns.sum(axis=1), kind="stable")] = np.arange(len(patterns))
    return position[stratum.reshape(-1)]
