"""Frozen pretrained networks that turn an image into a pooled latent vector."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence
from copy import deepcopy
from typing import Self

import torch
from torch import Tensor, nn

from models.autoencoder import Autoencoder
from models.classifier import ResidualClassifier

SMALLEST_SIDE = 16
"""px; three poolings by 2 leave at least 2x2 latent positions, so that mean and maximum still differ."""

CAM16_MEAN = (0.5, 0.5, 0.5)
CAM16_STD = (0.5, 0.5, 0.5)
"""Channel normalisation with which the published CAM16 network was trained."""


class Encoder(nn.Module):
    """A frozen trunk, followed by global mean and maximum pooling.

    It is always in evaluation mode, whatever `train` is told (running statistics of batch norm must not drift towards
    the blood cells), none of its weights requires a gradient, and none is computed through it.

    Build it with `from_autoencoder` or `from_classifier`; both copy the weights, so the source network may go on
    training.

    Args:
        name: What the encoder is called in configurations and records, such as ``"prcc"`` or ``"cam16"``.
        trunk: Maps normalised images (B, 3, H, W) to feature maps (B, channels, h, w).
        channels: Channels of the feature maps.
        mean: Subtracted from each colour channel.
        std: Each colour channel is divided by it afterwards.

    Attributes:
        name: As given.
        latent_size: Length of the latent vector, 2 * channels: all means, then all maxima.
    """

    mean: Tensor
    std: Tensor

    def __init__(
        self,
        name: str,
        trunk: nn.Module,
        channels: int,
        mean: Sequence[float] = (0, 0, 0),
        std: Sequence[float] = (1, 1, 1),
    ) -> None:
        super().__init__()
        self.name = name
        self.latent_size = 2 * channels
        self.trunk = deepcopy(trunk)
        # Constants of the construction, not weights: they move with the module and stay out of its state dict.
        self.register_buffer("mean", torch.tensor(mean, dtype=torch.float32).reshape(3, 1, 1), persistent=False)
        self.register_buffer("std", torch.tensor(std, dtype=torch.float32).reshape(3, 1, 1), persistent=False)
        self.requires_grad_(False)
        self.train()

    @classmethod
    def from_autoencoder(cls, autoencoder: Autoencoder, name: str = "prcc") -> Self:
        """Use an autoencoder's encoder; its input is not normalised. Latent size 8 * width (256 at width 32)."""
        return cls(name, autoencoder.encoder, 4 * autoencoder.width)

    @classmethod
    def from_classifier(cls, classifier: ResidualClassifier, name: str = "cam16") -> Self:
        """Use a classifier up to its last stage, without head; input normalised as for CAM16. Latent size 8 * width."""
        layers = ("conv1", "bn1", "relu", "layer1", "layer2", "layer3")
        trunk = nn.Sequential(OrderedDict((layer, classifier.get_submodule(layer)) for layer in layers))
        return cls(name, trunk, classifier.feature_size, CAM16_MEAN, CAM16_STD)

    def train(self, mode: bool = True) -> Self:  # noqa: ARG002 - the signature is torch's; a frozen network ignores it
        """Stay in evaluation mode: the encoder is frozen."""
        return super().train(False)

    @torch.no_grad()
    def forward(self, images: Tensor) -> Tensor:
        """Encode images.

        Args:
            images: float (B, 3, H, W) in [0, 1], both sides at least 16 px.

        Returns:
            float32 (B, latent_size) without gradient.

        Raises:
            ValueError: The images have another shape or are too small.
        """
        if images.ndim != 4 or images.shape[1] != 3 or min(images.shape[2:]) < SMALLEST_SIDE:
            raise ValueError(
                f"encoder {self.name!r} takes images of shape (B, 3, H, W) with sides of at least {SMALLEST_SIDE} px, "
                f"got {tuple(images.shape)}"
            )
        maps: Tensor = self.trunk((images - self.mean) / self.std)
        return torch.cat([maps.mean(dim=(2, 3)), maps.amax(dim=(2, 3))], dim=1)
