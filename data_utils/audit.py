"""What the data are and what was done to them, as plain values for audit.json and the report."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from data_utils.arrays import ImageArrays
from data_utils.errors import DataError
from data_utils.fractions import select_fraction
from data_utils.sources.source import SPLITS


def audit(
    arrays_by_domain: Mapping[str, ImageArrays], fractions: Sequence[float] = (), seed: int = 0
) -> dict[str, dict[str, Any]]:
    """Count and describe the prepared images.

    Args:
        arrays_by_domain: prepared images, by domain.
        fractions: labelled fractions of the study, in (0, 1]; described for wbc.
        seed: of the draw of fractions.

    Returns:
        For each domain, values that JSON can hold:
        `images` and `masks` (split -> class -> count), `images_total`, `sizes` (stored, px), `fingerprint`, `groups`
        (number of known groups), `groups_across_splits`, `unreadable` (path, reason), `duplicates` (lists of paths),
        `leaks` (path, split, same_as, action), `validation_origin`, `test_origin`, and for wbc `fractions` and
        `ready_made`: fraction -> `classes` (class -> count), `total`, `share` (the true one, of train) and, in the
        former, `ready_made`.

    Raises:
        DataError: a fraction is outside (0, 1] or leaves a class empty.
    """
    report = {}
    for domain, arrays in arrays_by_domain.items():
        report[domain] = _describe(arrays)
        if domain == "wbc":
            report[domain]["fractions"] = {
                f"{fraction:g}": _describe_fraction(arrays, fraction, seed) for fraction in fractions
            }
            # A folder may hold less than its name says: images may be missing, or set aside.
            report[domain]["ready_made"] = {
                f"{fraction:g}": _count_part(arrays, members) for fraction, members in sorted(arrays.subsets.items())
            }
    return report


def _describe(arrays: ImageArrays) -> dict[str, Any]:
    masked = np.array([arrays.has_mask(i) for i in range(len(arrays))], dtype=np.bool_)
    return {
        "images": {split: _count(arrays, arrays.indices(split)) for split in SPLITS},
        "masks": {split: _count(arrays, arrays.indices(split)[masked[arrays.indices(split)]]) for split in SPLITS},
        "images_total": len(arrays),
        "sizes": {
            "height": {"min": int(arrays.heights.min()), "max": int(arrays.heights.max())},
            "width": {"min": int(arrays.widths.min()), "max": int(arrays.widths.max())},
        },
        "fingerprint": arrays.fingerprint,
        "groups": len(set(arrays.groups.tolist()) - {""}),
        "groups_across_splits": _groups_across_splits(arrays),
        "unreadable": [{"path": path, "reason": reason} for path, reason in arrays.unreadable],
        "duplicates": arrays.duplicates,
        "leaks": [
            {"path": path, "split": split, "same_as": kept, "action": f"dropped from {split}"}
            for path, split, kept in arrays.dropped
        ],
        "validation_origin": arrays.validation_origin,
        "test_origin": arrays.test_origin,
    }


def _describe_fraction(arrays: ImageArrays, fraction: float, seed: int) -> dict[str, Any]:
    try:
        chosen = select_fraction(arrays, fraction, seed)
    except DataError as error:
        raise DataError(f"fraction {fraction:g}: {error}") from error
    return {
        **_count_part(arrays, chosen),
        "ready_made": any(np.isclose(fraction, given) for given in arrays.subsets),
    }


def _count_part(arrays: ImageArrays, part: NDArray[np.int64]) -> dict[str, Any]:
    """Count the images of a part of train, and compute its true share of train."""
    return {
        "classes": _count(arrays, part),
        "total": len(part),
        "share": round(len(part) / len(arrays.indices("train")), 4),
    }


def _count(arrays: ImageArrays, indices: NDArray[np.int64]) -> dict[str, int]:
    names = arrays.classes or ("unlabelled",)
    counts = np.bincount(np.maximum(arrays.labels[indices], 0), minlength=len(names))
    return dict(zip(names, counts.tolist(), strict=True))


def _groups_across_splits(arrays: ImageArrays) -> list[str]:
    """Name the groups that lie in several of the given splits: leaks of a patient or smear, not of an image."""
    splits: dict[str, set[str]] = {}
    for group, split in zip(arrays.groups.tolist(), arrays.splits.tolist(), strict=True):
        if group:
            splits.setdefault(group, set()).add(split)
    return sorted(group for group, found in splits.items() if len(found) > 1)
