"""Labelled fractions of the training images: stratified, nested for a seed, groups never split."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from data_utils.errors import DataError

if TYPE_CHECKING:
    from data_utils.arrays import ImageArrays


def select_fraction(arrays: ImageArrays, fraction: float, seed: int) -> NDArray[np.int64]:
    """Choose a fraction of the training images.

    A ready-made subset of that fraction is returned as it is, whatever the seed. Other fractions are drawn so that they
    nest with the ready-made ones as far as the counts allow.

    Args:
        arrays: a prepared domain.
        fraction: in (0, 1].
        seed: seed of the draw; fractions of one seed are nested.

    Returns:
        int64, sorted indices into the arrays, all of split train.

    Raises:
        DataError: the fraction is outside (0, 1], or a class has no training image.
    """
    _check_fraction(fraction)
    train = arrays.indices("train")
    names = arrays.classes or ("unlabelled",)
    for given, members in arrays.subsets.items():
        if math.isclose(given, fraction, rel_tol=1e-9):
            _check_classes(arrays.labels[members], names, f"the ready-made subset of {100 * given:g} %")
            return members
    priority = np.zeros(len(arrays), dtype=np.int64)
    for given in sorted(arrays.subsets, reverse=True):
        # The smaller the subset an image belongs to, the earlier it is drawn.
        priority -= np.isin(np.arange(len(arrays)), arrays.subsets[given])
    chosen = draw_fraction(
        arrays.labels[train], arrays.groups[train], names, fraction=fraction, seed=seed, priority=priority[train]
    )
    return train[chosen]


def draw_fraction(
    labels: NDArray[np.int64],
    groups: NDArray[np.str_],
    names: tuple[str, ...],
    *,
    fraction: float,
    seed: int,
    priority: NDArray[np.int64] | None = None,
) -> NDArray[np.int64]:
    """Draw a stratified fraction; draws of one seed are nested.

    Without groups every class gives its rounded share, at least one image. With groups the units (groups, and images
    without one) are put into one stratified order and the fraction is the start of it whose size is nearest.

    Args:
        labels: int64 (N,), all -1 when unlabelled.
        groups: str (N,), empty when unknown.
        names: class names, for messages.
        fraction: in (0, 1].
        seed: seed of the order in which images or groups are drawn.
        priority: int64 (N,), images with a smaller number are drawn first.

    Returns:
        int64, sorted indices into labels.

    Raises:
        DataError: the fraction is outside (0, 1], or a class is empty.
    """
    _check_fraction(fraction)
    _check_classes(labels, names, "the training images")
    first = np.zeros(len(labels), dtype=np.int64) if priority is None else priority
    if np.any(groups != ""):
        return _draw_groups(labels, groups, fraction, seed, first)
    chosen = []
    for label in np.unique(labels).tolist():
        members = np.flatnonzero(labels == label)
        # Each class has a stream of its own, so that images added to one class do not redraw the others.
        shuffled = np.random.default_rng([seed, label + 1]).permutation(members)
        order = shuffled[np.argsort(first[shuffled], kind="stable")]
        chosen.append(order[: max(1, round(fraction * len(members)))])
    return np.sort(np.concatenate(chosen)).astype(np.int64)


def _draw_groups(
    labels: NDArray[np.int64], groups: NDArray[np.str_], fraction: float, seed: int, priority: NDArray[np.int64]
) -> NDArray[np.int64]:
    keys = np.array([f"g{group}" if group else f"i{i}" for i, group in enumerate(groups.tolist())])
    names, rows = np.unique(keys, return_inverse=True)
    classes, columns = np.unique(labels, return_inverse=True)
    counts = np.zeros((len(names), len(classes)), dtype=np.int64)
    np.add.at(counts, (rows, columns), 1)
    urgency = np.full(len(names), np.iinfo(np.int64).max)
    np.minimum.at(urgency, rows, priority)
    shuffled = np.random.default_rng([seed, 0]).permutation(len(names))
    order = shuffled[np.argsort(urgency[shuffled], kind="stable")]

    totals = counts.sum(axis=0)
    queues = [[int(row) for row in order[::-1] if counts[row, column]] for column in range(len(classes))]
    taken = np.zeros(len(classes), dtype=np.int64)
    used: set[int] = set()
    sequence: list[int] = []
    sizes: list[int] = []
    covered = 0
    while len(sequence) < len(names):
        # The class that is furthest behind chooses next, the rarer one first: every start of the sequence is stratified.
        column = min(range(len(classes)), key=lambda c: (taken[c] / totals[c], totals[c]))
        row = queues[column].pop()
        if row in used:
            continue
        used.add(row)
        sequence.append(row)
        taken = taken + counts[row]
        sizes.append(int(taken.sum()))
        if not covered and np.all(taken > 0):
            covered = len(sequence)
    nearest = int(np.argmin(np.abs(np.array(sizes) - fraction * len(labels)))) + 1
    return np.flatnonzero(np.isin(rows, sequence[: max(nearest, covered)])).astype(np.int64)


def _check_fraction(fraction: float) -> None:
    if not 0 < fraction <= 1:
        raise DataError(f"fraction is {fraction}; expected more than 0 and at most 1 (1 means all training images).")


def _check_classes(labels: NDArray[np.int64], names: tuple[str, ...], where: str) -> None:
    if len(labels) == 0:
        raise DataError(f"{where}: no image was found; at least one of every class is needed.")
    if labels.max() < 0:
        return
    counts = np.bincount(labels, minlength=len(names))
    empty = [name for name, count in zip(names, counts.tolist(), strict=True) if count == 0]
    if empty:
        raise DataError(
            f"{where}: no image of {', '.join(empty)}; at least one of every class is needed. "
            "Add images of it, or look at the audit for files that were skipped or dropped."
        )
