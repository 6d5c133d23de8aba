from __future__ import annotations

import pytest
import torch

from models.autoencoder import Autoencoder
from models.initialisation import stream


def test_parameter_count_is_the_published_one() -> None:
    assert sum(parameter.numel() for parameter in Autoencoder().parameters()) == 134_691


def test_state_dict_keys_are_the_published_ones() -> None:
    layers = ("encoder.0", "encoder.3", "encoder.6", "decoder.0", "decoder.2", "decoder.4")
    assert list(Autoencoder().state_dict()) == [f"{layer}.{key}" for layer in layers for key in ("weight", "bias")]


def test_reconstructions_have_the_size_and_range_of_the_images() -> None:
    network = Autoencoder(width=4)
    images = torch.rand(2, 3, 64, 40, generator=stream(0))
    assert network.encode(images).shape == (2, 16, 8, 5)
    reconstruction = network(images)
    assert reconstruction.shape == images.shape
    assert reconstruction.min() > 0
    assert reconstruction.max() < 1
    assert network(images[:, :, :63, :]).shape == (2, 3, 56, 40)


def test_it_learns_from_its_initial_weights() -> None:
    """A dead or saturated start ends at the best constant answer, whose error is the variance of the images."""
    network = Autoencoder(width=8)
    # Smooth images: one brightness a channel and image.
    images = torch.rand(16, 3, 1, 1, generator=stream(0)).expand(16, 3, 16, 16)
    optimizer = torch.optim.Adam(network.parameters(), lr=3e-3)
    error = torch.tensor(torch.inf)
    for _ in range(100):
        optimizer.zero_grad()
        error = torch.nn.functional.mse_loss(network(images), images)
        error.backward()
        optimizer.step()
    assert error.item() < 0.5 * images.var().item()


def test_impossible_width_is_refused() -> None:
    with pytest.raises(ValueError, match="width"):
        Autoencoder(width=0)
