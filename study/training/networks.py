"""The network of an arm: built in the same way to train it and to use it afterwards."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, TypeVar

import torch

from analysis.records.schema import Fusion
from models.classifier import ResidualClassifier
from models.encoders import CAM16_MEAN, CAM16_STD
from models.fusion import FusedClassifier
from models.handcrafted import LinearClassifier
from models.torchvision_classifiers import TorchvisionClassifier

if TYPE_CHECKING:
    from study.config.study import StudyConfig
    from study.design.arms import Arm


NetworkT = TypeVar("NetworkT", bound="Network")

Network = FusedClassifier | LinearClassifier | TorchvisionClassifier
"""The network of any arm; each kind is called with images and latent vectors."""


def build_network(
    config: StudyConfig,
    arm: Arm,
    classes: int,
    latent_sizes: Mapping[str, int],
    stream: Callable[[str], torch.Generator],
) -> Network:
    """Build the classifier of an arm, with the module that joins latent vectors to it, with initial weights.

    Args:
        config: The study's configuration.
        arm: The arm.
        classes: Number of classes.
        latent_sizes: Encoder -> length of its latent vector, for every encoder whose latent vectors the arm takes; else empty.
        stream: Name of a purpose -> generator for its initial weights.
    """
    if arm.control == "classical":
        return LinearClassifier(classes, latent_sizes)
    if arm.classifier:
        return TorchvisionClassifier(arm.classifier, classes, stream("classifier"), config.model.norm_momentum)
    classifier = ResidualClassifier(classes, config.model.width, stream("classifier"), config.model.norm_momentum)
    if arm.fusion == Fusion.FINETUNE:
        return FusedClassifier(classifier, {}, Fusion.OFF, normalisation=(CAM16_MEAN, CAM16_STD))
    return FusedClassifier(classifier, latent_sizes, arm.fusion if arm.fuses_latents else Fusion.OFF, stream("fusion"))


def use_channels_last(network: NetworkT) -> NetworkT:
    """Order a network's weights in memory as channels last, where that is safe; trained and used networks are ordered alike.

    Convolutions then run a tenth faster on the CPU, and tensor cores need it. Classifiers of torchvision stay as they are: they
    may have layers of fewer than 8 channels, for which torch 2.14.1 writes outside its buffers in the backward pass on the CPU.
    """
    if not isinstance(network, TorchvisionClassifier):
        network.to(memory_format=torch.channels_last)
    return network
