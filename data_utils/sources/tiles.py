"""Tiles of large unlabelled images: how an image is cut, and the whole images from which tiles are read."""

from __future__ import annotations

import math
from collections import OrderedDict
from concurrent.futures import Future
from pathlib import Path
from threading import Lock
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from data_utils.decoding import decode_image, image_size
from data_utils.errors import UnreadableImage

_WHOLE_IMAGES_KEPT = 4
"""Number of decoded images kept while their tiles are read; an image of 2000 px a side takes 12 MB."""


class Tile(NamedTuple):
    """A rectangle of an image, px."""

    top: int
    left: int
    height: int
    width: int


def cut_into_tiles(path: Path, tile_size: int) -> list[tuple[str, Tile | None]]:
    """Cut an image into equal, about square tiles of at most `tile_size` px; neighbours may share a few pixels.

    Returns:
        (suffix of the item's path, tile) of each tile, row by row; one empty suffix without a tile for an image that is small
        enough, and for one whose size cannot be read.
    """
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
    return [(f"#{r}-{c}", Tile(top, left, high, wide)) for r, top in enumerate(tops) for c, left in enumerate(lefts)]


class WholeImages:
    """The last decoded images, shared by the threads that read their tiles."""

    def __init__(self) -> None:
        self._decoded: OrderedDict[Path, Future[NDArray[np.uint8]]] = OrderedDict()
        self._lock = Lock()

    def read(self, path: Path, tile: Tile) -> NDArray[np.uint8]:
        """Return a copy of a tile, uint8 (height, width, 3). Raises UnreadableImage."""
        top, left, height, width = tile
        return self._read_whole(path)[top : top + height, left : left + width].copy()

    def _read_whole(self, path: Path) -> NDArray[np.uint8]:
        with self._lock:
            future = self._decoded.get(path)
            owner = future is None
            if future is None:
                future = self._decoded[path] = Future()
                while len(self._decoded) > _WHOLE_IMAGES_KEPT:
                    self._decoded.popitem(last=False)
        if owner:
            # Threads that want another tile of the same image wait for this one and do not decode it again.
            try:
                future.set_result(decode_image(path))
            except UnreadableImage as error:
                future.set_exception(error)
        return future.result()
