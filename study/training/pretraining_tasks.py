"""What each encoder learns in pretraining: an autoencoder rebuilds tiles, or a classifier tells kinds of tissue apart."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor, nn
from torch.nn.functional import cross_entropy, mse_loss

from models.autoencoder import Autoencoder
from models.classifier import ResidualClassifier
from models.encoders import CAM16_MEAN, CAM16_STD
from models.initialisation import stream
from models.segmentation import SegmentationTask
from study.config.study import StudyConfig
from study.training.batches import ImageBatches
from study.training.masks import MaskLearning

RECONSTRUCTIONS = "reconstructions.png"
"""Picture of validation tiles above their reconstructions, in the autoencoder's folder."""

_TILES, _SIDE = 8, 96
"""Number of tiles in that picture, and the side in px that each is enlarged to."""


@dataclass(frozen=True)
class BatchScore:
    """What a network makes of one batch."""

    loss: Tensor
    """Scalar with gradient: mean loss of the images."""
    correct: Tensor | None
    """Scalar: number of correct answers; None where a network gives no answers."""


class PretrainingTask(Protocol):
    """A network to pretrain, its loss, and what it leaves for people to look at."""

    @property
    def network(self) -> nn.Module:
        """The network, on the device."""

    @property
    def masks(self) -> MaskLearning:
        """What draws the crops, and the masks where the task learns from them."""

    def score(self, images: Tensor, rows: NDArray[np.int64]) -> BatchScore:
        """Score images, float32 (B, 3, H, W) in [0, 1], that lie at positions `rows`, (B,), in the arrays."""

    def leave_pictures(self, folder: Path) -> list[Path]:
        """Draw pictures of the trained network into its folder, and return their files."""


class AutoencoderTask:
    """Unlabelled tiles are rebuilt by an autoencoder; the loss is the mean squared error."""

    def __init__(self, config: StudyConfig, encoder: str, batches: ImageBatches, device: torch.device):
        """Build the network with initial weights from the study's seed."""
        self.network = Autoencoder(config.model.width, stream(config.seed, "pretrain", encoder)).to(device)
        self.masks = MaskLearning(batches, None, 0.0)
        self._batches = batches

    def score(self, images: Tensor, rows: NDArray[np.int64]) -> BatchScore:  # noqa: ARG002 - the signature of every task
        """See `PretrainingTask`; tiles have no labels, so that nothing is correct or wrong."""
        return BatchScore(mse_loss(self.network(images), images), None)

    @torch.no_grad()
    def leave_pictures(self, folder: Path) -> list[Path]:
        """Draw the first validation tiles above their reconstructions."""
        self.network.eval()
        _, images = next(self._batches.whole(self._batches.arrays.indices("val")[:_TILES]))
        rows = torch.stack([images, self.network(images)]).clamp(0, 1)
        pixels = (rows.permute(0, 3, 1, 4, 2).reshape(2 * rows.shape[3], -1, 3) * 255).round().byte().cpu().numpy()
        scale = max(1, _SIDE // rows.shape[3])
        picture = Image.fromarray(pixels)
        file = folder / RECONSTRUCTIONS
        picture.resize((picture.width * scale, picture.height * scale), Image.Resampling.NEAREST).save(file)
        return [file]


class ClassificationTask:
    """Labelled patches are classified, with a segmentation head beside the classifier where that is configured."""

    def __init__(self, config: StudyConfig, encoder: str, batches: ImageBatches, device: torch.device):
        """Build the network, and its head, with initial weights from the study's seed."""
        arrays, weight = batches.arrays, config.pretrain.of(encoder).segmentation_weight
        network = ResidualClassifier(len(arrays.classes), config.model.width, stream(config.seed, "pretrain", encoder))
        segmentation = None
        if weight > 0:
            segmentation = SegmentationTask(network, stream(config.seed, "pretrain", encoder, "segmentation"))
            segmentation.head.to(device)
        self.network = network.to(device)
        self.masks = MaskLearning(batches, segmentation, weight)
        self._device = device
        self._labels = torch.from_numpy(np.asarray(arrays.labels)).to(device)
        self._mean = torch.tensor(CAM16_MEAN, device=device).reshape(3, 1, 1)
        self._std = torch.tensor(CAM16_STD, device=device).reshape(3, 1, 1)

    def score(self, images: Tensor, rows: NDArray[np.int64]) -> BatchScore:
        """See `PretrainingTask`; the loss is the cross-entropy."""
        logits = self.network((images - self._mean) / self._std)
        target = self._labels[torch.from_numpy(rows).to(self._device)]
        return BatchScore(cross_entropy(logits, target), (logits.argmax(dim=1) == target).sum())

    def leave_pictures(self, folder: Path) -> list[Path]:  # noqa: ARG002 - the signature of every task
        """Leave nothing: the curve says how well patches are classified."""
        return []


TASKS: dict[str, Callable[[StudyConfig, str, ImageBatches, torch.device], PretrainingTask]] = {
    "prcc": AutoencoderTask,
    "cam16": ClassificationTask,
}
"""Encoder -> what builds its task, from the configuration, the encoder's name, its images and the device."""
