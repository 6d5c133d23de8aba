"""Prepared images of one domain: one flat uint8 file, memory-mapped, with an index beside it."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from data_utils.errors import DataError

VERSION = 2
"""Version of the files in a cache folder; a cache of another version is built anew."""


class ImageArrays:
    """Prepared images of one domain, read-only and memory-mapped; pickling passes the folder only.

    Attributes:
        folder: folder of the files.
        domain: `wbc`, `cam16` or `prcc`.
        classes: class names in label order, empty when unlabelled.
        fingerprint: SHA-256 over stored pixels, masks and sizes, content hashes, labels, splits, groups, class names and
            ready-made subsets.
        labels: int64 (N,), -1 when unlabelled.
        splits: str (N,), `train`, `val` or `test`.
        groups: str (N,), empty when unknown.
        paths: str (N,), unique.
        hashes: str (N,), content hashes of the decoded images before they were reduced.
        heights: int64 (N,), stored, px.
        widths: int64 (N,), stored, px.
        subsets: ready-made training fractions, fraction -> sorted indices.
        unreadable: (path, reason) of files that were skipped.
        skipped: paths of the items that the unreadable files belong to.
        dropped: (path, split, path of the image that was kept) of images dropped because another split holds them.
        duplicates: paths of images with identical content, in one split or several, before any was dropped.
        validation_origin: where the split val is from: `folder` (given by the source), `set aside` or `none`.
        test_origin: where the split test is from, in the same words.
    """

    def __init__(self, folder: Path) -> None:
        """Open a prepared folder; see `open_arrays`."""
        self.folder = folder
        header = _read_header(folder)
        self.domain: str = header["domain"]
        self.classes: tuple[str, ...] = tuple(header["classes"])
        self.fingerprint: str = header["fingerprint"]
        self.unreadable: list[tuple[str, str]] = [(path, reason) for path, reason in header["unreadable"]]
        self.skipped: frozenset[str] = frozenset(header["skipped"])
        self.dropped: list[tuple[str, str, str]] = [(path, split, kept) for path, split, kept in header["dropped"]]
        self.duplicates: list[list[str]] = header["duplicates"]
        self.validation_origin: str = header["validation_origin"]
        self.test_origin: str = header["test_origin"]
        with np.load(folder / "index.npz", allow_pickle=False) as index:
            self.labels: NDArray[np.int64] = index["labels"]
            self.splits: NDArray[np.str_] = index["splits"]
            self.groups: NDArray[np.str_] = index["groups"]
            self.paths: NDArray[np.str_] = index["paths"]
            self.hashes: NDArray[np.str_] = index["hashes"]
            self.heights: NDArray[np.int64] = index["heights"]
            self.widths: NDArray[np.int64] = index["widths"]
            self._offsets: NDArray[np.int64] = index["offsets"]
            self._mask_offsets: NDArray[np.int64] = index["mask_offsets"]
            self.subsets: Mapping[float, NDArray[np.int64]] = {
                fraction: index[f"subset_{i}"] for i, fraction in enumerate(header["subsets"])
            }
        self._pixels = _map(folder / "pixels.bin")
        self._masks = _map(folder / "masks.bin")
        self._frames = self._view_as_frames()

    def __reduce__(self) -> tuple[Callable[[Path], ImageArrays], tuple[Path]]:
        return (open_arrays, (self.folder,))

    def __len__(self) -> int:
        return len(self.labels)

    def indices(self, split: str) -> NDArray[np.int64]:
        """Return the sorted indices of a split's images, int64."""
        return np.flatnonzero(self.splits == split).astype(np.int64)

    def image(self, i: int) -> NDArray[np.uint8]:
        """Return image i as a read-only view, uint8 (height, width, 3)."""
        start, height, width = int(self._offsets[i]), int(self.heights[i]), int(self.widths[i])
        return self._pixels[start : start + 3 * height * width].reshape(height, width, 3)

    def batch(self, indices: NDArray[np.int64] | Sequence[int]) -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
        """Copy images into one array.

        Args:
            indices: B indices, in any order, also repeated.

        Returns:
            uint8 (B, largest height, largest width, 3), padded with zeros at the bottom and right, and
            int64 (B, 2) of heights and widths.
        """
        chosen = np.asarray(indices, dtype=np.int64)
        sizes = np.stack([self.heights[chosen], self.widths[chosen]], axis=1)
        if self._frames is not None and len(chosen):
            return self._frames[self._offsets[chosen] // self._frames[0].size], sizes
        high, wide = sizes.max(axis=0).tolist() if len(chosen) else (0, 0)
        images = np.zeros((len(chosen), high, wide, 3), dtype=np.uint8)
        for row, i in enumerate(chosen.tolist()):
            image = self.image(i)
            images[row, : image.shape[0], : image.shape[1]] = image
        return images, sizes

    @property
    def masked(self) -> NDArray[np.bool_]:
        """True where an image has a mask, bool (N,)."""
        masked: NDArray[np.bool_] = self._mask_offsets >= 0
        return masked

    def has_mask(self, i: int) -> bool:
        """Say whether image i has a mask."""
        return bool(self._mask_offsets[i] >= 0)

    def mask(self, i: int) -> NDArray[np.uint8] | None:
        """Return the mask of image i, uint8 (height, width): nucleus 255, cytoplasm 128, background 0; None without."""
        start, height, width = int(self._mask_offsets[i]), int(self.heights[i]), int(self.widths[i])
        return None if start < 0 else self._masks[start : start + height * width].reshape(height, width)

    def _view_as_frames(self) -> NDArray[np.uint8] | None:
        """View the file as (frames, height, width, 3) where all images have one size: batches are then one copy."""
        if not len(self) or len(set(self.heights.tolist())) > 1 or len(set(self.widths.tolist())) > 1:
            return None
        height, width = int(self.heights[0]), int(self.widths[0])
        frame = 3 * height * width
        # Dropped images stay in the file and may have other sizes.
        if len(self._pixels) % frame or np.any(self._offsets % frame):
            return None
        return self._pixels.reshape(-1, height, width, 3)


def open_arrays(folder: Path) -> ImageArrays:
    """Open prepared images; sizes and the index are verified, pixels are not read.

    Raises:
        DataError: the folder is not a complete cache of this version.
    """
    return ImageArrays(Path(folder))


def _map(path: Path) -> NDArray[np.uint8]:
    if path.stat().st_size == 0:
        return np.zeros(0, dtype=np.uint8)
    # As a plain array: every slice of a memmap object would carry its overhead.
    return np.asarray(np.memmap(path, dtype=np.uint8, mode="r"))


def _read_header(folder: Path) -> dict[str, Any]:
    try:
        header = json.loads((folder / "cache.json").read_text(encoding="utf-8"))
        version = header["version"]
        if version != VERSION:
            raise DataError(f"{folder}: a cache of version {version}, expected {VERSION}. Run `prepare` again.")
        sizes = {name: (folder / name).stat().st_size for name in header["bytes"]}
        index = hashlib.sha256((folder / "index.npz").read_bytes()).hexdigest()
    except (OSError, json.JSONDecodeError, UnicodeDecodeError, KeyError, TypeError) as error:
        raise DataError(
            f"{folder}: not a complete image cache ({type(error).__name__}: {error}). "
            "Remove it and run `prepare` again."
        ) from error
    if sizes != header["bytes"] or index != header["index_sha256"]:
        raise DataError(
            f"{folder}: a damaged image cache: found {sizes}, expected {header['bytes']} bytes and an unchanged index. "
            "Remove it and run `prepare` again."
        )
    return dict(header)
