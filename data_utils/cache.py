"""Every image decoded once: splits settled, leaks dropped, one cache folder for each domain and configuration."""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import shutil
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

from data_utils.arrays import VERSION, ImageArrays, open_arrays
from data_utils.config import DataConfig, cache_root
from data_utils.decoding import content_hash, reduce_image
from data_utils.errors import DataError, UnreadableImage
from data_utils.prefetch import work_ahead
from data_utils.sources.opening import open_source
from data_utils.sources.source import Item, Source, Split
from data_utils.splits import join_units, set_aside

_RANK: Mapping[str, int] = {"train": 0, "val": 1, "test": 2}
"""An image in several splits stays in the one with the highest rank: what is judged on is never trained or tuned on."""

_BUILDING = "-building-"
"""In the names of temporary folders, which lie beside the finished ones so that a rename publishes them."""

Progress = Callable[[int, int], None]

__all__ = ["ImageArrays", "Progress", "cache_root", "open_arrays", "prepare"]


def prepare(config: DataConfig, domain: str, progress: Progress | None = None) -> ImageArrays:
    """Decode the images of a domain once, settle their splits and return them memory-mapped.

    A cache of the same images and settings is opened instead; of several processes one builds it and the others wait.
    Where val is missing, and for wbc where test is missing, a fifth of train is set aside. Identical images in several
    splits are dropped from all but the last of train, val, test; in the unlabelled domain also when `data.leaks` is
    fatal, since empty tiles look alike without being a mistake. What is stored does not depend on
    `data.unreadable` and `data.leaks`: they are applied when a cache is opened, and the first also ends a build early.

    Args:
        config: the data configuration; augmentation settings do not matter here.
        domain: `wbc`, `cam16` or `prcc`.
        progress: called with (images decoded, images in all).

    Raises:
        DataError: the data set is not as expected, a split lacks a class, an image cannot be read, or identical images
            are in two splits, the last two depending on the configuration.
    """
    source = open_source(config, domain)
    root = cache_root(config)
    final = root / f"{domain}-{_key(config, source)}"
    opened = _open_or_none(final)
    if opened is not None and _is_current(config, source, opened):
        _check_leaks(config, opened)
        return opened
    try:
        root.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise _unwritable(root, error) from error
    with _one_at_a_time(root / f".{final.name}.lock"):
        # Another process may have built it while this one waited.
        opened = _open_or_none(final)
        if opened is None or not _is_current(config, source, opened):
            opened = _build_and_publish(config, source, final, opened, progress)
    # The one that built it may have had another policy.
    _is_current(config, source, opened)
    _check_leaks(config, opened)
    return opened


def _unwritable(root: Path, error: OSError) -> DataError:
    return DataError(
        f"data.cache_dir: {root} cannot be written ({error.strerror}). Set data.cache_dir or WBC_STUDY_CACHE."
    )


@contextmanager
def _one_at_a_time(lock: Path) -> Iterator[None]:
    """Let one process of this machine build: the others would only decode the same images beside it."""
    descriptor = None
    # Without locks (some shared folders have none) the first to finish wins.
    with suppress(OSError):
        descriptor = os.open(lock, os.O_RDWR | os.O_CREAT, 0o644)
        fcntl.flock(descriptor, fcntl.LOCK_EX)
    try:
        yield
    finally:
        if descriptor is not None:
            # Whoever waits for the deleted file finds the finished cache; should it have failed, the first to finish wins.
            lock.unlink(missing_ok=True)
            os.close(descriptor)


def _build_and_publish(
    config: DataConfig, source: Source, final: Path, outdated: ImageArrays | None, progress: Progress | None
) -> ImageArrays:
    root = final.parent
    try:
        _remove_abandoned(root)
        building = Path(tempfile.mkdtemp(prefix=f".{final.name}{_BUILDING}", dir=root))
    except OSError as error:
        raise _unwritable(root, error) from error
    try:
        _build(config, source, building, progress)
        if outdated is not None:
            _remove(final)
        return _publish(building, final)
    finally:
        shutil.rmtree(building, ignore_errors=True)


@dataclass
class _Decoded:
    image: NDArray[np.uint8] | None = None
    mask: NDArray[np.uint8] | None = None
    content: str = ""
    unreadable: list[tuple[str, str]] = field(default_factory=list)


@dataclass
class _Index:
    """Rows of the images that were stored, in the order of the source."""

    items: list[Item] = field(default_factory=list)
    hashes: list[str] = field(default_factory=list)
    heights: list[int] = field(default_factory=list)
    widths: list[int] = field(default_factory=list)
    offsets: list[int] = field(default_factory=list)
    mask_offsets: list[int] = field(default_factory=list)
    unreadable: list[tuple[str, str]] = field(default_factory=list)
    skipped: list[str] = field(default_factory=list)


def _key(config: DataConfig, source: Source) -> str:
    settings = {
        "version": VERSION,
        "source": config.source_of(source.domain),
        "domain": source.domain,
        "identity": source.identity,
        "stored_size": config.stored_size,
        "tile_size": config.tile_size,
        "test": config.test,
        # The content of the groups file is part of the identity.
        "group_column": config.group_column,
    }
    return hashlib.sha256(json.dumps(settings, sort_keys=True).encode()).hexdigest()[:20]


def _open_or_none(folder: Path) -> ImageArrays | None:
    try:
        return open_arrays(folder)
    except DataError:
        return None


def _is_current(config: DataConfig, source: Source, arrays: ImageArrays) -> bool:
    """Read again what could not be read: permissions may have changed without a trace in names, sizes and times.

    Returns:
        False where a file can be read now.

    Raises:
        UnreadableImage: a file still cannot be read, and `data.unreadable` is fatal.
    """
    if not arrays.skipped:
        return True
    again = [i for i, item in enumerate(source.items) if item.path in arrays.skipped]
    if len(again) < len(arrays.skipped):
        return False  # an image whose size is known now has become tiles
    # Fatal decodes and fails as a build does.
    return all(decoded.unreadable for _, decoded in _decode_in_order(config, source, again))


def _check_leaks(config: DataConfig, arrays: ImageArrays) -> None:
    if arrays.dropped and config.leaks == "fatal" and arrays.classes:
        path, split, other = arrays.dropped[0]
        raise DataError(
            f"{other} and {path} are the same image in two splits ({len(arrays.dropped)} such images, the second in "
            f"{split}). Remove it from one split, or set data.leaks: drop."
        )


def _remove_abandoned(root: Path) -> None:
    """Remove what killed builds left behind: hidden folders in which nothing was written for an hour."""
    for folder in root.glob(f".*{_BUILDING}*"):
        try:
            newest = max(path.stat().st_mtime for path in [folder, *folder.iterdir()])
        except OSError:
            continue  # its owner has just finished with it
        if newest < time.time() - 3600:
            shutil.rmtree(folder, ignore_errors=True)


def _publish(building: Path, final: Path) -> ImageArrays:
    """Give the finished folder its name; whichever process comes first wins, the others use its folder."""
    for _ in range(3):
        try:
            building.rename(final)
        except OSError:
            # Renaming onto a folder that is not empty fails: another process was first, or a damaged cache is there.
            opened = _open_or_none(final)
            if opened is not None:
                return opened
            _remove(final)
        else:
            return open_arrays(final)
    raise DataError(f"{final}: a damaged cache could not be replaced. Remove the folder and run again.")


def _remove(final: Path) -> None:
    """Remove a cache that is damaged or out of date; under its name it is whole or gone."""
    aside = Path(tempfile.mkdtemp(prefix=f".{final.name}{_BUILDING}", dir=final.parent))
    try:
        final.rename(aside / "cache")
    except FileNotFoundError:
        pass  # another process has just moved it away
    finally:
        shutil.rmtree(aside, ignore_errors=True)


def _build(config: DataConfig, source: Source, folder: Path, progress: Progress | None) -> None:
    chosen = [i for i, item in enumerate(source.items) if not (item.split == "test" and config.test == "none")]
    ready_made = source.subsets
    digest = hashlib.sha256()
    with (folder / "pixels.bin").open("wb") as pixels, (folder / "masks.bin").open("wb") as masks:
        index = _store(config, source, chosen, files=(pixels, masks), digest=digest, progress=progress)
        for file in (pixels, masks):
            file.flush()
            os.fsync(file.fileno())
    items = index.items
    labels = np.array([item.label for item in items], dtype=np.int64)
    groups = np.array([item.group for item in items], dtype=np.str_)
    hashes = np.array(index.hashes, dtype=np.str_)
    fractions = sorted(ready_made)
    membership = np.array(
        [[item.path in ready_made[fraction] for fraction in fractions] for item in items], dtype=np.bool_
    ).reshape(len(items), len(fractions))
    # Identical tiles of an unlabelled image are often plain background and join nothing.
    units = join_units(groups, hashes if source.classes else np.full(len(items), ""))
    splits, origins = _settle_splits(
        config,
        source,
        given=[item.split for item in items],
        labels=labels,
        units=units,
        hashes=hashes,
        subsets=membership,
    )
    kept, dropped, duplicates = _find_leaks(items, splits, index.hashes)
    lost = ""
    if index.unreadable or dropped:
        lost = f" ({len(index.unreadable)} files could not be read, {len(dropped)} images are also in another split)"
    _check_splits(config, source, labels[kept], splits[kept], origins=origins, lost=lost)
    is_train = splits[kept] == "train"
    subsets = [np.flatnonzero(members & is_train).astype(np.int64) for members in membership[kept].T]
    arrays: dict[str, NDArray[Any]] = {
        "labels": labels[kept],
        "splits": splits[kept],
        "groups": groups[kept],
        "paths": np.array([item.path for item in items], dtype=np.str_)[kept],
        "hashes": hashes[kept],
        "heights": np.array(index.heights, dtype=np.int64)[kept],
        "widths": np.array(index.widths, dtype=np.int64)[kept],
        "offsets": np.array(index.offsets, dtype=np.int64)[kept],
        "mask_offsets": np.array(index.mask_offsets, dtype=np.int64)[kept],
    }
    arrays |= {f"subset_{i}": members for i, members in enumerate(subsets)}
    described: dict[str, Any] = {"classes": source.classes, "subsets": fractions}
    # Neither paths nor offsets: the fingerprint is that of the content.
    for name in (
        "labels",
        "splits",
        "groups",
        "hashes",
        "heights",
        "widths",
        *(f"subset_{i}" for i in range(len(fractions))),
    ):
        described[name] = arrays[name].tolist()
    digest.update(json.dumps(described).encode())
    np.savez(folder / "index.npz", allow_pickle=False, **arrays)
    header = {
        "version": VERSION,
        "domain": source.domain,
        "classes": list(source.classes),
        "fingerprint": digest.hexdigest(),
        "unreadable": index.unreadable,
        "skipped": index.skipped,
        "dropped": dropped,
        "duplicates": duplicates,
        "validation_origin": origins["val"],
        "test_origin": origins["test"],
        "subsets": fractions,
        "bytes": {name: (folder / name).stat().st_size for name in ("pixels.bin", "masks.bin")},
        "index_sha256": hashlib.sha256((folder / "index.npz").read_bytes()).hexdigest(),
    }
    # Written last: a folder without it is no cache.
    with (folder / "cache.json").open("w", encoding="utf-8") as written:
        json.dump(header, written, indent=1)
        written.flush()
        os.fsync(written.fileno())


def _store(
    config: DataConfig,
    source: Source,
    chosen: Sequence[int],
    *,
    files: tuple[BinaryIO, BinaryIO],
    digest: hashlib._Hash,
    progress: Progress | None,
) -> _Index:
    """Stream images and masks to their files, in the order of the source whatever thread decodes first."""
    pixels, masks = files
    index = _Index()
    for done, (i, decoded) in enumerate(_decode_in_order(config, source, chosen), start=1):
        index.unreadable.extend(decoded.unreadable)
        if decoded.unreadable:
            index.skipped.append(source.items[i].path)
        if decoded.image is not None:
            index.items.append(source.items[i])
            index.hashes.append(decoded.content)
            index.heights.append(decoded.image.shape[0])
            index.widths.append(decoded.image.shape[1])
            index.offsets.append(pixels.tell())
            index.mask_offsets.append(-1 if decoded.mask is None else masks.tell())
            data = np.ascontiguousarray(decoded.image).tobytes()
            pixels.write(data)
            digest.update(data)
            if decoded.mask is not None:
                data = np.ascontiguousarray(decoded.mask).tobytes()
                masks.write(data)
                digest.update(data)
        if progress is not None:
            progress(done, len(chosen))
    return index


def _decode_in_order(config: DataConfig, source: Source, chosen: Sequence[int]) -> Iterator[tuple[int, _Decoded]]:
    """Decode in several threads, with a bounded number of images in memory."""
    return work_ahead(lambda i: _decode(config, source, i), chosen)


def _decode(config: DataConfig, source: Source, i: int) -> _Decoded:
    decoded = _Decoded()
    try:
        image = source.read(i)
    except UnreadableImage as error:
        if config.unreadable == "fatal":
            raise
        decoded.unreadable.append((error.path, error.reason))
        return decoded
    mask = None
    try:
        mask = source.read_mask(i) if source.has_mask(i) else None
    except UnreadableImage as error:
        if config.unreadable == "fatal":
            raise
        # The image itself is good: it is used without its mask.
        decoded.unreadable.append((error.path, error.reason))
    if mask is not None and mask.shape != image.shape[:2]:
        raise DataError(
            f"{source.items[i].path}: its mask is {mask.shape[1]}x{mask.shape[0]} px, the image {image.shape[1]}x"
            f"{image.shape[0]} px; expected equal sizes. Replace or remove the mask {source.mask_name(i)}."
        )
    decoded.content = content_hash(image)
    if config.stored_size != "original":
        image, mask = reduce_image(image, mask, config.stored_size)
    decoded.image, decoded.mask = image, mask
    return decoded


def _settle_splits(
    config: DataConfig,
    source: Source,
    *,
    given: Sequence[Split],
    labels: NDArray[np.int64],
    units: NDArray[np.int64],
    hashes: NDArray[np.str_],
    subsets: NDArray[np.bool_],
) -> tuple[NDArray[np.str_], dict[str, str]]:
    """Set aside what the source does not give; test first, so that it does not depend on whether val is given."""
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


def _find_leaks(
    items: Sequence[Item], splits: NDArray[np.str_], hashes: Sequence[str]
) -> tuple[NDArray[np.int64], list[tuple[str, str, str]], list[list[str]]]:
    """Find identical images; those in a split of lower rank are dropped. Returns kept rows, dropped and duplicates."""
    same: dict[str, list[int]] = {}
    for row, content in enumerate(hashes):
        same.setdefault(content, []).append(row)
    twins = [rows for rows in same.values() if len(rows) > 1]
    dropped = []
    gone: set[int] = set()
    for rows in twins:
        best = max(rows, key=lambda row: _RANK[str(splits[row])])
        for row in rows:
            if splits[row] != splits[best]:
                gone.add(row)
                dropped.append((items[row].path, str(splits[row]), items[best].path))
    kept = np.array([row for row in range(len(items)) if row not in gone], dtype=np.int64)
    return kept, dropped, [[items[row].path for row in rows] for rows in twins]


def _check_splits(
    config: DataConfig,
    source: Source,
    labels: NDArray[np.int64],
    splits: NDArray[np.str_],
    *,
    origins: Mapping[str, str],
    lost: str,
) -> None:
    """Check that every split has an image of every class: what no image shows is neither learnt nor judged."""
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
