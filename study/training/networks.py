"""The network of an arm, as it is trained and as it is used afterwards."""

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
"""Any of them is called with images and latent vectors."""


def build_network(
    config: StudyConfig,
    arm: Arm,
    classes: int,
    latent_sizes: Mapping[str, int],
    stream: Callable[[str], torch.Generator],
) -> Network:
    """The classifier of an arm with what joins it, with initial weights.

    Args:
        config: Of the study.
        arm: Which one.
        classes: Number of classes.
        latent_sizes: Length of the latent vector of each encoder that the arm looks through; empty for the others.
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


def lay_out(network: NetworkT) -> NetworkT:
    """Put a network's weights into the order in memory that it is trained and used with.

    Channels last: the convolutions run a tenth faster on the CPU, and tensor cores want it. Not for named networks, which may
    have layers of fewer than 8 channels: torch 2.14.1 then writes outside its buffers in the backward pass on the CPU.
    """
    if not isinstance(network, TorchvisionClassifier):
        network.to(memory_format=torch.channels_last)
    return network
