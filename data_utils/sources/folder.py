"""The source of data sets in folders: labelled ones by split and class, and flat folders of unlabelled images."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from data_utils.config import DataConfig
from data_utils.decoding import SUFFIXES, decode_image, decode_mask, is_image
from data_utils.errors import DataError
from data_utils.sources.groups_file import GroupsFile, read_groups
from data_utils.sources.layout import describe_folder, find_domain, find_splits, scan_class_folders, scan_masks
from data_utils.sources.ready_made_fractions import SubsetMatcher, find_subsets
from data_utils.sources.source import CLASSES, SPLITS, Item, Split
from data_utils.sources.tiles import Tile, WholeImages, cut_into_tiles


@dataclass(frozen=True)
class _Files:
    """The files of one item."""

    image: Path
    mask: Path | None = None
    tile: Tile | None = None


class FolderSource:
    """Images of one domain in a folder below `data.root`; see `Source`."""

    def __init__(self, config: DataConfig, domain: str) -> None:
        """Scan the folder; no image is decoded.

        Args:
            config: `root`, `tile_size`, `groups` and `group_column` are read.
            domain: `wbc`, `cam16` or `prcc`.

        Raises:
            DataError: a folder or class is missing, empty or cannot be read, or a mask has no image.
        """
        if config.root is None:
            raise DataError("data.root is missing: set it to the folder that holds the data sets.")
        if isinstance(config.root, str):
            raise DataError(
                f"data.root is the address {config.root}; expected a folder of this machine: copy it first."
            )
        self.domain = domain
        self.classes = CLASSES[domain]
        self.root = config.root.expanduser()
        with _readable(self.root):
            self.folder = find_domain(self.root, domain)
        self.items: list[Item] = []
        self._files: list[_Files] = []
        self._groups = GroupsFile({}, b"")
        self._subset_files: dict[float, dict[str, Path]] = {}
        self._whole_images = WholeImages()
        with _readable(self.folder):
            if self.classes:
                self._scan_classes(config)
            else:
                self._scan_unlabelled(config.tile_size)
            if domain == "wbc":
                self._subset_files = find_subsets(self.root, self.folder, self.classes)

    @cached_property
    def identity(self) -> str:
        """SHA-256 over names, sizes and modification times of all files; moving the whole folder does not change it."""
        digest = hashlib.sha256(self._groups.content)
        images = {files.image for files in self._files}
        masks = {files.mask for files in self._files if files.mask}
        copies = {file for files in self._subset_files.values() for file in files.values()}
        for path in sorted(images | masks | copies):
            with _readable(path):
                status = path.stat()
            digest.update(f"{path.relative_to(self.root).as_posix()}|{status.st_size}|{status.st_mtime_ns}\n".encode())
        return digest.hexdigest()

    def read(self, i: int) -> NDArray[np.uint8]:
        """Return image i as uint8 (height, width, 3); see `Source`."""
        files = self._files[i]
        return decode_image(files.image) if files.tile is None else self._whole_images.read(files.image, files.tile)

    def read_mask(self, i: int) -> NDArray[np.uint8] | None:
        """Return the mask of image i as uint8 (height, width), None when it has none; see `Source`."""
        mask = self._files[i].mask
        return None if mask is None else decode_mask(mask)

    def mask_name(self, i: int) -> str:
        """Return the file of the mask of image i, empty when it has none."""
        return str(self._files[i].mask or "")

    def has_mask(self, i: int) -> bool:
        """Say whether image i has a mask file."""
        return self._files[i].mask is not None

    @cached_property
    def subsets(self) -> Mapping[float, frozenset[str]]:
        """Ready-made fractions `WBC_1`, `WBC_10` ... beside the full set; their images are matched by content.

        Raises:
            DataError: an image of a subset is not among the full set's training images, or cannot be read.
        """
        if not self._subset_files:
            return {}
        train = {item.path: i for i, item in enumerate(self.items) if item.split == "train"}
        matcher = SubsetMatcher(
            self.folder,
            {path: self._files[i].image for path, i in train.items()},
            lambda path: self.read(train[path]),
        )
        with _readable(self.root):
            return {fraction: matcher.match(files) for fraction, files in self._subset_files.items()}

    def _scan_classes(self, config: DataConfig) -> None:
        parts = find_splits(self.folder, self.classes)
        if self.domain == "wbc" and config.groups is not None:
            self._groups = read_groups(config.groups.expanduser(), config.group_column)
        for split, folder in parts.items():
            self._scan_split(split, folder)
        if self._groups.groups and not any(item.group for item in self.items):
            raise DataError(
                f"data.groups: no path in {config.groups} names an image; found for example "
                f"{next(iter(self._groups.groups))!r}, expected paths relative to {self.folder} such as "
                f"{self.items[0].path!r}."
            )

    def _scan_split(self, split: Split, folder: Path) -> None:
        masks = scan_masks(folder, self.classes)
        used: set[Path] = set()
        for label, images in enumerate(scan_class_folders(folder / "data", self.classes)):
            for path in images:
                relative = path.relative_to(self.folder).as_posix()
                mask = masks.get((label, path.stem))
                if mask is not None:
                    used.add(mask)
                self._files.append(_Files(path, mask))
                self.items.append(Item(relative, split, label, self._groups.groups.get(relative, "")))
        lost = sorted(set(masks.values()) - used)
        if lost:
            raise DataError(
                f"{lost[0]}: this mask has no image of the same name in {folder / 'data'} ({len(lost)} such masks)."
                " Add the image or remove the mask."
            )

    def _scan_unlabelled(self, tile_size: int) -> None:
        # Not rglob, which passes over folders that it may not read.
        found = (Path(folder, name) for folder, _, names in os.walk(self.folder, onerror=_refuse) for name in names)
        files = sorted(path for path in found if is_image(path) and path.is_file())
        if not files:
            raise DataError(
                f"{self.folder}: no image was found ({describe_folder(self.folder)}); expected a folder of unlabelled images "
                f"({', '.join(sorted(SUFFIXES))})."
            )
        for path in files:
            relative = path.relative_to(self.folder).as_posix()
            first = relative.split("/")[0].casefold()
            split: Split = next((name for name in SPLITS if name == first and "/" in relative), "train")
            for suffix, tile in cut_into_tiles(path, tile_size):
                self._files.append(_Files(path, tile=tile))
                self.items.append(Item(relative + suffix, split, -1, relative))


@contextmanager
def _readable(path: Path) -> Iterator[None]:
    """Turn the system's refusal to list or read something at or below a path into a message for the user."""
    try:
        yield
    except OSError as error:
        raise DataError(
            f"{error.filename or path}: cannot be read ({error.strerror or error}); expected folders and files that this "
            "user may list and read. Correct its permissions or name, or data.root."
        ) from error


def _refuse(error: OSError) -> None:
    raise error
