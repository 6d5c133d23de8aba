from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from models.classifier import ResidualClassifier
from models.fusion import FUSION_MODULES, FusedClassifier, Standardisation
from models.initialisation import stream

SIZES = {"prcc": 6, "cam16": 4}


def classifier(seed: int = 0) -> ResidualClassifier:
    return ResidualClassifier(classes=3, width=4, generator=stream(seed, "classifier"))


def images() -> Tensor:
    return torch.rand(5, 3, 16, 16, generator=stream(0, "images"))


def latents(count: int = 5, seed: int = 0) -> dict[str, Tensor]:
    return {n: 3 + 2 * torch.randn(count, size, generator=stream(seed, "latents", n)) for n, size in SIZES.items()}


FUSED = ("sum", "concat", "gated")


def test_the_modes_are_those_that_exist() -> None:
    assert tuple(FUSION_MODULES) == FUSED


@pytest.mark.parametrize("mode", FUSED)
def test_a_fused_model_starts_as_the_off_model_with_the_same_seed(mode: str) -> None:
    off = FusedClassifier(classifier(), SIZES, mode="off").eval()
    fused = FusedClassifier(classifier(), SIZES, mode).eval()
    fused.set_statistics(latents(20, seed=1))
    assert torch.equal(fused(images(), latents()), off(images()))
    for name, value in off.classifier.state_dict().items():
        assert torch.equal(value, fused.classifier.state_dict()[name]), name


@pytest.mark.parametrize("mode", FUSED)
def test_building_fusion_leaves_the_global_generator_alone(mode: str) -> None:
    before = torch.get_rng_state()
    FusedClassifier(classifier(), SIZES, mode)
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


def test_concatenation_passes_one_hidden_layer() -> None:
    """logits = W (f + V relu(U [f; z_cam16; z_prcc] + c)) + b, by hand."""
    fused = FusedClassifier(classifier(), SIZES, "concat").eval()
    fused.set_statistics(latents(50, seed=1))
    state = fused.state_dict()
    correction = torch.randn(16, 16, generator=stream(2))
    fused.load_state_dict(state | {"fusion.correction.weight": correction})
    features = fused.classifier.features(images())
    z = [fused.standardisation[name](latents()[name]) for name in sorted(SIZES)]
    hidden = (torch.cat([features, *z], dim=1) @ state["fusion.hidden.weight"].T + state["fusion.hidden.bias"]).clamp(
        min=0
    )
    expected = fused.classifier.fc(features + hidden @ correction.T)
    torch.testing.assert_close(fused(images(), latents()), expected)


def test_gates_let_mapped_latents_through() -> None:
    """logits = W (f + sum_e sigmoid(G_e [f; z_e] + d_e) * (A_e z_e)) + b, by hand."""
    fused = FusedClassifier(classifier(), SIZES, "gated").eval()
    fused.set_statistics(latents(50, seed=1))
    drawn = {
        name: torch.randn(tensor.shape, generator=stream(2, name))
        for name, tensor in fused.state_dict().items()
        if name.startswith("fusion")
    }
    fused.load_state_dict(fused.state_dict() | drawn)
    features = corrected = fused.classifier.features(images())
    for name in SIZES:
        z = fused.standardisation[name](latents()[name])
        joined = torch.cat([features, z], dim=1)
        gate = torch.sigmoid(joined @ drawn[f"fusion.gates.{name}.weight"].T + drawn[f"fusion.gates.{name}.bias"])
        corrected = corrected + gate * (z @ drawn[f"fusion.maps.{name}.weight"].T)
    torch.testing.assert_close(fused(images(), latents()), fused.classifier.fc(corrected))


@pytest.mark.parametrize("mode", FUSED)
def test_every_weight_learns_although_the_last_maps_start_at_zero(mode: str) -> None:
    fused = FusedClassifier(classifier(), SIZES, mode)
    fused.set_statistics(latents())
    before = {name: parameter.clone() for name, parameter in fused.named_parameters()}
    optimiser = torch.optim.SGD(fused.parameters(), lr=0.1)
    losses = []
    for _ in range(3):
        loss = torch.nn.functional.cross_entropy(fused(images(), latents()), torch.tensor([0, 1, 2, 0, 1]))
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        losses.append(float(loss.detach()))
    assert losses[-1] < losses[0]
    for name, parameter in fused.named_parameters():
        assert not torch.equal(parameter, before[name]), name


def test_hidden_weights_come_from_the_stream_that_is_given() -> None:
    one, same, other = (FusedClassifier(classifier(), SIZES, "concat", stream(seed, "fusion")) for seed in (1, 1, 2))
    weights = [model.get_parameter("fusion.hidden.weight") for model in (one, same, other)]
    assert torch.equal(weights[0], weights[1])
    assert not torch.equal(weights[0], weights[2])


def test_images_are_normalised_as_the_weights_were_trained() -> None:
    model = FusedClassifier(classifier(), {}, "off", normalisation=((0.5, 0.4, 0.3), (0.5, 0.25, 0.2))).eval()
    shift, scale = torch.tensor([0.5, 0.4, 0.3]).reshape(3, 1, 1), torch.tensor([0.5, 0.25, 0.2]).reshape(3, 1, 1)
    assert torch.equal(model(images()), classifier().eval()((images() - shift) / scale))
    # Constants, not weights.
    assert set(model.state_dict()) == {f"classifier.{name}" for name in classifier().state_dict()}


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
def test_without_fusion_it_is_the_plain_classifier(sizes: dict[str, int], mode: str) -> None:
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


def test_an_encoder_may_give_a_single_number() -> None:
    assert FusedClassifier(classifier(), {"prcc": 1}).mode == "sum"


def test_names_and_modes_that_cannot_be_used_are_refused() -> None:
    with pytest.raises(ValueError, match=r"'product'.*off, sum"):
        FusedClassifier(classifier(), SIZES, mode="product")  # type: ignore[arg-type]  # the point of the test
    for sizes in ({"a.b": 3}, {"": 3}, {"prcc": 0}):
        with pytest.raises(ValueError, match="without dots"):
            FusedClassifier(classifier(), sizes)
