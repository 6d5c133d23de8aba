"""Pictures that show which parts of an image a prediction rests on: the image, and the same under its activation map."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from data_utils.decoding import decode_image, reduce_image

_SIDE = 384
"""Largest length of the shorter side of an image in the picture, px."""

_COLOUR = (0, 255, 80)
"""Red, green and blue of the map: a green that no stain of blood or tissue has."""

_OPAQUE = 0.6
"""Share of the image that the strongest place of the map hides."""


def save_overlay(path: Path, activation: NDArray[np.float32], target: Path) -> None:
    """Write the image of a file, and beside it the same under its map: the greener, the more.

    Args:
        path: The image file.
        activation: float32 (h, w), at least 0. The highest value is shown as the strongest place; a map of zeros is not shown.
        target: The picture, PNG.

    Raises:
        OSError: the picture cannot be written.
    """
    image, _ = reduce_image(decode_image(path), None, _SIDE)
    height, width = image.shape[:2]
    highest = float(activation.max())
    scaled = activation / highest if highest > 0 else activation
    enlarged = Image.fromarray(scaled.astype(np.float32)).resize((width, height), Image.Resampling.BILINEAR)
    strength = np.asarray(enlarged)[:, :, None].clip(0, 1)
    alpha = _OPAQUE * strength
    mixed = ((1 - alpha) * image + alpha * np.array(_COLOUR)).round().astype(np.uint8)
    Image.fromarray(np.concatenate([image, mixed], axis=1)).save(target)
