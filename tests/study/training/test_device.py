"""What serves accelerators gives the same results where it is not needed, and runs on the CPU where it is asked for."""

from __future__ import annotations

import pytest
import torch

from models.classifier import ResidualClassifier
from models.fusion import FusedClassifier
from models.initialisation import stream
from study.config.study import StudyConfig
from study.errors import UsageError
from study.training import device as device_module
from study.training.device import Forward, choose_device, find_device, image_memory_budget, reduces_precision, to_device

CPU = torch.device("cpu")


@pytest.fixture
def fused():
    classifier = ResidualClassifier(5, 8, stream(0, "classifier"))
    network = FusedClassifier(classifier, {"prcc": 6}, "sum").to(memory_format=torch.channels_last)
    images = torch.rand(3, 3, 16, 16, generator=stream(0, "images")).contiguous(memory_format=torch.channels_last)
    return network.eval(), images, {"prcc": torch.rand(3, 6, generator=stream(0, "latents"))}


def forward(**settings) -> Forward:
    training = {"precision": settings.get("precision", "auto")}
    resources = {"compile": settings.get("compile", False)}
    return Forward(StudyConfig.model_validate({"training": training, "resources": resources}), CPU)


def test_by_default_the_cpu_calls_the_network_as_it_is(fused):
    network, images, latents = fused
    assert torch.equal(forward()(network, images, latents), network(images, latents))


def test_reduced_precision_is_near_and_gives_float32_logits_with_gradients(fused):
    network, images, latents = fused
    exact = network(images, latents)
    reduced = forward(precision="bfloat16")(network, images, latents)
    assert reduced.dtype == torch.float32
    assert not torch.equal(reduced, exact)
    torch.testing.assert_close(reduced, exact, rtol=0.05, atol=0.05)
    reduced.sum().backward()
    assert all(p.grad is None or p.grad.dtype == torch.float32 for p in network.parameters())


def test_precision_is_reduced_where_it_is_asked_for_or_fast():
    assert not reduces_precision("auto", CPU)
    assert reduces_precision("bfloat16", CPU)
    assert not reduces_precision("float32", torch.device("cuda"))


@pytest.mark.slow
def test_networks_of_one_process_share_what_was_compiled(fused, monkeypatch):
    compiled = []

    def eagerly(function):
        # What dynamo makes of the call, run without generating code: no C++ compiler is needed.
        compiled.append(function)
        return torch.compile(function, backend="eager")

    monkeypatch.setattr(device_module, "torch", _TorchWith(compile=eagerly))
    device_module._compiled_call.cache_clear()
    _, images, latents = fused
    for number in range(2):
        other = FusedClassifier(ResidualClassifier(5, 8, stream(number, "other")), {"prcc": 6}, "sum").eval()
        torch.testing.assert_close(forward(compile=True)(other, images, latents), other(images, latents))
    device_module._compiled_call.cache_clear()
    assert len(compiled) == 1


class _TorchWith:
    """torch with another `compile`."""

    def __init__(self, compile):
        self.compile = compile

    def __getattr__(self, name):
        return getattr(torch, name)


def test_the_cpu_copies_nothing_and_keeps_images_where_they_are_mapped():
    tensor = torch.zeros(3)
    assert to_device(tensor, CPU) is tensor
    assert image_memory_budget(CPU, 1.0) == 0


def test_a_device_is_found_by_its_name_or_refused():
    assert find_device("cpu") == CPU and find_device(None) == choose_device()
    with pytest.raises(UsageError, match="--device toaster"):
        find_device("toaster")
