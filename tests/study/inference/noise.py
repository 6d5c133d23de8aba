"""Images of noise in several sizes, and what validation makes of them."""

from __future__ import annotations

import numpy as np
import torch

from data_utils.augmentation import resample, whole_images
from data_utils.config import DataConfig
from data_utils.decoding import reduce_image
from study.inference.onnx_preparation import shown_side

SIZES = ((24, 24), (61, 133), (20, 20), (363, 360), (17, 200))
"""Heights and widths, px."""


def noise(height: int, width: int) -> np.ndarray:
    """An image of that size, always the same."""
    return np.random.default_rng(height).integers(0, 256, (height, width, 3), dtype=np.uint8)


def prepared(image: np.ndarray, data: DataConfig) -> torch.Tensor:
    """An image as validation images are prepared, (1, 3, h, w)."""
    if isinstance(data.stored_size, int):
        image, _ = reduce_image(image, None, data.stored_size)
    sizes = torch.tensor([image.shape[:2]])
    side = shown_side(data)
    return resample(torch.from_numpy(image.copy())[None], whole_images(sizes), None, side or tuple(image.shape[:2]))
