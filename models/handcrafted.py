"""A classical baseline: colours and textures that nobody learned, and a logistic regression on them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from models.errors import WeightsError
from models.fusion import Standardisation

HISTOGRAM_BINS, GREY_LEVELS, DISTANCES = 8, 16, (1, 2)
"""Bins of each colour histogram; grey levels of the co-occurrence matrices, and their distances in px."""

_PROPERTIES = ("contrast", "homogeneity", "energy", "correlation")

SIZE = 9 + 9 + 3 * HISTOGRAM_BINS + 10 + len(DISTANCES) * len(_PROPERTIES)
"""Length of the vector. Its parts: moments of red, green and blue; moments of three stains; histograms of hue, saturation and
value; local binary patterns; properties of the co-occurrence matrices."""


class HandcraftedFeatures(nn.Module):
    """Colour and texture features of whole images, by scikit-image.

    - Mean, standard deviation and skewness of red, green and blue, and of haematoxylin, eosin and the third stain (Ruifrok and
      Johnston 2001).
    - Histograms of hue, saturation and value.
    - Uniform local binary patterns of the grey image, 8 neighbours at 1 px (Ojala, Pietikäinen and Mäenpää 2002).
    - Contrast, homogeneity, energy and correlation of grey-level co-occurrence matrices, mean over four directions (Haralick
      1979).

    It has the form of an encoder and no weights.

    Attributes:
        name: ``"handcrafted"``.
        latent_size: `SIZE`.
    """

    name = "handcrafted"
    latent_size = SIZE

    @torch.no_grad()
    def forward(self, images: Tensor) -> Tensor:
        """Describe images: float (B, 3, H, W) in [0, 1] to float32 (B, SIZE) on the same device.

        Raises:
            WeightsError: scikit-image is not installed.
        """
        pixels = images.permute(0, 2, 3, 1).cpu().numpy()
        return torch.from_numpy(np.stack([_describe(image) for image in pixels])).to(images.device)


class LinearClassifier(nn.Module):
    """Multinomial logistic regression on standardised latent vectors; it does not look at the images themselves.

    Weights start at zero; weight decay is the trial's, so that its strength is searched as for every arm.

    Args:
        classes: Number of logits.
        latent_sizes: Length of the latent vector of each encoder.
    """

    def __init__(self, classes: int, latent_sizes: Mapping[str, int]) -> None:
        super().__init__()
        self.latent_sizes = dict(sorted(latent_sizes.items()))
        self.standardisation = nn.ModuleDict({name: Standardisation(size) for name, size in self.latent_sizes.items()})
        with torch.random.fork_rng(devices=[]):  # the constructor draws weights that are not kept
            self.linear = nn.Linear(sum(self.latent_sizes.values()), classes)
        nn.init.zeros_(self.linear.weight)
        nn.init.zeros_(self.linear.bias)

    def set_statistics(self, latents: Mapping[str, Tensor]) -> None:
        """Standardise as measured on the training subset; see `models.fusion.FusedClassifier.set_statistics`."""
        for name, layer in self.standardisation.items():
            assert isinstance(layer, Standardisation)  # ModuleDict does not know what it holds
            layer.fit(latents[name])

    def forward(self, images: Tensor, latents: Mapping[str, Tensor]) -> Tensor:  # noqa: ARG002 - the signature of every network
        """Logits (B, classes) of latent vectors (B, L) of each encoder."""
        logits: Tensor = self.linear(
            torch.cat([layer(latents[name]) for name, layer in self.standardisation.items()], dim=1)
        )
        return logits


def _describe(image: NDArray[np.float32]) -> NDArray[np.float32]:
    colour, feature = _skimage()
    moments = [_moments(channels.reshape(-1, 3)) for channels in (image, colour.rgb2hed(image))]
    hsv = colour.rgb2hsv(image)
    histograms = [np.histogram(hsv[:, :, k], HISTOGRAM_BINS, (0, 1))[0] / hsv[:, :, k].size for k in range(3)]
    grey = (colour.rgb2gray(image).clip(0, 1) * 255).astype(np.uint8)
    patterns = feature.local_binary_pattern(grey, 8, 1, "uniform")
    patterns = np.histogram(patterns, np.arange(11))[0] / grey.size
    levels = (grey // (256 // GREY_LEVELS)).astype(np.uint8)
    angles = [0, np.pi / 4, np.pi / 2, 3 * np.pi / 4]
    matrices = feature.graycomatrix(levels, DISTANCES, angles, GREY_LEVELS, symmetric=True, normed=True)
    textures = [feature.graycoprops(matrices, name).mean(axis=1) for name in _PROPERTIES]
    return np.concatenate([*moments, *histograms, patterns, *textures]).astype(np.float32)


def _moments(values: NDArray[np.floating[Any]]) -> NDArray[np.float64]:
    """Mean, standard deviation and skewness of each column; a column of one value has no skewness: 0."""
    precise = values.astype(np.float64)
    mean, std = precise.mean(axis=0), precise.std(axis=0)
    third = ((precise - mean) ** 3).mean(axis=0)
    skewness = np.divide(third, std**3, out=np.zeros_like(std), where=std > 1e-8)
    return np.concatenate([mean, std, skewness])


def _skimage() -> tuple[Any, Any]:
    try:
        from skimage import color, feature
    except ModuleNotFoundError as error:
        raise WeightsError("the control `classical` needs scikit-image: pip install 'wbc-study[classical]'") from error
    return color, feature
