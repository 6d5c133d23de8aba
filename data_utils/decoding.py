"""Image files to uint8 arrays, and arrays to their content hash."""

from __future__ import annotations

import hashlib
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps, UnidentifiedImageError

from data_utils.errors import UnreadableImage

SUFFIXES = frozenset({".jpg", ".jpeg", ".png", ".bmp", ".tif", ".tiff"})

PIXEL_LIMIT = 89_478_485
"""Pixels beyond which a file is refused: Pillow's own threshold for decompression bombs, a quarter GiB of RGB."""

_ORIENTATION_TAG = 0x0112
_DECODING_ERRORS = (OSError, SyntaxError, ValueError, EOFError, Image.DecompressionBombError)
"""Exceptions of Pillow for damaged files: truncated data (OSError), broken PNG chunks (SyntaxError), wrong sizes ..."""


def is_image(path: Path) -> bool:
    """Say whether a file is named like an image; hidden files (also the `._` twins of macOS) are not."""
    return path.suffix.lower() in SUFFIXES and not path.name.startswith(".")


def image_size(path: Path) -> tuple[int, int]:
    """Return the upright height and width from the file's header, px, without decoding it. Raises UnreadableImage."""
    try:
        with Image.open(path) as image:
            turned = image.getexif().get(_ORIENTATION_TAG, 1) >= 5
            width, height = image.size
    except _DECODING_ERRORS as error:
        raise UnreadableImage(path, _reason(error)) from error
    return (width, height) if turned else (height, width)


def decode_image(path: Path) -> NDArray[np.uint8]:
    """Decode an image file.

    The EXIF orientation is applied; grey, palette, CMYK, transparent and 16-bit images become 8-bit RGB (alpha is left
    out, 16 bits keep their upper eight).

    Returns:
        uint8 (height, width, 3).

    Raises:
        UnreadableImage: the file is missing, damaged, truncated, too large, or of a kind that has no RGB form.
    """
    return np.asarray(_open_rgb(path), dtype=np.uint8)


def decode_reduced(path: Path, shorter: int) -> NDArray[np.uint8]:
    """Decode an image file and reduce it: as `reduce_image` after `decode_image`, without a copy of the full size.

    Args:
        path: the image file.
        shorter: shorter side of the result, px; a smaller image keeps its size.

    Returns:
        uint8 (height, width, 3).

    Raises:
        UnreadableImage: as `decode_image`.
    """
    return np.asarray(_reduce(_open_rgb(path), shorter), dtype=np.uint8)


def decode_mask(path: Path) -> NDArray[np.uint8]:
    """Decode a mask file.

    Grey levels are snapped to the nearest of the three (a JPEG mask blurs them); masks that count their levels 0, 1 or
    0, 1, 2 are spread over the range, binary masks mark the nucleus.

    Returns:
        uint8 (height, width): nucleus 255, cytoplasm 128, background 0.

    Raises:
        UnreadableImage: as `decode_image`.
    """
    image = _open(path)
    if image.mode == "P":
        colours = np.asarray(image.convert("RGB"))
        # A palette of greys stands for its greys; a coloured one, as annotation tools write, for numbers of classes.
        is_grey = bool(np.all(colours == colours[:, :, :1]))
        grey = colours[:, :, 0] if is_grey else np.asarray(image, dtype=np.uint8)
    elif image.mode.startswith("I"):
        grey = _upper_bits(image)
    else:
        grey = np.asarray(image.convert("L"), dtype=np.uint8)
    highest = int(grey.max(initial=0))
    if highest in (1, 2):
        grey = grey * np.uint8(255 if highest == 1 else 127)
    levels: NDArray[np.uint8] = np.array([0] * 64 + [128] * 128 + [255] * 64, dtype=np.uint8)
    return np.take(levels, grey)


def content_hash(pixels: NDArray[np.uint8]) -> str:
    """Return 32 hexadecimal characters that name the decoded pixels: SHA-256 over shape and bytes."""
    digest = hashlib.sha256(repr(pixels.shape).encode())
    digest.update(np.ascontiguousarray(pixels).data)
    return digest.hexdigest()[:32]


def reduce_image(
    image: NDArray[np.uint8], mask: NDArray[np.uint8] | None, shorter: int
) -> tuple[NDArray[np.uint8], NDArray[np.uint8] | None]:
    """Reduce an image, antialiased, until its shorter side is `shorter` px, its mask by nearest neighbour.

    Images that are not larger are returned as they are.
    """
    height, width = image.shape[:2]
    if min(height, width) <= shorter:
        return image, mask
    small = _reduce(Image.fromarray(image), shorter)
    pixels = np.asarray(small, dtype=np.uint8)
    if mask is None:
        return pixels, None
    return pixels, np.asarray(Image.fromarray(mask).resize(small.size, Image.Resampling.NEAREST), dtype=np.uint8)


def _reduce(image: Image.Image, shorter: int) -> Image.Image:
    """Return the image with a shorter side of `shorter` px, antialiased; the image itself where it is not larger."""
    if min(image.size) <= shorter:
        return image
    factor = shorter / min(image.size)
    width, height = (max(shorter, round(side * factor)) for side in image.size)
    return image.resize((width, height), Image.Resampling.BILINEAR)


def _open_rgb(path: Path) -> Image.Image:
    image = _open(path)
    if image.mode.startswith("I"):
        return Image.fromarray(np.repeat(_upper_bits(image)[:, :, None], 3, axis=2))
    if image.mode == "F":
        raise UnreadableImage(path, "floating-point pixels; expected 8 or 16 bits per channel")
    if image.mode == "P" and "transparency" in image.info:
        image = image.convert("RGBA")
    return image if image.mode == "RGB" else image.convert("RGB")


def _open(path: Path) -> Image.Image:
    try:
        with Image.open(path) as image:
            if image.width * image.height > PIXEL_LIMIT:
                raise UnreadableImage(
                    path,
                    f"{image.width}x{image.height} px, more than {PIXEL_LIMIT:,} pixels; cut it into smaller images",
                )
            image.load()
            ImageOps.exif_transpose(image, in_place=True)
            return image
    except UnreadableImage:
        raise
    except _DECODING_ERRORS as error:
        raise UnreadableImage(path, _reason(error)) from error


def _upper_bits(image: Image.Image) -> NDArray[np.uint8]:
    return (np.clip(np.asarray(image).astype(np.int64), 0, 65535) >> 8).astype(np.uint8)


def _reason(error: Exception) -> str:
    if isinstance(error, UnidentifiedImageError):
        return "not an image file, or of a format that is not supported"
    return " ".join(str(error).split()) or type(error).__name__
