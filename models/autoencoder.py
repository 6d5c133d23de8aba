"""The published convolutional autoencoder for unlabelled PRCC tiles."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from models.initialisation import initialise, stream


class Autoencoder(nn.Module):
    """Three 3x3 convolutions with ReLU and max-pool, then three stride-2 transposed convolutions and a sigmoid.

    134,691 parameters at width 32, state-dict keys as in the published weights. Building one leaves torch's global
    generator as it was.

    Args:
        width: Channels after the first convolution; the latent has 4 times as many.
        generator: CPU generator for the initial weights (see `initialise`); `stream(0, "autoencoder")` where None.

    Attributes:
        width: As given.
    """

    def __init__(self, width: int = 32, generator: torch.Generator | None = None) -> None:
        super().__init__()
        if width < 1:
            raise ValueError(f"width must be at least 1, got {width}")
        self.width = width
        # Constructors of layers draw from the global generator; those draws are undone here and overwritten below.
        with torch.random.fork_rng(devices=[]):
            self.encoder = nn.Sequential(
                nn.Conv2d(3, width, 3, padding=1),
                nn.ReLU(inplace=True),
                nn.MaxPool2d(2),
                nn.Conv2d(width, 2 * width, 3, padding=1),
                nn.ReLU(inplace=True),
                nn.MaxPool2d(2),
                nn.Conv2d(2 * width, 4 * width, 3, padding=1),
                nn.ReLU(inplace=True),
                nn.MaxPool2d(2),
            )
            self.decoder = nn.Sequential(
                nn.ConvTranspose2d(4 * width, 2 * width, 2, stride=2),
                nn.ReLU(inplace=True),
                nn.ConvTranspose2d(2 * width, width, 2, stride=2),
                nn.ReLU(inplace=True),
                nn.ConvTranspose2d(width, 3, 2, stride=2),
                nn.Sigmoid(),
            )
        initialise(self, stream(0, "autoencoder") if generator is None else generator)

    def encode(self, x: Tensor) -> Tensor:
        """Latent maps: float (B, 3, H, W) to (B, 4 * width, H // 8, W // 8)."""
        latent: Tensor = self.encoder(x)
        return latent

    def forward(self, x: Tensor) -> Tensor:
        """Reconstruct float images (B, 3, H, W) in [0, 1]; sides that 8 does not divide come back cut to a multiple."""
        reconstruction: Tensor = self.decoder(self.encode(x))
        return reconstruction
