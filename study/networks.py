"""The network of an arm, as it is trained and as it is used afterwards."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING

from models.classifier import ResidualClassifier
from models.encoders import CAM16_MEAN, CAM16_STD
from models.fusion import FusedClassifier
from models.handcrafted import LinearClassifier

if TYPE_CHECKING:
    import torch

    from study.arms import Arm
    from study.config import StudyConfig


def build_network(
    config: StudyConfig,
    arm: Arm,
    classes: int,
    latent_sizes: Mapping[str, int],
    stream: Callable[[str], torch.Generator],
) -> FusedClassifier | LinearClassifier:
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
    classifier = ResidualClassifier(classes, config.model.width, stream("classifier"), config.model.norm_momentum)
    if arm.fusion == "finetune":
        return FusedClassifier(classifier, {}, "off", normalisation=(CAM16_MEAN, CAM16_STD))
    return FusedClassifier(classifier, latent_sizes, arm.fusion if arm.fuses_latents else "off", stream("fusion"))
