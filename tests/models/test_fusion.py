from __future__ import annotations

from typing import get_args

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from models.classifier import ResidualClassifier
from models.fusion import FusedClassifier, FusionMode, Standardisation
from models.initialisation import stream

SIZES = {"prcc": 6, "cam16": 4}


def classifier(seed: int = 0) -> ResidualClassifier:
    return ResidualClassifier(classes=3, width=4, generator=stream(seed, "classifier"))


def images() -> Tensor:
    return torch.rand(5, 3, 16, 16, generator=stream(0, "images"))


def latents(count: int = 5, seed: int = 0) -> dict[str, Tensor]:
    return {n: 3 + 2 * torch.randn(count, size, generator=stream(seed, "latents", n)) for n, size in SIZES.items()}


def test_the_modes_are_those_that_exist() -> None:
    assert get_args(FusionMode) == ("off", "sum")


def test_a_fused_model_starts_as_the_off_model_with_the_same_seed() -> None:
    off = FusedClassifier(classifier(), SIZES, mode="off").eval()
    fused = FusedClassifier(classifier(), SIZES).eval()
    fused.set_statistics(latents(20, seed=1))
    assert torch.equal(fused(images(), latents()), off(images()))
    for name, value in off.classifier.state_dict().items():
        assert torch.equal(value, fused.classifier.state_dict()[name]), name


def test_building_fusion_draws_no_random_number() -> None:
    before = torch.get_rng_state()
    FusedClassifier(classifier(), SIZES)
    assert torch.equal(torch.get_rng_state(), before)


def test_logits_are_the_published_sum() -> None:
    """logits = f(x) + sum over encoders of W_e (z_e - mean_e) / std_e, by hand."""
    fused = FusedClassifier(classifier(), SIZES).eval()
    training = latents(50, seed=1)
    fused.set_statistics(training)
    weights = {name: torch.randn(3, size, generator=stream(2, name)) for name, size in SIZES.items()}
    state = fused.state_dict()
    fused.load_state_dict(state | {f"fusion.maps.{name}.weight": weight for name, weight in weights.items()})
    expected = fused.classifier(images())
    for name, latent in latents().items():
        z = (latent - training[name].mean(dim=0)) / training[name].std(dim=0, correction=0)
        expected = expected + z @ weights[name].T
    torch.testing.assert_close(fused(images(), latents()), expected)


def test_the_maps_learn_from_zero_and_the_classifier_learns_beside_them() -> None:
    fused = FusedClassifier(classifier(), SIZES)
    fused.set_statistics(latents())
    loss = torch.nn.functional.cross_entropy(fused(images(), latents()), torch.tensor([0, 1, 2, 0, 1]))
    loss.backward()
    for name, parameter in fused.named_parameters():
        assert parameter.grad is not None, name
    for name in SIZES:
        gradient = fused.get_parameter(f"fusion.maps.{name}.weight").grad
        assert gradient is not None
        assert gradient.abs().max() > 0


def test_state_dict_names_say_what_they_hold() -> None:
    names = set(FusedClassifier(classifier(), SIZES).state_dict())
    plain = {f"classifier.{name}" for name in classifier().state_dict()}
    assert names - plain == {
        "standardisation.cam16.mean",
        "standardisation.cam16.std",
        "standardisation.prcc.mean",
        "standardisation.prcc.std",
        "fusion.maps.cam16.weight",
        "fusion.maps.prcc.weight",
    }
    assert names >= plain


@pytest.mark.parametrize(("sizes", "mode"), [(SIZES, "off"), ({}, "sum"), ({}, "off")])
def test_without_fusion_it_is_the_plain_classifier(sizes: dict[str, int], mode: FusionMode) -> None:
    model = FusedClassifier(classifier(), sizes, mode=mode).eval()
    assert set(model.state_dict()) == {f"classifier.{name}" for name in classifier().state_dict()}
    assert torch.equal(model(images()), classifier().eval()(images()))
    assert torch.equal(model(images(), latents()), model(images()))  # latents of encoders that are not in use


def test_the_order_of_the_encoders_does_not_change_a_bit() -> None:
    one = FusedClassifier(classifier(), SIZES).eval()
    other = FusedClassifier(classifier(), dict(reversed(SIZES.items()))).eval()
    for model in (one, other):
        for name in SIZES:
            torch.nn.init.normal_(model.get_parameter(f"fusion.maps.{name}.weight"), generator=stream(3, name))
    assert list(one.state_dict()) == list(other.state_dict())
    assert torch.equal(one(images(), latents()), other(images(), dict(reversed(latents().items()))))


@settings(max_examples=30, deadline=None)
@given(
    count=st.integers(2, 40),
    scale=st.floats(1e-3, 1e3),
    shift=st.floats(-100, 100),
    seed=st.integers(0, 1000),
)
def test_standardised_training_latents_have_mean_0_and_deviation_1(
    count: int, scale: float, shift: float, seed: int
) -> None:
    drawn = torch.rand(count, 1, generator=stream(seed), dtype=torch.float64) * torch.tensor([1.0, 2.0, 3.0])
    values = drawn * scale + shift
    layer = Standardisation(3)
    layer.fit(values)
    standardised = (
        values - layer.mean
    ) / layer.std  # in float64, to judge the statistics and not the rounding of float32
    # float32 keeps the mean to 6e-8 of its size, which the small deviations magnify.
    tolerance = 1e-5 + 1e-6 * (abs(shift) + scale) / float(values.std(dim=0, correction=0).min())
    assert standardised.mean(dim=0).abs().max().item() < tolerance
    assert (standardised.std(dim=0, correction=0) - 1).abs().max().item() < tolerance


def test_a_channel_that_is_dead_on_the_training_images_does_not_explode() -> None:
    """Deviation 0 for one channel, 2 for the other: divided by 1 % of their mean, 0.01."""
    layer = Standardisation(2)
    layer.fit(torch.tensor([[0.0, -2.0], [0.0, 2.0]]))
    assert layer.std.tolist() == pytest.approx([0.01, 2.0])
    assert layer(torch.tensor([[0.05, 1.0]])).tolist()[0] == pytest.approx([5.0, 0.5])


def test_a_single_training_image_is_only_centred() -> None:
    layer = Standardisation(2)
    layer.fit(torch.tensor([[4.0, 1.0]]))
    assert layer(torch.tensor([[5.0, 1.0]])).tolist() == [[1.0, 0.0]]


def test_half_precision_latents_are_accepted() -> None:
    fused = FusedClassifier(classifier(), SIZES).eval()
    half = {name: value.half() for name, value in latents().items()}
    fused.set_statistics(half)
    assert fused(images(), half).dtype == torch.float32


def test_statistics_travel_with_the_state_dict() -> None:
    fused = FusedClassifier(classifier(), SIZES)
    fused.set_statistics(latents(20, seed=4))
    copy = FusedClassifier(classifier(1), SIZES)
    copy.load_state_dict(fused.state_dict())
    assert torch.equal(copy.state_dict()["standardisation.prcc.mean"], fused.state_dict()["standardisation.prcc.mean"])
    assert copy.state_dict()["standardisation.prcc.mean"].abs().min() > 1


def test_latents_that_do_not_fit_are_refused() -> None:
    fused = FusedClassifier(classifier(), SIZES)
    with pytest.raises(ValueError, match=r"missing \['cam16', 'prcc'\]"):
        fused(images())
    with pytest.raises(ValueError, match=r"'prcc' have shape \(5, 7\), expected \(5, 6\)"):
        fused(images(), latents() | {"prcc": torch.zeros(5, 7)})
    with pytest.raises(ValueError, match=r"\(1, 6\), expected \(5, 6\)"):  # would broadcast over all images
        fused(images(), latents() | {"prcc": torch.zeros(1, 6)})
    with pytest.raises(ValueError, match=r"unknown \['other'\]"):
        fused.set_statistics(latents() | {"other": torch.zeros(5, 7)})
    with pytest.raises(ValueError, match="not finite"):
        fused.set_statistics(latents() | {"prcc": torch.full((5, 6), float("nan"))})
    with pytest.raises(ValueError, match="empty"):
        fused.set_statistics({name: torch.zeros(0, size) for name, size in SIZES.items()})


def test_names_and_modes_that_cannot_be_used_are_refused() -> None:
    with pytest.raises(ValueError, match=r"'product'.*off, sum"):
        FusedClassifier(classifier(), SIZES, mode="product")  # type: ignore[arg-type]  # the point of the test
    for sizes in ({"a.b": 3}, {"": 3}, {"prcc": 0}):
        with pytest.raises(ValueError, match="without dots"):
            FusedClassifier(classifier(), sizes)
