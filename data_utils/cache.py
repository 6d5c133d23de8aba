"""Caches of decoded images: the door through which every study gets its images, one folder for each domain and configuration."""

from __future__ import annotations

import hashlib
import json
import shutil
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from filelock import FileLock

from data_utils.arrays import VERSION, ImageArrays, open_arrays
from data_utils.cache_building import build
from data_utils.config import DataConfig, cache_root
from data_utils.errors import DataError
from data_utils.image_storing import ProgressCallback, decode_in_order
from data_utils.leaks import refuse_leaks
from data_utils.sources.opening import open_source
from data_utils.sources.source import Source

_BUILDING = "-building-"
"""In the names of temporary folders, which lie beside the finished ones so that a rename publishes them."""


def prepare(config: DataConfig, domain: str, progress: ProgressCallback | None = None) -> ImageArrays:
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
        refuse_leaks(config, opened)
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
    refuse_leaks(config, opened)
    return opened


def _unwritable(root: Path, error: OSError) -> DataError:
    return DataError(
        f"data.cache_dir: {root} cannot be written ({error.strerror}). Set data.cache_dir or WBC_STUDY_CACHE."
    )


@contextmanager
def _one_at_a_time(path: Path) -> Iterator[None]:
    """Let one process of this machine build: the others would only decode the same images beside it."""
    lock = FileLock(path, fallback_to_soft=False)
    # Without locks (some shared folders have none) the first to finish wins.
    with suppress(OSError):
        lock.acquire()
    try:
        yield
    finally:
        # A process that waits for the deleted file locks a new one and finds the finished cache.
        with suppress(PermissionError):  # the file of another user
            path.unlink(missing_ok=True)
        lock.release()


def _build_and_publish(
    config: DataConfig, source: Source, final: Path, outdated: ImageArrays | None, progress: ProgressCallback | None
) -> ImageArrays:
    root = final.parent
    try:
        _remove_abandoned(root)
        building = Path(tempfile.mkdtemp(prefix=f".{final.name}{_BUILDING}", dir=root))
    except OSError as error:
        raise _unwritable(root, error) from error
    try:
        build(config, source, building, progress)
        if outdated is not None:
            _remove(final)
        return _publish(building, final)
    finally:
        shutil.rmtree(building, ignore_errors=True)


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
        True where no file can be read now that could not be read when the cache was built.

    Raises:
        UnreadableImage: a file still cannot be read, and `data.unreadable` is fatal.
    """
    if not arrays.skipped:
        return True
    again = [i for i, item in enumerate(source.items) if item.path in arrays.skipped]
    if len(again) < len(arrays.skipped):
        return False  # an image whose size is known now has become tiles
    # Fatal decodes and fails as a build does.
    return all(decoded.unreadable for _, decoded in decode_in_order(config, source, again))


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
