"""Image files, prepared as a study prepares validation images: decoded ahead in threads, in batches on one device."""

from __future__ import annotations

import glob
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from data_utils.augmentation import resample, whole_images
from data_utils.config import DataConfig
from data_utils.decoding import SUFFIXES, content_hash, decode_image, decode_reduced, is_image, reduce_image
from data_utils.errors import UnreadableImage
from data_utils.prefetch import work_ahead
from models.encoders import SMALLEST_SIDE
from study.errors import UsageError
from study.training.batches import scored_at_once

_PIXELS_WAITING = 64 * 2**20
"""Largest number of pixels of decoded images in one batch, with their padding: 200 MB."""


def find_images(places: Sequence[str]) -> list[Path]:
    """Image files in places, in the order given, each once. A place is a file, a folder with all that is below it, or a glob.

    A file that is named is taken whatever it is called. From folders and globs only files that are named like images are taken.

    Raises:
        UsageError: a place does not exist, or holds no image.
    """
    found: dict[Path, None] = {}
    for place in places:
        path = Path(place).expanduser()
        if path.is_file():
            found[path] = None
            continue
        pattern = glob.iglob(str(path), recursive=True)  # noqa: PTH207 - Path.glob takes no absolute patterns
        inside = path.rglob("*") if path.is_dir() else map(Path, pattern)
        images = sorted(file for file in inside if is_image(file) and file.is_file())
        if not images:
            what = "holds no image" if path.is_dir() else "no such file, and no image matches it as a pattern"
            raise UsageError(
                f"{place}: {what}; expected image files ({', '.join(sorted(SUFFIXES))}), folders or patterns"
            )
        found |= dict.fromkeys(images)
    return list(found)


@dataclass(frozen=True)
class FileBatch:
    """Images of one size."""

    positions: list[int]
    """Positions of the B files among all."""
    contents: list[str]
    """Content hashes of the B decoded images; empty where they were not asked for."""
    images: Tensor
    """float32 (B, 3, height, width) in [0, 1] on the device."""


@dataclass
class FileBatches:
    """Batches of some files, to iterate over once; files that cannot be read are listed and left out."""

    paths: Sequence[Path]
    config: DataConfig
    """The study's stored and validation sizes."""
    device: torch.device
    """Device of the batches."""
    hashes: bool = False
    """Whether to compute the content hash of each image."""
    unreadable: dict[int, str] = field(default_factory=dict)
    """Position of a file -> why it cannot be read; filled during the iteration."""

    def __iter__(self) -> Iterator[FileBatch]:
        waiting: dict[tuple[int, int], list[_Decoded]] = {}
        read = partial(_read, config=self.config, hashes=self.hashes)
        for (position, _), decoded in work_ahead(read, enumerate(self.paths)):
            if isinstance(decoded, str):
                self.unreadable[position] = decoded
                continue
            size = self._shown_size(decoded.pixels)
            batch = waiting.setdefault(size, [])
            if _padded([*batch, decoded]) > _PIXELS_WAITING and batch:
                yield self._batch(waiting.pop(size), size)
                batch = waiting.setdefault(size, [])
            batch.append(decoded)
            if len(batch) >= scored_at_once(*size, self.device):
                yield self._batch(waiting.pop(size), size)
        for size, batch in waiting.items():
            if batch:
                yield self._batch(batch, size)

    def _shown_size(self, pixels: NDArray[np.uint8]) -> tuple[int, int]:
        wanted = self.config.validation_size
        if wanted == "original":
            return pixels.shape[0], pixels.shape[1]
        side = self.config.image_size if wanted == "crop" else wanted
        return side, side

    def _batch(self, decoded: Sequence[_Decoded], size: tuple[int, int]) -> FileBatch:
        sizes = np.array([each.pixels.shape[:2] for each in decoded], dtype=np.int64)
        frames = np.zeros((len(decoded), *sizes.max(axis=0).tolist(), 3), dtype=np.uint8)
        for frame, each in zip(frames, decoded, strict=True):
            frame[: each.pixels.shape[0], : each.pixels.shape[1]] = each.pixels
        images = resample(torch.from_numpy(frames).to(self.device), whole_images(torch.from_numpy(sizes)), None, size)
        return FileBatch([each.position for each in decoded], [each.content for each in decoded if self.hashes], images)


@dataclass(frozen=True)
class _Decoded:
    position: int
    pixels: NDArray[np.uint8]
    content: str


def _read(numbered: tuple[int, Path], *, config: DataConfig, hashes: bool) -> _Decoded | str:
    """A decoded and reduced file, or why it cannot be read."""
    position, path = numbered
    try:
        if hashes or not isinstance(config.stored_size, int):
            pixels = decode_image(path)
        else:
            pixels = decode_reduced(path, config.stored_size)
    except UnreadableImage as error:
        return error.reason
    content = content_hash(pixels) if hashes else ""
    if hashes and isinstance(config.stored_size, int):
        pixels, _ = reduce_image(pixels, None, config.stored_size)
    if config.validation_size == "original" and min(pixels.shape[:2]) < SMALLEST_SIDE:
        return f"{pixels.shape[1]}x{pixels.shape[0]} px, and this study looks at images of at least {SMALLEST_SIDE} px"
    return _Decoded(position, pixels, content)


def _padded(decoded: Sequence[_Decoded]) -> int:
    height, width = (max(int(each.pixels.shape[axis]) for each in decoded) for axis in (0, 1))
    return len(decoded) * height * width
