"""Ready-made training fractions `WBC_1`, `WBC_10` ... beside the full data set: found by name, matched by content."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from data_utils.decoding import content_hash, decode_image
from data_utils.errors import DataError, UnreadableImage
from data_utils.sources.layout import find_splits, scan_class_folders

_SUBSET = re.compile(r"wbc_(\d+(?:\.\d+)?)", re.IGNORECASE)


def find_subsets(root: Path, full: Path, classes: tuple[str, ...]) -> dict[float, dict[str, Path]]:
    """Find the folders of ready-made fractions, without decoding an image.

    Args:
        root: folder that holds the data sets.
        full: folder of the full data set, which is no subset.
        classes: class names.

    Returns:
        fraction in (0, 1) -> path relative to the subset's training folder -> image file.

    Raises:
        DataError: two folders hold the same fraction, or one lacks a class.
    """
    subsets: dict[float, dict[str, Path]] = {}
    for path in sorted(root.iterdir()):
        match = _SUBSET.fullmatch(path.name)
        if not match or not path.is_dir() or path == full or not 0 < float(match[1]) < 100:
            continue
        train = find_splits(path, classes)["train"]
        files = [file for images in scan_class_folders(train / "data", classes) for file in images]
        fraction = float(match[1]) / 100
        if fraction in subsets:
            raise DataError(f"{path}: a second subset of {match[1]} %; expected one folder for each fraction.")
        subsets[fraction] = {file.relative_to(train).as_posix(): file for file in files}
    return subsets


class SubsetMatcher:
    """Finds the training images of the full data set that the images of a subset are copies of.

    Args:
        folder: folder of the full data set, for messages.
        train: path of the item -> image file, for each training image of the full data set.
        read: decodes the training image of a path.
    """

    def __init__(self, folder: Path, train: Mapping[str, Path], read: Callable[[str], NDArray[np.uint8]]) -> None:
        self._folder = folder
        self._train = train
        self._read = read
        self._by_name = {_class_and_name(path): path for path in train}
        self._by_content: dict[str, str] = {}

    def match(self, images: Mapping[str, Path]) -> frozenset[str]:
        """Return the paths of the training images that a subset holds.

        Args:
            images: path relative to the subset's training folder -> image file.

        Raises:
            DataError: an image is not among the training images, or cannot be read.
        """
        return frozenset(self._match_image(relative, file) for relative, file in images.items())

    def _match_image(self, relative: str, file: Path) -> str:
        same_name = self._by_name.get(_class_and_name(relative))
        if same_name is not None and _same_bytes(file, self._train[same_name]):
            return same_name
        # The name or the encoding differs: only now is the full set decoded, once.
        if not self._by_content:
            self._by_content = self._hash_train()
        try:
            found = self._by_content.get(content_hash(decode_image(file)), same_name)
        except UnreadableImage:
            if same_name is None:
                raise
            # The full set has this image; a damaged copy of it in the subset says enough.
            found = same_name
        if found is None:
            raise DataError(
                f"{file}: this image of a ready-made subset is not among the training images of {self._folder}. "
                "A subset must be part of the full set: remove the image, or move the subset out of data.root."
            )
        return found

    def _hash_train(self) -> dict[str, str]:
        hashes: dict[str, str] = {}
        for path in self._train:
            try:
                hashes.setdefault(content_hash(self._read(path)), path)
            except UnreadableImage:
                # Reported, or skipped as configured, when the image itself is prepared.
                continue
        return hashes


def _class_and_name(relative: str) -> str:
    return "/".join(relative.split("/")[-2:]).casefold()


def _same_bytes(a: Path, b: Path) -> bool:
    return a.stat().st_size == b.stat().st_size and a.read_bytes() == b.read_bytes()
