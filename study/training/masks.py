"""Learning from masks beside labels: the auxiliary task that pretraining and trials share."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from models.segmentation import DOWNSAMPLING, SegmentationTask
from study.training.batches import ImageBatches

_STATE = "segmentation"
"""Key of the head's weights in a checkpoint."""


@dataclass(frozen=True)
class BatchMasks:
    """Masks of the M images of a batch that have one, cropped and flipped as the images are."""

    positions: Tensor
    """int64 (M,), positions of these images in the batch."""
    shares: Tensor
    """float32 (M, parts, side, side), share of each part in each pixel of the mask; sums are 1."""


class MaskLearning:
    """Draws crops, with their masks where a head learns from them, and adds the head's loss to that of the labels."""

    def __init__(self, batches: ImageBatches, task: SegmentationTask | None, weight: float):
        """Keep what is needed; nothing is drawn yet.

        Args:
            batches: Where crops and masks come from.
            task: The classifier's segmentation head; None where nothing is learned from masks.
            weight: Factor of the head's loss.
        """
        self._batches, self._task, self._weight = batches, task, weight

    def parameters(self) -> list[nn.Parameter]:
        """Parameters of the head; none without one."""
        return list(self._task.head.parameters()) if self._task else []

    def crops(self, rows: NDArray[np.int64], generator: torch.Generator) -> tuple[Tensor, BatchMasks | None]:
        """Draw crops of images, float32 (B, 3, image_size, image_size), as `ImageBatches.crops` does, and their masks."""
        if self._task is None:
            return self._batches.crops(rows, generator), None
        images, positions, shares = self._batches.crops_and_masks(rows, generator, DOWNSAMPLING)
        return images, BatchMasks(positions, shares)

    def add_loss(self, loss: Tensor, masks: BatchMasks | None) -> Tensor:
        """Add the weighted loss of the head to the loss of a batch that the classifier has just seen in training mode."""
        if self._task is None or masks is None:
            return loss
        return loss + self._weight * self._task.loss(masks.positions, masks.shares)

    def state(self) -> dict[str, Any]:
        """The head's part of a checkpoint; empty without a head."""
        return {_STATE: self._task.head.state_dict()} if self._task else {}

    def load(self, state: Mapping[str, Any]) -> None:
        """Continue from a checkpoint.

        Raises:
            KeyError: The checkpoint has no head.
        """
        if self._task is not None:
            self._task.head.load_state_dict(state[_STATE])
