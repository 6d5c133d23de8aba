"""Arms: what a study compares."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from analysis.schema import arm_name

if TYPE_CHECKING:
    from study.config import ArmsConfig, FusionMode


@dataclass(frozen=True)
class Arm:
    """One thing that is compared: a fraction of the labelled images, with or without pretrained features."""

    fraction: float
    """Of the labelled training images, in (0, 1]."""
    fusion: FusionMode
    """``off`` or how features join the classifier."""
    encoders: tuple[str, ...] = ()
    """Names of the encoders, empty without fusion."""
    control: str = ""
    """Name of the control that this arm is, empty for the compared arms."""
    segmentation: bool = False
    """Whether an auxiliary head learns from masks."""

    @property
    def name(self) -> str:
        """Unique within a study, e.g. ``WBC_10/sum``."""
        return arm_name(self.fraction, self.fusion, self.control, self.segmentation)


def list_arms(config: ArmsConfig) -> tuple[Arm, ...]:
    """Every fraction with every fusion mode, without and with masks: fractions ascending, the others in the configured order."""
    return tuple(
        Arm(fraction, fusion, config.encoders if fusion != "off" else (), segmentation=segmentation)
        for fraction in sorted(config.fractions)
        for fusion in config.fusion
        for segmentation in config.segmentation
    )
