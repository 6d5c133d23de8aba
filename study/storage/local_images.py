"""Images on the machine that needs them, also where the data lie in an object store."""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

from filelock import FileLock

from analysis.records.object_store import ObjectStore, local_copy
from data_utils.cache import prepare

if TYPE_CHECKING:
    from data_utils.arrays import ImageArrays
    from data_utils.config import DataConfig
    from data_utils.image_storing import ProgressCallback


def open_images(config: DataConfig, domain: str, progress: ProgressCallback | None = None) -> ImageArrays:
    """Prepare images as `data_utils.cache.prepare` does, on every node from its own disk.

    Raises:
        DataError: as `prepare`.
        StudyError: the address of the data is wrong, or access is refused.
        StoreUnreachable: the store does not answer.
    """
    return prepare(with_local_data(config), domain, progress)


def with_local_data(config: DataConfig) -> DataConfig:
    """The same configuration with the data on this machine's disk."""
    if not isinstance(config.root, str):
        return config
    return config.model_copy(update={"root": _copied(config.root)})


@cache
def _copied(url: str) -> Path:
    """Copy a data set to this machine, once for all of its processes; what is there already is not copied again."""
    folder = local_copy(url, "data")
    folder.mkdir(parents=True, exist_ok=True)
    with FileLock(folder.with_name(f".{folder.name}.lock"), fallback_to_soft=False):
        ObjectStore(url).download_tree(folder)
    return folder
