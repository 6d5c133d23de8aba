"""One cache folder built from a source: images stored, splits settled, leaks dropped, index and header written."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from data_utils.arrays import VERSION
from data_utils.config import DataConfig
from data_utils.image_storing import ProgressCallback, StoredImages, store_images
from data_utils.leaks import Leaks, find_leaks
from data_utils.sources.source import Item, Source
from data_utils.splits import check_splits, join_units, settle_splits


def build(config: DataConfig, source: Source, folder: Path, progress: ProgressCallback | None = None) -> None:
    """Fill an empty folder with the cache of a source; it is a cache once its header is there, which is written last.

    Args:
        config: the data configuration.
        source: the images of a domain.
        folder: an empty folder.
        progress: called after each image.

    Raises:
        DataError: a split lacks a class, an image and its mask differ in size, or a file cannot be read and `data.unreadable`
            is fatal.
    """
    # Asked for before anything is decoded: a subset that does not belong to the data set is an error.
    ready_made = source.subsets
    digest = hashlib.sha256()
    stored = store_images(config, source, folder, digest, progress)
    labels = np.array([item.label for item in stored.items], dtype=np.int64)
    groups = np.array([item.group for item in stored.items], dtype=np.str_)
    hashes = np.array(stored.hashes, dtype=np.str_)
    fractions = sorted(ready_made)
    membership = _membership(stored.items, [ready_made[fraction] for fraction in fractions])
    # Identical tiles of an unlabelled image are often plain background and join nothing.
    units = join_units(groups, hashes if source.classes else np.full(len(hashes), ""))
    splits, origins = settle_splits(
        config,
        source,
        given=[item.split for item in stored.items],
        labels=labels,
        units=units,
        hashes=hashes,
        subsets=membership,
    )
    leaks = find_leaks([item.path for item in stored.items], splits, stored.hashes)
    kept = leaks.kept
    check_splits(config, source, labels[kept], splits[kept], origins=origins, lost=_describe_lost(stored, leaks))
    index = _index(stored, kept, labels=labels, splits=splits, groups=groups, hashes=hashes, subsets=membership)
    digest.update(_described_content(source.classes, fractions, index))
    np.savez(folder / "index.npz", allow_pickle=False, **index)
    header = {
        "version": VERSION,
        "domain": source.domain,
        "classes": list(source.classes),
        "fingerprint": digest.hexdigest(),
        "unreadable": stored.unreadable,
        "skipped": stored.skipped,
        "dropped": leaks.dropped,
        "duplicates": leaks.duplicates,
        "validation_origin": origins["val"],
        "test_origin": origins["test"],
        "subsets": fractions,
    }
    _write_header(folder, header)


def _membership(items: Sequence[Item], subsets: Sequence[frozenset[str]]) -> NDArray[np.bool_]:
    """Return which subsets hold an item, bool (items, subsets)."""
    members = [[item.path in subset for subset in subsets] for item in items]
    return np.array(members, dtype=np.bool_).reshape(len(items), len(subsets))


def _describe_lost(stored: StoredImages, leaks: Leaks) -> str:
    if not stored.unreadable and not leaks.dropped:
        return ""
    return f" ({len(stored.unreadable)} files could not be read, {len(leaks.dropped)} images are also in another split)"


def _index(
    stored: StoredImages,
    kept: NDArray[np.int64],
    *,
    labels: NDArray[np.int64],
    splits: NDArray[np.str_],
    groups: NDArray[np.str_],
    hashes: NDArray[np.str_],
    subsets: NDArray[np.bool_],
) -> dict[str, NDArray[Any]]:
    """Return the arrays of the index, of the images that are kept."""
    index: dict[str, NDArray[Any]] = {
        "labels": labels[kept],
        "splits": splits[kept],
        "groups": groups[kept],
        "paths": np.array([item.path for item in stored.items], dtype=np.str_)[kept],
        "hashes": hashes[kept],
        "heights": np.array(stored.heights, dtype=np.int64)[kept],
        "widths": np.array(stored.widths, dtype=np.int64)[kept],
        "offsets": np.array(stored.offsets, dtype=np.int64)[kept],
        "mask_offsets": np.array(stored.mask_offsets, dtype=np.int64)[kept],
    }
    is_train = splits[kept] == "train"
    for i, members in enumerate(subsets[kept].T):
        index[f"subset_{i}"] = np.flatnonzero(members & is_train).astype(np.int64)
    return index


def _described_content(
    classes: tuple[str, ...], fractions: Sequence[float], index: Mapping[str, NDArray[Any]]
) -> bytes:
    """Return what the fingerprint covers beside pixels and masks; neither paths nor offsets, which are not content."""
    subsets = [f"subset_{i}" for i in range(len(fractions))]
    described: dict[str, Any] = {"classes": classes, "subsets": fractions}
    for name in ("labels", "splits", "groups", "hashes", "heights", "widths", *subsets):
        described[name] = index[name].tolist()
    return json.dumps(described).encode()


def _write_header(folder: Path, header: Mapping[str, Any]) -> None:
    """Write the header durably, with the sizes of the other files and the checksum of the index."""
    complete = {
        **header,
        "bytes": {name: (folder / name).stat().st_size for name in ("pixels.bin", "masks.bin")},
        "index_sha256": hashlib.sha256((folder / "index.npz").read_bytes()).hexdigest(),
    }
    with (folder / "cache.json").open("w", encoding="utf-8") as written:
        json.dump(complete, written, indent=1)
        written.flush()
        os.fsync(written.fileno())
