from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from models.autoencoder import Autoencoder
from models.classifier import ResidualClassifier
from models.initialisation import initialise, stream

PARTS = st.lists(st.text(max_size=8) | st.integers(), max_size=3)


def test_the_first_numbers_of_a_stream_are_fixed() -> None:
    """Recorded once: a change of the derivation would silently change every study."""
    drawn = torch.randint(0, 1_000_000, (3,), generator=stream(0, "classifier"))
    assert drawn.tolist() == [286898, 492274, 666734]
    assert torch.equal(drawn, torch.randint(0, 1_000_000, (3,), generator=stream(0, "classifier")))


@settings(max_examples=50, deadline=None)
@given(seed=st.integers(-(2**70), 2**70), first=PARTS, second=PARTS)
def test_streams_differ_when_any_part_differs(seed: int, first: list[str | int], second: list[str | int]) -> None:
    same = torch.equal(torch.rand(4, generator=stream(seed, *first)), torch.rand(4, generator=stream(seed, *second)))
    assert same == (first == second)


def test_number_and_text_name_different_streams() -> None:
    assert stream(0, 1).initial_seed() != stream(0, "1").initial_seed()
    assert stream(0, "a", "b").initial_seed() != stream(0, "ab").initial_seed()
    assert stream(1, 2).initial_seed() != stream(12).initial_seed()


def test_convolutions_have_the_kaiming_fan_out_deviation() -> None:
    for width, kernel, channels in ((64, 3, 32), (128, 1, 256)):
        conv = initialise(nn.Conv2d(channels, width, kernel), stream(3, "test"))
        count = conv.weight.numel()
        expected = math.sqrt(2 / (width * kernel * kernel))
        # The standard error of a deviation over n normal draws is sigma / sqrt(2 n); five of them.
        assert conv.weight.std().item() == pytest.approx(expected, rel=5 / math.sqrt(2 * count))
        assert abs(conv.weight.mean().item()) < 5 * expected / math.sqrt(count)
        assert conv.bias is not None
        assert torch.count_nonzero(conv.bias) == 0


def test_convolutions_scale_as_torch_scales_them() -> None:
    for layer in (nn.Conv2d(16, 48, 3), nn.ConvTranspose2d(48, 16, 2, stride=2)):
        reference = torch.empty_like(layer.weight)
        nn.init.kaiming_normal_(reference, mode="fan_out", nonlinearity="relu", generator=stream(9))
        initialise(layer, stream(9))
        torch.testing.assert_close(layer.weight.detach(), reference)


def test_linear_layers_are_uniform_in_torchs_default_bounds() -> None:
    linear = initialise(nn.Linear(100, 400), stream(4))
    assert linear.weight.abs().max().item() <= 0.1
    assert linear.weight.std().item() == pytest.approx(0.1 / math.sqrt(3), rel=0.02)
    assert 0.09 < linear.bias.abs().max().item() <= 0.1


def test_batch_norm_is_reset_including_its_statistics() -> None:
    norm = nn.BatchNorm2d(4)
    norm(torch.randn(2, 4, 5, 5))
    nn.init.constant_(norm.weight, 7)
    initialise(norm, stream(0))
    assert [norm.weight.tolist(), norm.bias.tolist()] == [[1] * 4, [0] * 4]
    assert norm.running_mean is not None
    assert norm.running_var is not None
    assert norm.num_batches_tracked is not None
    assert [norm.running_mean.tolist(), norm.running_var.tolist()] == [[0] * 4, [1] * 4]
    assert norm.num_batches_tracked.item() == 0


@pytest.mark.parametrize("network", [lambda: ResidualClassifier(width=4), lambda: Autoencoder(width=4)])
def test_networks_neither_depend_on_nor_advance_the_global_generator(network) -> None:  # type: ignore[no-untyped-def]  # a lambda
    states = []
    for seed in (1, 2):
        torch.manual_seed(seed)
        before = torch.get_rng_state()
        states.append(network().state_dict())
        assert torch.equal(torch.get_rng_state(), before)
    for name, value in states[0].items():
        assert torch.equal(value, states[1][name]), name


def test_every_weight_is_overwritten() -> None:
    """A layer that was missed would keep the mark."""
    for network in (ResidualClassifier(width=4), Autoencoder(width=4)):
        for value in network.state_dict().values():
            value.fill_(77)
        initialise(network, stream(0))
        assert [name for name, value in network.state_dict().items() if (value == 77).any()] == []


def test_a_layer_without_a_rule_is_an_error_that_names_it() -> None:
    with pytest.raises(TypeError, match=r"'1' of type PReLU"):
        initialise(nn.Sequential(nn.Linear(2, 2), nn.PReLU()), stream(0))
