"""Batches of images for networks: augmented crops to train on, whole images to score."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from data_utils.arrays import ImageArrays
from data_utils.augmentation import draw_crops, draw_flips, resample, whole_images
from data_utils.config import DataConfig
from study.training.device import to_device

_KEEP_BYTES = 128 * 2**20
"""Whole images of a split are resized once and kept in memory when they take at most so many bytes; else at every pass."""

_SCORED_AT_ONCE = {"cpu": 32}
"""Largest number of images in a batch without gradient, by the kind of device; 128 on other kinds."""

_PIXELS_AT_ONCE = {"cpu": 2**16}
"""Largest number of pixels in such a batch, by the kind of device; on other kinds that of 12 images of 224 px.

For 12 images of 224 px one feature map of the first stage takes 77 MB at width 32. On a CPU smaller batches stay in the cache.
Measured on one core, ms an image: at width 16 and 64 px 9.4 for 128 images at once and 7.4 for 16; at width 32 and 224 px 346
for 12 at once and 295 for one.
"""

MASK_VALUES = (0, 128, 255)
"""Background, cytoplasm and nucleus in stored masks, in the order of the planes."""


class ImageBatches:
    """Images of one domain as float batches in [0, 1] on one device."""

    def __init__(self, arrays: ImageArrays, config: DataConfig, device: torch.device, memory_budget: int = 0):
        """Open batches; nothing is read yet.

        Args:
            arrays: The domain's images.
            config: Sizes and augmentation.
            device: Where batches are made.
            memory_budget: Bytes of the device's memory that the images may take. When they fit, they are copied there at first
                use and batches are cut from them; else each batch is copied.
        """
        self.arrays = arrays
        self._config = config
        self._device = device
        frame = int(arrays.heights.max() * arrays.widths.max()) if len(arrays) else 0
        self._fits = 0 < 3 * frame * len(arrays) <= memory_budget
        self._resident: Tensor | None = None
        self._kept: dict[bytes, list[tuple[NDArray[np.int64], Tensor]]] = {}

    def crops(self, rows: NDArray[np.int64], generator: torch.Generator) -> Tensor:
        """Randomly cropped, resized and flipped images.

        Args:
            rows: (B,) positions in the arrays.
            generator: CPU generator that crops and flips are drawn from.

        Returns:
            float32 (B, 3, image_size, image_size) in [0, 1].
        """
        pixels, sizes = self._pixels(rows)
        boxes, flips = self._draw(sizes, generator)
        return resample(pixels, boxes, flips, self._config.image_size)

    def crops_and_masks(
        self, rows: NDArray[np.int64], generator: torch.Generator, downsampling: int
    ) -> tuple[Tensor, Tensor, Tensor]:
        """The same crops as `crops`, with the masks that some of the images have, cropped and flipped in the same way.

        Args:
            rows: (B,) positions in the arrays.
            generator: CPU generator that crops and flips are drawn from.
            downsampling: Pixels of a crop's side for one of its mask, rounded up.

        Returns:
            Crops, float32 (B, 3, image_size, image_size) in [0, 1]; positions in the batch of the M images with a mask, int64
            (M,); and the share of background, cytoplasm and nucleus in each pixel of their masks, float32 (M, 3, side, side),
            antialiased as the crops are.
        """
        pixels, sizes = self._pixels(rows)
        boxes, flips = self._draw(sizes, generator)
        crops = resample(pixels, boxes, flips, self._config.image_size)
        chosen = torch.from_numpy(np.flatnonzero(self.arrays.masked[rows]))
        side = -(-self._config.image_size // downsampling)
        if not len(chosen):
            return crops, chosen.to(self._device), torch.zeros((0, len(MASK_VALUES), side, side), device=self._device)
        masks = self._masks(rows[chosen.numpy()])
        return crops, chosen.to(self._device), resample(masks, boxes[chosen], flips[chosen], side)

    def _draw(self, sizes: Tensor, generator: torch.Generator) -> tuple[Tensor, Tensor]:
        """Draw boxes, then flips, of a batch from the generator."""
        boxes = draw_crops(sizes, generator, self._config.crop_scale, self._config.crop_ratio)
        return boxes, draw_flips(len(sizes), generator, self._config.flip)

    def _masks(self, rows: NDArray[np.int64]) -> Tensor:
        """Masks as planes of 0 and 255, uint8 (M, height, width, 3), padded at the bottom and right."""
        masks = [self.arrays.mask(row) for row in rows.tolist()]
        height, width = int(self.arrays.heights[rows].max()), int(self.arrays.widths[rows].max())
        planes = np.zeros((len(masks), height, width, len(MASK_VALUES)), dtype=np.uint8)
        for plane, mask in zip(planes, masks, strict=True):
            if mask is not None:
                plane[: mask.shape[0], : mask.shape[1]] = 255 * (mask[:, :, None] == np.array(MASK_VALUES))
        return to_device(torch.from_numpy(planes), self._device)

    def whole(self, rows: NDArray[np.int64]) -> Iterator[tuple[NDArray[np.int64], Tensor]]:
        """Whole images at `data.validation_size`, in batches of one size.

        The batches depend only on the rows, the configuration and the kind of device: sums over them are the same each time,
        bit for bit.

        Yields:
            Positions in `rows`, int64 (B,), and images, float32 (B, 3, height, width) in [0, 1].
        """
        key = rows.tobytes()
        if key not in self._kept:
            batches = self._chunks(rows)
            total = sum(len(chunk) * 12 * size[0] * size[1] for chunk, size in batches)
            resized = ((chunk, self._resized(rows[chunk], size)) for chunk, size in batches)
            if total > _KEEP_BYTES:
                yield from resized
                return
            self._kept[key] = list(resized)
        yield from self._kept[key]

    def _chunks(self, rows: NDArray[np.int64]) -> list[tuple[NDArray[np.int64], tuple[int, int]]]:
        """Positions in `rows` of each batch, int64 (B,), and the (height, width) in px that its images are brought to."""
        wanted = self._config.validation_size
        if wanted == "original":
            shapes = np.stack([self.arrays.heights[rows], self.arrays.widths[rows]], axis=1)
        else:
            shapes = np.full((len(rows), 2), self._config.image_size if wanted == "crop" else wanted)
        chunks = []
        for height, width in np.unique(shapes, axis=0):
            members = np.flatnonzero((shapes == (height, width)).all(axis=1))
            count = scored_at_once(int(height), int(width), self._device)
            chunks += [
                (members[start : start + count], (int(height), int(width))) for start in range(0, len(members), count)
            ]
        return chunks

    def _resized(self, rows: NDArray[np.int64], size: tuple[int, int]) -> Tensor:
        pixels, sizes = self._pixels(rows)
        return resample(pixels, whole_images(sizes), None, size)

    def _pixels(self, rows: NDArray[np.int64]) -> tuple[Tensor, Tensor]:
        """Frames uint8 (B, H, W, 3) on the device, padded at the bottom and right, and sizes int64 (B, 2) on the CPU."""
        if not self._fits:
            pixels, sizes = self.arrays.batch(rows)
            return to_device(torch.from_numpy(pixels), self._device), torch.from_numpy(sizes)
        if self._resident is None:
            self._resident = torch.from_numpy(self.arrays.batch(np.arange(len(self.arrays)))[0]).to(self._device)
        sizes = np.stack([self.arrays.heights[rows], self.arrays.widths[rows]], axis=1)
        return self._resident[to_device(torch.from_numpy(rows), self._device)], torch.from_numpy(sizes)


def scored_at_once(height: int, width: int, device: torch.device) -> int:
    """Number of images in a batch without gradient, for images of this size in px on this device."""
    images = _SCORED_AT_ONCE.get(device.type, 128)
    pixels = _PIXELS_AT_ONCE.get(device.type, 12 * 224 * 224)
    return max(1, min(images, pixels // (height * width)))
