"""Data sets in folders: `<split>/data/<Class>/` with optional `<split>/mask/<Class>/`, and flat unlabelled folders."""

from __future__ import annotations

import csv
import hashlib
import math
import os
import re
from collections import OrderedDict
from collections.abc import Iterator, Mapping
from concurrent.futures import Future
from contextlib import contextmanager
from functools import cached_property
from pathlib import Path
from threading import Lock
from typing import get_args

import numpy as np
from numpy.typing import NDArray

from data_utils.config import DataConfig
from data_utils.decoding import SUFFIXES, content_hash, decode_image, decode_mask, image_size, is_image
from data_utils.errors import DataError, UnreadableImage
from data_utils.sources.source import CLASSES, Item, Split

SPLITS: tuple[Split, ...] = get_args(Split)

_SUBSET = re.compile(r"wbc_(\d+(?:\.\d+)?)", re.IGNORECASE)
_WHOLE_IMAGES_KEPT = 4
"""Decoded unlabelled images kept while their tiles are read; a region of 2000 px takes 12 MB."""


class FolderSource:
    """Images of one domain in a folder below `data.root`; see `sources.Source`."""

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
        self.domain = domain
        self.classes = CLASSES[domain]
        if isinstance(config.root, str):
            raise DataError(
                f"data.root is the address {config.root}; expected a folder of this machine: copy it first."
            )
        self.root = config.root.expanduser()
        with _readable(self.root):
            self.folder = _find_domain(self.root, domain)
        self._images: list[Path] = []
        self._masks: list[Path | None] = []
        self._tiles: list[tuple[int, int, int, int] | None] = []
        self._extra: list[Path] = []
        self._groups_text = b""
        self._subset_images: dict[float, dict[str, Path]] = {}
        self._whole: OrderedDict[Path, Future[NDArray[np.uint8]]] = OrderedDict()
        self._lock = Lock()
        with _readable(self.folder):
            self.items = self._scan_classes(config) if self.classes else self._scan_unlabelled(config.tile_size)
            if domain == "wbc":
                self._scan_subsets()

    @cached_property
    def identity(self) -> str:
        """SHA-256 over names, sizes and modification times of all files; moving the whole folder does not change it."""
        digest = hashlib.sha256(self._groups_text)
        files = sorted({*self._images, *(mask for mask in self._masks if mask), *self._extra})
        for path in files:
            with _readable(path):
                status = path.stat()
            digest.update(f"{path.relative_to(self.root).as_posix()}|{status.st_size}|{status.st_mtime_ns}\n".encode())
        return digest.hexdigest()

    def read(self, i: int) -> NDArray[np.uint8]:
        """Return image i as uint8 (height, width, 3); see `sources.Source`."""
        tile = self._tiles[i]
        if tile is None:
            return decode_image(self._images[i])
        top, left, height, width = tile
        return self._read_whole(self._images[i])[top : top + height, left : left + width].copy()

    def read_mask(self, i: int) -> NDArray[np.uint8] | None:
        """Return the mask of image i as uint8 (height, width), None when it has none; see `sources.Source`."""
        mask = self._masks[i]
        return None if mask is None else decode_mask(mask)

    def mask_name(self, i: int) -> str:
        """Return the file of the mask of image i, empty when it has none."""
        return str(self._masks[i] or "")

    def has_mask(self, i: int) -> bool:
        """Say whether image i has a mask file."""
        return self._masks[i] is not None

    @cached_property
    def subsets(self) -> Mapping[float, frozenset[str]]:
        """Ready-made fractions `WBC_1`, `WBC_10` ... beside the full set; their images are matched by content.

        Raises:
            DataError: an image of a subset is not among the full set's training images, or cannot be read.
        """
        if not self._subset_images:
            return {}
        with _readable(self.root):
            return self._match_subsets()

    def _match_subsets(self) -> dict[float, frozenset[str]]:
        train = {item.path: i for i, item in enumerate(self.items) if item.split == "train"}
        by_name = {_class_and_name(path): path for path in train}
        by_content: dict[str, str] = {}
        subsets: dict[float, frozenset[str]] = {}
        for fraction, images in self._subset_images.items():
            members: set[str] = set()
            for relative, path in images.items():
                same_name = by_name.get(_class_and_name(relative))
                if same_name is not None and _same_bytes(path, self._images[train[same_name]]):
                    members.add(same_name)
                    continue
                # The name or the encoding differs: only now is the full set decoded, once.
                if not by_content:
                    by_content = self._hash_train(train)
                try:
                    found = by_content.get(content_hash(decode_image(path)), same_name)
                except UnreadableImage:
                    if same_name is None:
                        raise
                    # The full set has this image; a damaged copy of it in the subset says enough.
                    found = same_name
                if found is None:
                    raise DataError(
                        f"{path}: this image of a ready-made subset is not among the training images of {self.folder}. "
                        "A subset must be part of the full set: remove the image, or move the subset out of data.root."
                    )
                members.add(found)
            subsets[fraction] = frozenset(members)
        return subsets

    def _hash_train(self, train: Mapping[str, int]) -> dict[str, str]:
        hashes: dict[str, str] = {}
        for path, i in train.items():
            try:
                hashes.setdefault(content_hash(self.read(i)), path)
            except UnreadableImage:
                # Reported, or skipped as configured, when the image itself is prepared.
                continue
        return hashes

    def _scan_classes(self, config: DataConfig) -> list[Item]:
        parts = _find_splits(self.folder, self.classes)
        groups = self._read_groups(config) if self.domain == "wbc" and config.groups is not None else {}
        items = []
        for split, folder in parts.items():
            masks = _scan_masks(folder, self.classes)
            used: set[Path] = set()
            for label, files in enumerate(_scan_class_folders(folder / "data", self.classes)):
                for path in files:
                    relative = path.relative_to(self.folder).as_posix()
                    mask = masks.get((label, path.stem))
                    if mask is not None:
                        used.add(mask)
                    self._images.append(path)
                    self._masks.append(mask)
                    self._tiles.append(None)
                    items.append(Item(relative, split, label, groups.get(relative, "")))
            lost = sorted(set(masks.values()) - used)
            if lost:
                raise DataError(
                    f"{lost[0]}: this mask has no image of the same name in {folder / 'data'} ({len(lost)} such masks)."
                    " Add the image or remove the mask."
                )
        if groups and not any(item.group for item in items):
            raise DataError(
                f"data.groups: no path in {config.groups} names an image; found for example {next(iter(groups))!r}, "
                f"expected paths relative to {self.folder} such as {items[0].path!r}."
            )
        return items

    def _read_groups(self, config: DataConfig) -> dict[str, str]:
        path = Path(str(config.groups)).expanduser()
        try:
            self._groups_text = path.read_bytes()
            rows = csv.DictReader(self._groups_text.decode("utf-8-sig").splitlines())
            fields = list(rows.fieldnames or [])
        except (OSError, UnicodeDecodeError) as error:
            raise DataError(f"data.groups: {path} cannot be read ({error}); expected a CSV file in UTF-8.") from error
        missing = [name for name in ("path", config.group_column) if name not in fields]
        if missing:
            raise DataError(
                f"data.groups: {path} has no column {missing[0]!r}; found {', '.join(fields) or 'no columns'}. "
                "Expected `path` (relative to the wbc folder) and the column that data.group_column names."
            )
        groups: dict[str, str] = {}
        for row in rows:
            name = (row["path"] or "").strip().replace("\\", "/").removeprefix("./")
            group = (row[config.group_column] or "").strip()
            if groups.setdefault(name, group) != group:
                raise DataError(
                    f"data.groups: {path} puts {name!r} into two groups, {groups[name]!r} and {group!r}; expected one."
                )
        return groups

    def _scan_unlabelled(self, tile_size: int) -> list[Item]:
        # Not rglob, which passes over folders that it may not read.
        found = (Path(folder, name) for folder, _, names in os.walk(self.folder, onerror=_refuse) for name in names)
        files = sorted(path for path in found if is_image(path) and path.is_file())
        if not files:
            raise DataError(
                f"{self.folder}: no image was found ({_describe(self.folder)}); expected a folder of unlabelled images "
                f"({', '.join(sorted(SUFFIXES))})."
            )
        items = []
        for path in files:
            relative = path.relative_to(self.folder).as_posix()
            first = relative.split("/")[0].casefold()
            split: Split = next((name for name in SPLITS if name == first and "/" in relative), "train")
            for suffix, tile in _cut(path, tile_size):
                self._images.append(path)
                self._masks.append(None)
                self._tiles.append(tile)
                items.append(Item(relative + suffix, split, -1, relative))
        return items

    def _scan_subsets(self) -> None:
        for path in sorted(self.root.iterdir()):
            match = _SUBSET.fullmatch(path.name)
            if not match or not path.is_dir() or path == self.folder or not 0 < float(match[1]) < 100:
                continue
            train = _find_splits(path, self.classes)["train"]
            classes = _scan_class_folders(train / "data", self.classes)
            files = {file.relative_to(train).as_posix(): file for files in classes for file in files}
            fraction = float(match[1]) / 100
            if fraction in self._subset_images:
                raise DataError(f"{path}: a second subset of {match[1]} %; expected one folder for each fraction.")
            self._subset_images[fraction] = files
            self._extra.extend(files.values())

    def _read_whole(self, path: Path) -> NDArray[np.uint8]:
        with self._lock:
            future = self._whole.get(path)
            owner = future is None
            if future is None:
                future = self._whole[path] = Future()
                while len(self._whole) > _WHOLE_IMAGES_KEPT:
                    self._whole.popitem(last=False)
        if owner:
            # Other threads that want a tile of the same image wait for this one instead of decoding it again.
            try:
                future.set_result(decode_image(path))
            except UnreadableImage as error:
                future.set_exception(error)
        return future.result()


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


def _class_and_name(relative: str) -> str:
    return "/".join(relative.split("/")[-2:]).casefold()


def _same_bytes(a: Path, b: Path) -> bool:
    return a.stat().st_size == b.stat().st_size and a.read_bytes() == b.read_bytes()


def _describe(folder: Path) -> str:
    names = sorted(path.name + ("/" if path.is_dir() else "") for path in folder.iterdir())
    if not names:
        return "it is empty"
    return "it holds " + ", ".join(names[:8]) + (f" and {len(names) - 8} more" if len(names) > 8 else "")


def _folders(folder: Path) -> list[Path]:
    return sorted(path for path in folder.iterdir() if path.is_dir() and not path.name.startswith("."))


def _layout(folder: Path, classes: tuple[str, ...]) -> str:
    return (
        f"Expected layout:\n  {folder.name}/train/data/<Class>/*.jpg\n"
        f"  {folder.name}/train/mask/<Class>/*.png (optional)\n"
        f"  {folder.name}/val/data/<Class>/*.jpg (optional)\n  {folder.name}/test/data/<Class>/*.jpg (optional)\n"
        f"with <Class> one of {', '.join(classes)}."
    )


def _find_domain(root: Path, domain: str) -> Path:
    if not root.is_dir():
        found = "is a file" if root.exists() else "does not exist"
        raise DataError(f"data.root: {root} {found}; expected the folder that holds the data sets. Correct data.root.")
    folders = _folders(root)
    if domain == "wbc":
        wanted = "wbc or WBC_100"
        for name in ("wbc", "wbc_100"):
            matches = [path for path in folders if path.name.casefold() == name]
            if matches:
                return matches[0]
    else:
        wanted = f"{domain} (or a name that starts with it)"
        matches = [path for path in folders if path.name.casefold().startswith(domain)]
        exact = [path for path in matches if path.name.casefold() == domain]
        if len(exact or matches) > 1:
            names = ", ".join(path.name for path in exact or matches)
            raise DataError(f"data.root: {root} holds {names}; expected one folder {wanted}. Keep one of them.")
        if matches:
            return (exact or matches)[0]
    hint = ""
    if any((root / name).is_dir() for name in ("train", "data")):
        hint = (
            " data.root seems to be a data set itself: set it to the folder above, and name the data set as expected."
        )
    raise DataError(f"data.root: {root} has no folder named {wanted}: {_describe(root)}.{hint}")


def _find_splits(folder: Path, classes: tuple[str, ...]) -> dict[Split, Path]:
    by_name = {path.name.casefold(): path for path in _folders(folder)}
    parts = {split: by_name[split] for split in SPLITS if split in by_name and (by_name[split] / "data").is_dir()}
    if "train" in parts:
        return parts
    if not parts and (folder / "data").is_dir():
        return {"train": folder}
    raise DataError(f"{folder}: no train/data folder: {_describe(folder)}. {_layout(folder, classes)}")


def match_class(name: str, classes: tuple[str, ...]) -> int | None:
    """The label of the class that a folder is named after, in any case and also in the plural; None for no class."""
    wanted = name.casefold()
    return next((i for i, known in enumerate(classes) if wanted in (known.casefold(), known.casefold() + "s")), None)


def _scan_class_folders(data: Path, classes: tuple[str, ...]) -> list[list[Path]]:
    found: dict[int, Path] = {}
    for folder in _folders(data):
        label = match_class(folder.name, classes)
        if label is None:
            if any(is_image(path) for path in folder.iterdir()):
                raise DataError(
                    f"{folder}: a class that is not known; expected {', '.join(classes)}. "
                    "Rename the folder or move it out."
                )
        elif label in found:
            raise DataError(f"{folder} and {found[label]} are the same class {classes[label]}; expected one folder.")
        else:
            found[label] = folder
    files = []
    for label, name in enumerate(classes):
        if label not in found:
            raise DataError(
                f"{data}: no folder for class {name}: {_describe(data)}. Expected one folder for each of "
                f"{', '.join(classes)}."
            )
        images = sorted(path for path in found[label].iterdir() if is_image(path))
        if not images:
            raise DataError(
                f"{found[label]}: class {name} has no image: {_describe(found[label])}. Expected at least one image "
                f"({', '.join(sorted(SUFFIXES))})."
            )
        files.append(images)
    return files


def _scan_masks(folder: Path, classes: tuple[str, ...]) -> dict[tuple[int, str], Path]:
    masks: dict[tuple[int, str], Path] = {}
    if not (folder / "mask").is_dir():
        return masks
    for class_folder in _folders(folder / "mask"):
        label = match_class(class_folder.name, classes)
        for path in sorted(path for path in class_folder.iterdir() if is_image(path)):
            if label is None:
                raise DataError(f"{path}: this mask has no image: its class is not one of {', '.join(classes)}.")
            if (label, path.stem) in masks:
                raise DataError(
                    f"{path} and {masks[label, path.stem]} are masks of one image; expected one. Remove one."
                )
            masks[label, path.stem] = path
    return masks


def _cut(path: Path, tile_size: int) -> list[tuple[str, tuple[int, int, int, int] | None]]:
    """Cut an image into equal, about square tiles of at most `tile_size` px; neighbours may share a few pixels."""
    try:
        height, width = image_size(path)
    except UnreadableImage:
        # Listed as it is: reading it reports the reason, or skips it as configured.
        return [("", None)]
    rows, columns = math.ceil(height / tile_size), math.ceil(width / tile_size)
    if rows * columns == 1:
        return [("", None)]
    high, wide = math.ceil(height / rows), math.ceil(width / columns)
    tops = [round(row * (height - high) / max(1, rows - 1)) for row in range(rows)]
    lefts = [round(column * (width - wide) / max(1, columns - 1)) for column in range(columns)]
    return [(f"#{r}-{c}", (top, left, high, wide)) for r, top in enumerate(tops) for c, left in enumerate(lefts)]
