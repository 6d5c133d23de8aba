"""Arms: what a study compares, and which encoders they need."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from analysis.records.schema import Fusion, arm_name
from study.config.arms import LATENT_FUSIONS

if TYPE_CHECKING:
    from collections.abc import Iterable

    from study.config.study import StudyConfig

HANDCRAFTED = "handcrafted"
"""Folder below ``pretrain/`` of what the control `classical` looks at: colours and textures. It stands for an encoder's id."""

RANDOM_SUFFIX = "-random"
"""Ends the id of an encoder with random weights: ``cam16-random`` has the architecture of ``cam16``."""


@dataclass(frozen=True)
class Arm:
    """One thing that is compared: a fraction of the labelled images, with or without pretrained features."""

    fraction: float
    """Fraction of the labelled training images, in (0, 1]."""
    fusion: Fusion
    """How what was pretrained joins the classifier."""
    encoders: tuple[str, ...] = ()
    """Names of the encoders; empty without pretraining."""
    control: str = ""
    """Name of the control that this arm is; empty for the compared arms."""
    segmentation: bool = False
    """Whether an auxiliary head learns from masks."""
    names_encoders: bool = False
    """Whether the arm's name lists its encoders: only where a set differs from the study's first."""
    classifier: str = ""
    """Name of a classifier of torchvision; empty for the residual one. Where it starts from given weights, `encoders` holds its
    name and no other."""

    @property
    def name(self) -> str:
        """Unique within a study, e.g. ``WBC_10/sum``, ``WBC_10/sum(prcc)``, ``WBC_10/sum-random`` or ``WBC_10/resnet18``."""
        named = self.encoders if self.names_encoders else ()
        return arm_name(self.fraction, self.classifier or self.fusion, self.control, named, self.segmentation)

    @property
    def encoder_folders(self) -> dict[str, str]:
        """Encoder -> its id, which names its folder below ``pretrain/``; encoders with random weights have ids of their own."""
        suffix = RANDOM_SUFFIX if self.control == "random" else ""
        return {encoder: encoder + suffix for encoder in self.encoders}

    @property
    def latent_folders(self) -> dict[str, str]:
        """Encoder -> folder below ``pretrain/`` of the latent vectors that the arm takes; empty where it takes none."""
        if self.control == "classical":
            return {HANDCRAFTED: HANDCRAFTED}
        return self.encoder_folders if self.fuses_latents else {}

    @property
    def fuses_latents(self) -> bool:
        """Whether validation and test use latent vectors; in the control `published` only the training did."""
        return self.fusion in LATENT_FUSIONS and self.control != "published"


def list_arms(config: StudyConfig) -> tuple[Arm, ...]:
    """List all arms of a study.

    Each fraction has every fusion with every set of encoders, without and with masks, then every further classifier, then the
    controls. Fractions ascend, the others keep the configured order. `random` and `shuffled` stand beside every arm whose
    encoders (or given weights) they replace; `twin` is another ``off``; `classical` stands beside ``off``; `published` is one
    arm, with the study's first set of encoders.
    """
    arms = []
    for fraction in sorted(config.arms.fractions):
        compared = [arm for fusion in config.arms.fusion for arm in _arms_with(config, fraction, fusion)]
        for classifier, weights in config.arms.networks.items():
            compared.append(Arm(fraction, Fusion.OFF, (classifier,) if weights else (), classifier=classifier))
        arms += [*compared, *(control for arm in compared for control in _controls_of(config, arm))]
        if config.has_control("published", fraction):
            plain = min(config.arms.segmentation)
            arms.append(Arm(fraction, Fusion.SUM, config.arms.encoders, "published", plain))
    return tuple(arms)


def encoder_ids(arms: Iterable[Arm]) -> tuple[str, ...]:
    """Ids of the encoders whose weights the arms start from or whose latent vectors they take, each once."""
    return tuple(dict.fromkeys(encoder_id for arm in arms for encoder_id in arm.encoder_folders.values()))


def latent_encoder_ids(arms: Iterable[Arm]) -> tuple[str, ...]:
    """Ids of the encoders whose latent vectors the arms take, and `HANDCRAFTED` where the control `classical` is among them."""
    known = tuple(arms)
    ids = encoder_ids(arm for arm in known if arm.fusion in LATENT_FUSIONS)
    return (*ids, *([HANDCRAFTED] if any(arm.control == "classical" for arm in known) else []))


def pretrained_encoders(arms: Iterable[Arm]) -> tuple[str, ...]:
    """Names of the encoders whose pretrained weights the arms need, or whose architecture they need with random weights."""
    ids = encoder_ids(arm for arm in arms if not arm.classifier)
    return tuple(dict.fromkeys(encoder_id.removesuffix(RANDOM_SUFFIX) for encoder_id in ids))


def trained_encoders(config: StudyConfig) -> tuple[str, ...]:
    """Names of the encoders that this study pretrains itself, so that it needs their images."""
    needed = pretrained_encoders(list_arms(config))
    return tuple(encoder for encoder in needed if config.pretrain.of(encoder).weights is None)


def _arms_with(config: StudyConfig, fraction: float, fusion: Fusion) -> list[Arm]:
    if fusion == Fusion.OFF:
        arms = [Arm(fraction, fusion)]
    elif fusion == Fusion.FINETUNE:
        arms = [Arm(fraction, fusion, ("cam16",))]
    else:
        arms = [Arm(fraction, fusion, config.arms.encoders)]
        arms += [Arm(fraction, fusion, chosen, names_encoders=True) for chosen in config.arms.encoder_sets]
    return [replace(arm, segmentation=segmentation) for arm in arms for segmentation in config.arms.segmentation]


def _controls_of(config: StudyConfig, arm: Arm) -> list[Arm]:
    if arm.classifier:
        drawn = replace(arm, control="random", encoders=())
        return [drawn] if arm.encoders and config.has_control("random", arm.fraction) else []
    if arm.fusion == Fusion.OFF:
        # One of each is enough, beside the arm that all others are compared with.
        possible: tuple[str, ...] = ("twin", "classical") if arm.segmentation == min(config.arms.segmentation) else ()
    else:
        possible = ("random", "shuffled") if arm.fuses_latents else ("random",)
    return [replace(arm, control=control) for control in possible if config.has_control(control, arm.fraction)]
