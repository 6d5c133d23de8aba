from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from models.autoencoder import Autoencoder
from models.classifier import ResidualClassifier
from models.encoders import Encoder
from models.initialisation import stream


def both(width: int = 4) -> tuple[Encoder, Encoder]:
    return Encoder.from_autoencoder(Autoencoder(width=width)), Encoder.from_classifier(
        ResidualClassifier(classes=2, width=width)
    )


def test_names_and_latent_sizes_are_the_documented_ones() -> None:
    prcc, cam16 = both(width=32)
    assert (prcc.name, prcc.latent_size) == ("prcc", 256)
    assert (cam16.name, cam16.latent_size) == ("cam16", 256)
    assert Encoder.from_classifier(ResidualClassifier(width=4), name="random").name == "random"


@settings(max_examples=15, deadline=None)
@given(height=st.integers(16, 50), width=st.integers(16, 50), count=st.integers(1, 3))
def test_any_size_from_16_px_gives_one_finite_vector_an_image(height: int, width: int, count: int) -> None:
    images = torch.rand(count, 3, height, width, generator=stream(0))
    for encoder in both():
        latents = encoder(images)
        assert latents.shape == (count, encoder.latent_size)
        assert latents.dtype == torch.float32
        assert torch.isfinite(latents).all()


def test_an_encoder_stays_frozen_and_in_evaluation_mode_after_train() -> None:
    """Also as a part of a larger model that is set to train: batch norm must not drift towards the blood cells."""
    for encoder in both():
        before = {name: value.clone() for name, value in encoder.state_dict().items()}
        whole = torch.nn.ModuleList([encoder]).train()
        assert whole.training
        assert not any(module.training for module in encoder.modules())
        assert not any(parameter.requires_grad for parameter in encoder.parameters())
        assert not encoder(torch.rand(4, 3, 32, 32)).requires_grad
        for name, value in encoder.state_dict().items():
            assert torch.equal(value, before[name]), name


def test_latents_are_the_means_then_the_maxima_of_the_normalised_feature_maps() -> None:
    images = torch.rand(2, 3, 32, 32, generator=stream(1))
    autoencoder, classifier = Autoencoder(width=4), ResidualClassifier(width=4).eval()
    with torch.no_grad():
        prcc_maps = autoencoder.encode(images)
        cam16_maps = classifier.feature_maps(2 * images - 1)  # mean 0.5, std 0.5
    for encoder, maps in (
        (Encoder.from_autoencoder(autoencoder), prcc_maps),
        (Encoder.from_classifier(classifier), cam16_maps),
    ):
        latents = encoder(images)
        torch.testing.assert_close(latents[:, :16], maps.flatten(2).mean(dim=2))
        torch.testing.assert_close(latents[:, 16:], maps.flatten(2).max(dim=2).values)


def test_the_source_network_is_copied_and_can_go_on_training() -> None:
    classifier = ResidualClassifier(width=4)
    encoder = Encoder.from_classifier(classifier)
    images = torch.rand(2, 3, 16, 16, generator=stream(2))
    before = encoder(images)
    assert classifier.training
    assert all(parameter.requires_grad for parameter in classifier.parameters())
    with torch.no_grad():
        classifier.conv1.weight.zero_()
    assert torch.equal(encoder(images), before)


@pytest.mark.parametrize("shape", [(1, 3, 15, 40), (1, 1, 32, 32), (3, 32, 32)])
def test_images_that_do_not_fit_are_refused_with_their_shape(shape: tuple[int, ...]) -> None:
    for encoder in both():
        with pytest.raises(ValueError, match=r"\(" + ", ".join(map(str, shape))):
            encoder(torch.zeros(shape))
