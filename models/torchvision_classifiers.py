"""Classifiers of torchvision by name, with the study's classes in place of ImageNet's thousand. Nothing is ever downloaded."""

from __future__ import annotations

import re
import warnings
from collections.abc import Callable, Mapping
from functools import cache
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from models.checkpoints import list_differences, read_tensors
from models.errors import WeightsError
from models.initialisation import stream

IMAGENET_MEAN, IMAGENET_STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
"""What torchvision's weights expect images to be normalised with (`torchvision.transforms._presets.ImageClassification`)."""

OWN: dict[str, Callable[[int], nn.Module]] = {}
"""Name of a further classifier -> what builds it for a number of classes."""

_OPTIONS: dict[str, dict[str, Any]] = {
    # As torchvision builds them for its own weights, but without the auxiliary classifiers, which only training looks at.
    name: {"aux_logits": False, "init_weights": True, "transform_input": True}
    for name in ("googlenet", "inception_v3")
}

_AUXILIARY = re.compile(r"(AuxLogits|aux1|aux2)\.")

_OLD_NAME = re.compile(r"(denselayer\d+\.(?:norm|conv))\.([12]\.)")
"""Names in files of densenets, as torchvision renames them when it loads its own (`densenet._load_state_dict`)."""


class TorchvisionClassifier(nn.Module):
    """A classifier of torchvision that sees images normalised as ImageNet's, with or without weights learned there.

    Initial weights are drawn as torchvision draws them. Building one leaves torch's global generator as it was; dropout and
    stochastic depth draw from it in training. Its tensors stay contiguous, not channels last: torch 2.14.1 writes outside its
    buffers on the CPU in channels-last convolutions with fewer than 8 channels, which some of these networks have.

    Args:
        name: As `known_classifiers` lists it.
        classes: Number of logits.
        generator: CPU generator for the initial weights; `stream(0, "classifier")` where None.
        norm_momentum: As in `ResidualClassifier`; it replaces the network's own.
    """

    mean: Tensor
    std: Tensor

    def __init__(
        self, name: str, classes: int, generator: torch.Generator | None = None, norm_momentum: float = 0.1
    ) -> None:
        super().__init__()
        chosen = stream(0, "classifier") if generator is None else generator
        with torch.random.fork_rng(devices=[]):
            torch.random.manual_seed(int(torch.randint(2**62, (), generator=chosen)))
            self.network = _build(name, classes)
        for module in self.network.modules():
            if isinstance(module, nn.BatchNorm2d):
                module.momentum = norm_momentum
        # Constants, not weights: they move with the module and stay out of its state dict.
        self.register_buffer("mean", torch.tensor(IMAGENET_MEAN).reshape(3, 1, 1), persistent=False)
        self.register_buffer("std", torch.tensor(IMAGENET_STD).reshape(3, 1, 1), persistent=False)

    def start_from(self, weights: Mapping[str, Tensor]) -> None:
        """Take over the weights and statistics that `read_classifier_weights` returns: everything but the head."""
        own = self.network.state_dict()
        self.network.load_state_dict({**own, **weights})

    def forward(self, images: Tensor, latents: Mapping[str, Tensor] | None = None) -> Tensor:  # noqa: ARG002 - as others
        """Logits (B, classes) of images, float (B, 3, H, W) in [0, 1]. Latent vectors are not looked at."""
        logits: Tensor = self.network(((images - self.mean) / self.std).contiguous())
        return logits


def known_classifiers() -> list[str]:
    """Names of torchvision's classification networks and of `OWN`."""
    from torchvision import models

    return [*models.list_models(module=models), *OWN]


def read_classifier_weights(name: str, path: Path, classes: int) -> dict[str, Tensor]:
    """Read the weights of a classifier from a file, without its head: the head's size depends on the number of classes.

    Args:
        name: The classifier's name in torchvision or `OWN`.
        path: A state dict in a ``.safetensors`` file, or (any other suffix) saved by `torch.save`, such as torchvision's own
            files. It is unpickled with ``weights_only=True``: nothing in it is executed.
        classes: Number of classes of the classifier that will start from the weights.

    Returns:
        Name in the network -> tensor, for everything but the head.

    Raises:
        WeightsError: the file is missing, damaged, of another network (the message lists what differs) or not finite.
    """
    network = _without_values(name, classes)
    head = _head(name)
    found = {
        _OLD_NAME.sub(r"\1\2", key): tensor for key, tensor in read_tensors(path).items() if not _AUXILIARY.match(key)
    }
    expected = network.state_dict()
    # The numbers of batches seen: old files lack them, and no average here depends on them.
    counters = {key: torch.zeros((), dtype=torch.int64) for key in expected if key.endswith("num_batches_tracked")}
    trunk = {key: tensor for key, tensor in {**counters, **found}.items() if key not in head}
    differences = list_differences({key: tensor for key, tensor in expected.items() if key not in head}, trunk)
    if differences:
        raise WeightsError(
            f"{path} does not hold the weights of {name}: {'; '.join(differences)}. Its head ({', '.join(sorted(head))}) may"
            " have any number of classes; everything else has to be that of the network. Give a state dict of torchvision's"
            f" {name}"
        )
    damaged = [key for key, tensor in trunk.items() if not torch.isfinite(tensor).all()]
    if damaged:
        raise WeightsError(
            f"{path} has values that are not finite in {damaged[0]}; give a network that did not diverge."
        )
    return trunk


def count_parameters(name: str, classes: int) -> int:
    """Number of trainable parameters of a classifier."""
    return sum(parameter.numel() for parameter in _without_values(name, classes).parameters())


def find_refusal(name: str, height: int, width: int, *, images: int = 2, training: bool = False) -> str:
    """Why a classifier cannot look at images of a size, in torch's words; empty where it can. Only shapes are computed.

    Args:
        name: The classifier's name in torchvision or `OWN`.
        height: Height of an image, px.
        width: Width of an image, px.
        images: Number of images in a batch.
        training: Whether the classifier is trained: batch norm then needs more than one value of each channel.
    """
    network = _without_values(name, 2).train(training)
    try:
        with torch.no_grad():
            network(torch.empty((images, 3, height, width), device="meta"))
    except (RuntimeError, ValueError, AssertionError) as error:
        return str(error).split("\n")[0].strip() or type(error).__name__
    return ""


def smallest_side(name: str, above: int) -> int | None:
    """Smallest side in px, above `above` and at most 512, of square images that a classifier accepts; None without one."""
    return next((side for side in range(above + 1, 513) if not find_refusal(name, side, side)), None)


def _build(name: str, classes: int) -> nn.Module:
    if name in OWN:
        return OWN[name](classes)
    from torchvision import models

    network: nn.Module = models.get_model_builder(name)(weights=None, num_classes=classes, **_OPTIONS.get(name, {}))
    return network


@cache
def _without_values(name: str, classes: int) -> nn.Module:
    """The network with the shapes of its tensors and without their values."""
    with torch.random.fork_rng(devices=[]), warnings.catch_warnings():
        # torch warns of initial weights without values; none are wanted.
        warnings.simplefilter("ignore")
        try:
            with torch.device("meta"):
                return _build(name, classes)
        except NotImplementedError:  # some compute their widths with tensors
            return _build(name, classes).to("meta")


def _head(name: str) -> frozenset[str]:
    """Names of the tensors whose shape depends on the number of classes."""
    two, three = (_without_values(name, classes).state_dict() for classes in (2, 3))
    return frozenset(key for key, tensor in two.items() if tensor.shape != three[key].shape)
