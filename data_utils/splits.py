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
    avoid: NDArray[np.int64],
    share: float = ASIDE_SHARE,
) -> NDArray[np.bool_]:
    """Choose a stratified share of the images, whole units only, in the order of their content hashes.

    The choice depends on content alone, not on file names or the order of files. Every class keeps at least one image
    in train, and gives at least one where two units or more hold it.

    Args:
        labels: int64 (N,).
        units: int64 (N,), see `join_units`.
        hashes: str (N,), content hashes.
        avoid: int64 (N,), images with a larger number are set aside only after all those with a smaller one.
        share: of every class, in (0, 1).

    Returns:
        bool (N,), true where an image is set aside.
    """
    classes, columns = np.unique(labels, return_inverse=True)
    names, rows = np.unique(units, return_inverse=True)
    counts = np.zeros((len(names), len(classes)), dtype=np.int64)
    np.add.at(counts, (rows, columns), 1)
    keys: list[tuple[int, str]] = [(0, "")] * len(names)
    by_unit: dict[int, list[int]] = {}
    for i, row in enumerate(rows.tolist()):
        by_unit.setdefault(row, []).append(i)
    for row, members in by_unit.items():
        keys[row] = (int(avoid[members].max()), min(hashes[members].tolist()))
    order = sorted(range(len(names)), key=lambda row: keys[row])

    left = counts.sum(axis=0)
    wanted = np.rint(left * share).astype(np.int64)
    taken: set[int] = set()

    def take(row: int) -> None:
        nonlocal left, wanted
        taken.add(row)
        left = left - counts[row]
        wanted = wanted - counts[row]

    for row in order:
        closer = np.abs(wanted - counts[row]).sum() < np.abs(wanted).sum()
        if closer and np.all((left > counts[row]) | (counts[row] == 0)):
            take(row)
    # Small classes and large groups: a share that rounds to nothing would leave no image to judge the class by.
    for column in range(len(classes)):
        if any(counts[row, column] for row in taken):
            continue
        for row in order:
            if row not in taken and counts[row, column] and np.all((left > counts[row]) | (counts[row] == 0)):
                take(row)
                break
    return np.isin(rows, list(taken))
