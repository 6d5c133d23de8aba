"""Every image of a source decoded once, in several threads, and streamed into two flat files: pixels and masks."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import BinaryIO

import numpy as np
from numpy.typing import NDArray

from data_utils.config import DataConfig
from data_utils.decoding import content_hash, reduce_image
from data_utils.errors import DataError, UnreadableImage
from data_utils.prefetch import work_ahead
from data_utils.sources.source import Item, Source

ProgressCallback = Callable[[int, int], None]
"""Called after each image with (images decoded, images in all)."""


@dataclass
class DecodedImage:
    """What became of one image of a source."""

    image: NDArray[np.uint8] | None = None
    """uint8 (height, width, 3) as it is stored; None where it cannot be read."""
    mask: NDArray[np.uint8] | None = None
    """uint8 (height, width) as it is stored; None without a mask and where it cannot be read."""
    content: str = ""
    """Content hash of the decoded image before it was reduced."""
    unreadable: list[tuple[str, str]] = field(default_factory=list)
    """(path, reason) of the files of this image that cannot be read."""


@dataclass
class StoredImages:
    """The images that were stored, in the order of the source, with where they lie in the files."""

    items: list[Item] = field(default_factory=list)
    hashes: list[str] = field(default_factory=list)
    """Content hashes of the decoded images before they were reduced."""
    heights: list[int] = field(default_factory=list)
    """Heights as stored, px."""
    widths: list[int] = field(default_factory=list)
    """Widths as stored, px."""
    offsets: list[int] = field(default_factory=list)
    """Positions in the file of pixels, bytes."""
    mask_offsets: list[int] = field(default_factory=list)
    """Positions in the file of masks, bytes; -1 without a mask."""
    unreadable: list[tuple[str, str]] = field(default_factory=list)
    """(path, reason) of the files that could not be read."""
    skipped: list[str] = field(default_factory=list)
    """Paths of the items that these files belong to."""


def store_images(
    config: DataConfig, source: Source, folder: Path, digest: hashlib._Hash, progress: ProgressCallback | None
) -> StoredImages:
    """Decode the images of a source and write `pixels.bin` and `masks.bin`, durably.

    Args:
        config: the data configuration; it says how images are reduced, and whether test images and unreadable files are left
            out.
        source: the images of a domain.
        folder: an empty folder.
        digest: is fed with everything that is written, in the order of the source whichever thread decodes first.
        progress: called after each image.

    Raises:
        DataError: a mask has another size than its image, or a file cannot be read and `data.unreadable` is fatal.
    """
    chosen = [i for i, item in enumerate(source.items) if not (item.split == "test" and config.test == "none")]
    stored = StoredImages()
    with (folder / "pixels.bin").open("wb") as pixels, (folder / "masks.bin").open("wb") as masks:
        for done, (i, decoded) in enumerate(decode_in_order(config, source, chosen), start=1):
            stored.unreadable.extend(decoded.unreadable)
            if decoded.unreadable:
                stored.skipped.append(source.items[i].path)
            if decoded.image is not None:
                stored.items.append(source.items[i])
                stored.hashes.append(decoded.content)
                stored.heights.append(decoded.image.shape[0])
                stored.widths.append(decoded.image.shape[1])
                stored.offsets.append(_append(pixels, decoded.image, digest))
                stored.mask_offsets.append(-1 if decoded.mask is None else _append(masks, decoded.mask, digest))
            if progress is not None:
                progress(done, len(chosen))
        for file in (pixels, masks):
            file.flush()
            os.fsync(file.fileno())
    return stored


def decode_in_order(config: DataConfig, source: Source, chosen: Sequence[int]) -> Iterator[tuple[int, DecodedImage]]:
    """Decode images in several threads, with a bounded number of them in memory.

    Args:
        config: the data configuration.
        source: the images of a domain.
        chosen: indices of the source's items.

    Yields:
        Each index with its image, in the order given.

    Raises:
        DataError: as `store_images`.
    """
    return work_ahead(lambda i: _decode(config, source, i), chosen)


def _append(file: BinaryIO, array: NDArray[np.uint8], digest: hashlib._Hash) -> int:
    """Write an array to the end of a file and return where it begins, bytes."""
    start = file.tell()
    data = np.ascontiguousarray(array).tobytes()
    file.write(data)
    digest.update(data)
    return start


def _decode(config: DataConfig, source: Source, i: int) -> DecodedImage:
    decoded = DecodedImage()
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
