"""Arms: what a study compares."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from analysis.records.schema import Fusion, arm_name
from study.config.arms import LATENT_FUSIONS

if TYPE_CHECKING:
    from collections.abc import Iterable

    from study.config.study import StudyConfig

HANDCRAFTED = "handcrafted"
"""Folder below ``pretrain/`` of the features that the control `classical` looks at: colours and textures, no network."""

RANDOM_SUFFIX = "-random"
"""What distinguishes an encoder with random weights from the pretrained one of the same architecture: ``cam16-random``."""


@dataclass(frozen=True)
class Arm:
    """One thing that is compared: a fraction of the labelled images, with or without pretrained features."""

    fraction: float
    """Of the labelled training images, in (0, 1]."""
    fusion: Fusion
    """``off`` or how what was pretrained joins the classifier."""
    encoders: tuple[str, ...] = ()
    """Names of the encoders, empty without pretraining."""
    control: str = ""
    """Name of the control that this arm is, empty for the compared arms."""
    segmentation: bool = False
    """Whether an auxiliary head learns from masks."""
    names_encoders: bool = False
    """Whether the arm's name says its encoders: only for sets beside the study's first."""
    network: str = ""
    """Name of a network of torchvision in place of the residual classifier; empty for that. Its `encoders` are itself where it
    starts from given weights."""

    @property
    def name(self) -> str:
        """Unique within a study, e.g. ``WBC_10/sum``, ``WBC_10/sum(prcc)``, ``WBC_10/sum-random`` or ``WBC_10/resnet18``."""
        named = self.encoders if self.names_encoders else ()
        return arm_name(self.fraction, self.network or self.fusion, self.control, named, self.segmentation)

    @property
    def networks(self) -> dict[str, str]:
        """Encoder -> folder of the network that serves as it, below ``pretrain/``."""
        suffix = RANDOM_SUFFIX if self.control == "random" else ""
        return {encoder: encoder + suffix for encoder in self.encoders}

    @property
    def latents(self) -> dict[str, str]:
        """Encoder -> folder below ``pretrain/`` of the latent vectors that the arm's network takes; empty where it takes none."""
        if self.control == "classical":
            return {HANDCRAFTED: HANDCRAFTED}
        return self.networks if self.fuses_latents else {}

    @property
    def fuses_latents(self) -> bool:
        """Whether validation and test go through latent vectors. Not those of the published behaviour: they went without."""
        return self.fusion in LATENT_FUSIONS and self.control != "published"


def list_arms(config: StudyConfig) -> tuple[Arm, ...]:
    """Every fraction with every fusion mode and set of encoders, without and with masks, and every network; then its controls.

    Fractions ascend, the others keep the configured order. `random` and `shuffled` stand beside every arm whose encoders
    (or given weights) they replace; `twin` is another ``off``; `classical` stands beside ``off``; `published` is one arm, with
    the study's first set of encoders.
    """
    arms = []
    for fraction in sorted(config.arms.fractions):
        compared = [arm for mode in config.arms.fusion for arm in _arms_of_mode(config, fraction, mode)]
        for network, weights in config.arms.networks.items():
            compared.append(Arm(fraction, Fusion.OFF, (network,) if weights else (), network=network))
        arms += [*compared, *(control for arm in compared for control in _controls_of(config, arm))]
        if config.has_control("published", fraction):
            plain = min(config.arms.segmentation)
            arms.append(Arm(fraction, Fusion.SUM, config.arms.encoders, "published", plain))
    return tuple(arms)


def networks_of(arms: Iterable[Arm]) -> tuple[str, ...]:
    """Folders below ``pretrain/`` of every network that the arms start from or look through, each once."""
    return tuple(dict.fromkeys(network for arm in arms for network in arm.networks.values()))


def encoded_networks(arms: Iterable[Arm]) -> tuple[str, ...]:
    """Folders below ``pretrain/`` whose latent vectors the arms use."""
    known = tuple(arms)
    encoded = networks_of(arm for arm in known if arm.fusion in LATENT_FUSIONS)
    return (*encoded, *([HANDCRAFTED] if any(arm.control == "classical" for arm in known) else []))


def pretrained_encoders(arms: Iterable[Arm]) -> tuple[str, ...]:
    """The encoders whose pretrained weights the arms need, or whose architecture an encoder with random weights repeats."""
    encoded = networks_of(arm for arm in arms if not arm.network)
    return tuple(dict.fromkeys(network.removesuffix(RANDOM_SUFFIX) for network in encoded))


def trained_encoders(config: StudyConfig) -> tuple[str, ...]:
    """The encoders that this study pretrains itself, so that it needs their images."""
    needed = pretrained_encoders(list_arms(config))
    return tuple(encoder for encoder in needed if config.pretrain.of(encoder).weights is None)


def _arms_of_mode(config: StudyConfig, fraction: float, mode: Fusion) -> list[Arm]:
    if mode == Fusion.OFF:
        arms = [Arm(fraction, mode)]
    elif mode == Fusion.FINETUNE:
        arms = [Arm(fraction, mode, ("cam16",))]
    else:
        arms = [Arm(fraction, mode, config.arms.encoders)]
        arms += [Arm(fraction, mode, chosen, names_encoders=True) for chosen in config.arms.encoder_sets]
    return [replace(arm, segmentation=segmentation) for arm in arms for segmentation in config.arms.segmentation]


def _controls_of(config: StudyConfig, arm: Arm) -> list[Arm]:
    if arm.network:
        drawn = replace(arm, control="random", encoders=())
        return [drawn] if arm.encoders and config.has_control("random", arm.fraction) else []
    if arm.fusion == Fusion.OFF:
        # One of each is enough: beside what everything is compared with.
        possible: tuple[str, ...] = ("twin", "classical") if arm.segmentation == min(config.arms.segmentation) else ()
    else:
        possible = ("random", "shuffled") if arm.fuses_latents else ("random",)
    return [replace(arm, control=control) for control in possible if config.has_control(control, arm.fraction)]
