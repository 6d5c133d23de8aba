"""An auxiliary task: segment the cell from the feature maps that the classifier pools."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from models.classifier import ResidualClassifier
from models.initialisation import initialise, stream

PARTS = 3
"""Parts that a mask distinguishes: background, cytoplasm, nucleus. CAM16's masks have background and tumor nuclei only."""

DOWNSAMPLING = 4
"""Pixels of an image's side for one position of the last feature maps, whose side is rounded up."""


class SegmentationHead(nn.Module):
    """A small decoder: 3x3 convolution, ReLU, and a linear map of every position to the logits of the parts.

    It works at the resolution of the feature maps and is compared with the share of each part in the area that a position
    stands for: nothing is enlarged, so that it costs little beside the trunk and its gradient is deterministic on CUDA too.
    The hidden layer has at least 8 channels: torch 2.14.1 writes outside its buffers on the CPU in channels-last convolutions
    with fewer.

    Args:
        channels: Number of channels of the feature maps.
        hidden: Number of channels of the hidden layer; at least 8 are used.
        generator: CPU generator for the initial weights.
    """

    def __init__(self, channels: int, hidden: int, generator: torch.Generator) -> None:
        super().__init__()
        # Constructors of layers draw from the global generator; those draws are undone here and overwritten below.
        with torch.random.fork_rng(devices=[]):
            self.hidden = nn.Conv2d(channels, max(8, hidden), 3, padding=1)
            self.parts = nn.Linear(max(8, hidden), PARTS)
        initialise(self, generator)

    def forward(self, maps: Tensor) -> Tensor:
        """Logits of the parts: float (M, channels, h, w) to (M, h, w, PARTS)."""
        logits: Tensor = self.parts(self.hidden(maps).relu().permute(0, 2, 3, 1))
        return logits


class SegmentationTask:
    """The segmentation head of one classifier, whose last feature maps it takes while the classifier is trained.

    The maps are taken by a hook on the classifier's last stage. So it does not matter how the classifier is used (alone or in
    a fusion), and its state dict stays what it was.

    Args:
        classifier: Its trunk learns from the masks.
        generator: CPU generator for the head's initial weights; `stream(0, "segmentation")` where None.

    Attributes:
        head: To be trained, moved and saved with the classifier.
    """

    def __init__(self, classifier: ResidualClassifier, generator: torch.Generator | None = None) -> None:
        chosen = stream(0, "segmentation") if generator is None else generator
        self.head = SegmentationHead(classifier.feature_size, classifier.width, chosen)
        self._maps: Tensor | None = None
        classifier.last_stage.register_forward_hook(self._keep)

    def loss(self, rows: Tensor, shares: Tensor) -> Tensor:
        """Loss of the images that the classifier has just seen in training mode.

        Args:
            rows: int64 (M,), positions in the batch of the images with a mask.
            shares: float (M, PARTS, h, w), share of each part in the area of each position of the feature maps; sums are 1.

        Returns:
            Scalar: the cross-entropy, averaged over the positions, summed over the M images and divided by the number of all
            images of the batch. Every image with a mask adds the same to the batch's mean loss, however many others have one.
            Zero for M = 0.

        Raises:
            RuntimeError: The classifier has not been called since the last loss.
        """
        maps, self._maps = self._maps, None
        if maps is None:
            raise RuntimeError("the segmentation loss is asked for before the classifier has seen a training batch")
        if not len(rows):
            return maps.new_zeros(())
        logits = self.head(maps[rows].float())  # the trunk may run in reduced precision
        # Shares sum to one up to rounding of the resampling.
        each = -(shares.permute(0, 2, 3, 1) * logits.log_softmax(dim=3)).sum(dim=3)
        loss: Tensor = each.mean(dim=(1, 2)).sum() / len(maps)
        return loss

    def _keep(self, stage: nn.Module, inputs: Any, maps: Tensor) -> None:  # noqa: ARG002 - torch's signature of a hook
        # Gradients decide, not the stage's mode: a trunk that is frozen for some epochs is in evaluation mode, and the head
        # still learns.
        if torch.is_grad_enabled():
            self._maps = maps
