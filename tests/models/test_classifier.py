from __future__ import annotations

import pytest
import torch
from torch import nn

from models.classifier import ResidualClassifier
from models.initialisation import stream


def count(network: nn.Module) -> int:
    return sum(parameter.numel() for parameter in network.parameters())


def test_parameter_counts_are_the_published_ones() -> None:
    assert count(ResidualClassifier()) == 719_013
    assert count(ResidualClassifier(classes=2)) == 718_626


def test_state_dict_keys_are_the_published_ones() -> None:
    norm = ("weight", "bias", "running_mean", "running_var", "num_batches_tracked")
    expected = ["conv1.weight", *(f"bn1.{key}" for key in norm)]
    for stage in (1, 2, 3):
        for block in (0, 1):
            for conv, bn in (("conv1", "bn1"), ("conv2", "bn2"), ("downsample.0", "downsample.1")):
                expected.append(f"layer{stage}.{block}.{conv}.weight")
                expected += [f"layer{stage}.{block}.{bn}.{key}" for key in norm]
    expected += ["fc.weight", "fc.bias"]
    assert list(ResidualClassifier().state_dict()) == expected


def test_a_training_step_at_the_published_crop_lowers_the_loss() -> None:
    network = ResidualClassifier()
    images = torch.rand(2, 3, 224, 224, generator=stream(0, "images"))
    labels = torch.tensor([0, 4])
    optimizer = torch.optim.SGD(network.parameters(), lr=1e-3)
    loss = nn.functional.cross_entropy(network(images), labels)
    loss.backward()
    assert all(p.grad is not None and torch.isfinite(p.grad).all() for p in network.parameters())
    optimizer.step()
    with torch.no_grad():  # in training mode still: the same batch norm
        assert nn.functional.cross_entropy(network(images), labels) < loss


def test_the_published_validation_size_gives_one_logit_a_class() -> None:
    network = ResidualClassifier(width=4).eval()
    with torch.no_grad():
        logits = network(torch.rand(1, 3, 575, 575, generator=stream(0)))
    assert logits.shape == (1, 5)
    assert torch.isfinite(logits).all()


@pytest.mark.parametrize(("size", "side"), [(32, 8), (33, 9), (1, 1)])
def test_maps_features_and_logits_are_steps_of_one_computation(size: int, side: int) -> None:
    network = ResidualClassifier(classes=3, width=8).eval()
    images = torch.rand(2, 3, size, size, generator=stream(0))
    with torch.no_grad():
        maps, features, logits = network.feature_maps(images), network.features(images), network(images)
    assert maps.shape == (2, 32, side, side)
    assert maps.min() >= 0  # after a ReLU
    assert features.shape == (2, network.feature_size) == (2, 32)
    torch.testing.assert_close(features, nn.functional.adaptive_avg_pool2d(maps, 1).flatten(1))
    torch.testing.assert_close(logits, features @ network.fc.weight.T + network.fc.bias)


def test_the_generator_decides_the_weights() -> None:
    first, again, other = (ResidualClassifier(width=4, generator=stream(seed, "classifier")) for seed in (1, 1, 2))
    assert torch.equal(first.conv1.weight, again.conv1.weight)
    assert not torch.equal(first.conv1.weight, other.conv1.weight)


def test_impossible_sizes_are_refused() -> None:
    with pytest.raises(ValueError, match="classes=0"):
        ResidualClassifier(classes=0)
    with pytest.raises(ValueError, match="width=0"):
        ResidualClassifier(width=0)


def test_a_classifier_starts_from_a_trained_trunk_and_keeps_its_own_head() -> None:
    tissue = ResidualClassifier(classes=2, width=4, generator=stream(1, "cam16"))
    with torch.no_grad():
        tissue(torch.rand(4, 3, 16, 16, generator=stream(1, "images")))  # running statistics of its own
    cells = ResidualClassifier(classes=5, width=4, generator=stream(2, "classifier"))
    head = {name: tensor.clone() for name, tensor in cells.fc.state_dict().items()}
    cells.start_from(tissue)
    for name, tensor in cells.state_dict().items():
        expected = head[name.removeprefix("fc.")] if name.startswith("fc.") else tissue.state_dict()[name]
        assert torch.equal(tensor, expected), name
    with torch.no_grad():
        tissue.conv1.weight.zero_()
    assert cells.conv1.weight.abs().max() > 0  # a copy


def test_a_trunk_of_another_width_is_refused_with_both() -> None:
    with pytest.raises(ValueError, match="width 4 cannot start from one of width 8"):
        ResidualClassifier(width=4).start_from(ResidualClassifier(width=8))


def test_a_frozen_trunk_keeps_weights_and_statistics_and_the_head_learns() -> None:
    network = ResidualClassifier(classes=3, width=4).train()
    network.freeze_trunk(True)
    before = {name: tensor.clone() for name, tensor in network.state_dict().items()}
    optimiser = torch.optim.Adam(network.parameters(), lr=0.1, weight_decay=0.1)

    def step() -> set[str]:
        optimiser.zero_grad(set_to_none=True)
        network(torch.rand(4, 3, 16, 16, generator=stream(0, "images"))).square().sum().backward()
        optimiser.step()
        return {name for name, tensor in network.state_dict().items() if not torch.equal(tensor, before[name])}

    assert step() == {"fc.weight", "fc.bias"}
    network.train()
    network.freeze_trunk(False)
    assert step() == set(before)
