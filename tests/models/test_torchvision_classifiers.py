"""Networks of torchvision by name: another head, weights from a file and no draw of anybody else's."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torchvision.models import mobilenet_v3_small

from models.checkpoints import save_tensors
from models.errors import WeightsError
from models.initialisation import stream
from models.torchvision_classifiers import (
    IMAGENET_MEAN,
    TorchvisionClassifier,
    count_parameters,
    find_refusal,
    known_classifiers,
    read_classifier_weights,
    smallest_side,
)

NAME = "mobilenet_v3_small"


@pytest.fixture(scope="module")
def given() -> dict[str, torch.Tensor]:
    """Weights of the whole network, of a thousand classes, as torchvision publishes them."""
    torch.manual_seed(1)
    return mobilenet_v3_small(weights=None).state_dict()


def test_initial_weights_are_those_of_the_stream_and_nobody_elses_draws_move() -> None:
    before = torch.get_rng_state()
    one, same, other = (TorchvisionClassifier(NAME, 5, stream(seed, "classifier"), 0.3) for seed in (1, 1, 2))
    assert torch.equal(before, torch.get_rng_state())
    assert all(torch.equal(tensor, same.state_dict()[name]) for name, tensor in one.state_dict().items())
    assert not torch.equal(one.network.features[0][0].weight, other.network.features[0][0].weight)
    assert {m.momentum for m in one.modules() if isinstance(m, torch.nn.BatchNorm2d)} == {0.3}


def test_images_are_normalised_as_imagenets() -> None:
    network = TorchvisionClassifier(NAME, 5).eval()
    mean = torch.tensor(IMAGENET_MEAN).reshape(1, 3, 1, 1).expand(1, 3, 32, 32)
    with torch.no_grad():
        assert torch.equal(network(mean), network.network(torch.zeros(1, 3, 32, 32)))


@pytest.mark.parametrize("suffix", [".pth", ".safetensors"])
def test_everything_but_the_head_comes_from_the_file(
    tmp_path: Path, given: dict[str, torch.Tensor], suffix: str
) -> None:
    path = tmp_path / f"weights{suffix}"
    save_tensors(path, given) if suffix == ".safetensors" else torch.save(given, path)
    network = TorchvisionClassifier(NAME, 5)
    head = {"classifier.3.weight", "classifier.3.bias"}
    drawn = {name: network.network.state_dict()[name].clone() for name in head}
    network.start_from(read_classifier_weights(NAME, path, 5))
    for name, tensor in network.network.state_dict().items():
        assert torch.equal(tensor, drawn[name] if name in head else given[name]), name


def test_a_file_that_differs_elsewhere_is_refused_with_what_differs(
    tmp_path: Path, given: dict[str, torch.Tensor]
) -> None:
    wrong = {name: tensor for name, tensor in given.items() if name != "features.0.1.bias"}
    wrong |= {"extra.weight": torch.zeros(1), "features.0.0.weight": torch.zeros(8, 3, 3, 3)}
    torch.save(wrong, tmp_path / "wrong.pth")
    with pytest.raises(WeightsError) as caught:
        read_classifier_weights(NAME, tmp_path / "wrong.pth", 5)
    message = str(caught.value)
    assert "1 missing (features.0.1.bias); 1 unexpected (extra.weight)" in message
    assert "1 of another shape (features.0.0.weight (8, 3, 3, 3) instead of (16, 3, 3, 3))" in message
    assert "classifier.3.bias, classifier.3.weight" in message


def test_files_that_are_no_plain_weights_are_refused(tmp_path: Path, given: dict[str, torch.Tensor]) -> None:
    with pytest.raises(WeightsError, match="expected a weights file, found nothing"):
        read_classifier_weights(NAME, tmp_path / "none.pth", 5)
    # A whole pickled object could run code when it is read.
    torch.save(TorchvisionClassifier(NAME, 5), tmp_path / "object.pth")
    with pytest.raises(WeightsError, match="weights_only=True"):
        read_classifier_weights(NAME, tmp_path / "object.pth", 5)
    damaged = given | {"features.0.1.weight": torch.full((16,), torch.nan)}
    torch.save(damaged, tmp_path / "damaged.pth")
    with pytest.raises(WeightsError, match=r"not finite in features\.0\.1\.weight"):
        read_classifier_weights(NAME, tmp_path / "damaged.pth", 5)


def test_old_files_without_counters_and_with_old_names_are_read(tmp_path: Path) -> None:
    network = TorchvisionClassifier("densenet121", 5).network
    old = {
        name.replace(".norm1.", ".norm.1.").replace(".conv2.", ".conv.2."): tensor
        for name, tensor in network.state_dict().items()
        if not name.endswith("num_batches_tracked")
    }
    torch.save(old, tmp_path / "old.pth")
    found = read_classifier_weights("densenet121", tmp_path / "old.pth", 5)
    assert set(found) == set(network.state_dict()) - {"classifier.weight", "classifier.bias"}


@pytest.mark.parametrize(("name", "side"), [("alexnet", 63), ("vit_b_16", 224), ("resnet18", None)])
def test_networks_say_which_images_are_too_small(name: str, side: int | None) -> None:
    refused = find_refusal(name, 32, 32)
    assert bool(refused) == (side is not None)
    if side is not None:
        assert smallest_side(name, 32) == side
        assert not find_refusal(name, side, side)


def test_batch_norm_over_one_value_is_found_before_training() -> None:
    assert "more than 1 value per channel" in find_refusal("resnet18", 32, 32, images=1, training=True)
    assert not find_refusal("resnet18", 64, 64, images=1, training=True)


def test_parameters_are_counted_without_making_them() -> None:
    assert "resnet18" in known_classifiers()
    assert count_parameters("resnet18", 1000) == 11_689_512  # as torchvision documents it
    assert count_parameters("resnet18", 5) == sum(p.numel() for p in TorchvisionClassifier("resnet18", 5).parameters())
