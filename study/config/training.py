"""Settings of one training: the classifier, its optimisation and its augmentation."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Annotated, Any, Literal, Self

from pydantic import Field

from study.config.settings import MASK_WEIGHT, SEARCHABLE, Settings

LossWeights = Literal["none", "inverse", "effective"]

Sampling = Literal["natural", "balanced"]


class ModelConfig(Settings):
    """The residual classifier."""

    width: int = Field(
        default=32, ge=8, le=256, description="Channels of the first stage; 32 as published (719,013 parameters)."
    )
    norm_momentum: float = Field(
        default=0.1,
        gt=0,
        le=1,
        description="Weight of the newest batch in batch norm's running statistics. Raise it where trials have only dozens of"
        " gradient steps: validation would still see the statistics of the start.",
    )


class TrainingConfig(Settings):
    """One training of one arm. Loss is cross-entropy, the optimiser Adam. The loss of validation is never weighted."""

    epochs: int = Field(
        default=25, ge=1, description="Epochs of a full-length trial; each ends with a validation and a report."
    )
    steps_per_epoch: int | None = Field(
        default=None,
        ge=1,
        description="Empty: an epoch is one pass over the arm's subset, as published (the 1 % arm then sees a hundredth of the"
        " gradient steps). A number: an epoch is that many gradient steps at every fraction.",
    )
    batch_size: int = Field(default=8, ge=1, description="Images in a gradient step.")
    schedule: Literal["plateau", "cosine", "constant"] = Field(
        default="plateau",
        description="`plateau` lowers the learning rate when validation accuracy has not risen for some epochs (as published)."
        " `cosine` lowers it at every gradient step, to zero at the end: steadier where a trial has few epochs.",
    )
    plateau_patience: int = Field(
        default=5, ge=0, description="Epochs without a rise before the plateau schedule acts."
    )
    plateau_factor: float = Field(
        default=0.5, gt=0, lt=1, description="What the plateau schedule multiplies the rate with."
    )
    frozen_epochs: int = Field(
        default=0,
        ge=0,
        description="For arms with `finetune` only: first epochs in which the trunk keeps the CAM16 weights and the head alone"
        " learns.",
    )
    loss_weights: LossWeights = Field(
        default="none",
        json_schema_extra=SEARCHABLE,
        description="Weights of the classes in the training loss, from the images of the arm's own subset: `inverse` to their"
        " number, or to their `effective` number (Cui et al. 2019); their mean over the images drawn is 1. Recorded losses are"
        " unweighted.",
    )
    effective_beta: float = Field(
        default=0.999,
        ge=0,
        lt=1,
        json_schema_extra=SEARCHABLE,
        description="Beta of the effective number (1 - beta^n) / (1 - beta): 0 weighs nothing, near 1 it is `inverse`.",
    )
    sampling: Sampling = Field(
        default="natural",
        json_schema_extra=SEARCHABLE,
        description="`natural`: a pass shows every image once. `balanced`: as many images, of each class equally many: those of"
        " a rare class repeat.",
    )
    stain_jitter: float = Field(
        default=0.0,
        ge=0,
        le=0.5,
        json_schema_extra=SEARCHABLE,
        description="How far the stains of a training crop are moved at random: each one's density by a factor of 1 +- so much,"
        " and by +- so much (Tellez et al. 2018, who used 0.05; 0.2 is strong). Helps on images of another laboratory, which"
        " `wbc-study evaluate` measures. Latent vectors that were computed once (arms.features: cached) do not see it.",
    )
    brightness: float = Field(
        default=0.0,
        ge=0,
        le=1,
        json_schema_extra=SEARCHABLE,
        description="Brightness of a training crop, by a random factor of 1 +- so much.",
    )
    contrast: float = Field(default=0.0, ge=0, le=1, json_schema_extra=SEARCHABLE, description="Contrast, likewise.")
    saturation: float = Field(
        default=0.0, ge=0, le=1, json_schema_extra=SEARCHABLE, description="Saturation, likewise."
    )
    hue: float = Field(
        default=0.0,
        ge=0,
        le=0.5,
        json_schema_extra=SEARCHABLE,
        description="Hue of a training crop, turned at random by +- so much of a circle.",
    )
    segmentation_weight: Annotated[float, MASK_WEIGHT] = Field(
        default=0.0,
        ge=0,
        json_schema_extra=SEARCHABLE,
        description="Weight of the segmentation loss in arms that learn from masks (arms.segmentation): what an image's mask"
        " counts against its label. Cross-entropy, mean over the mask; images without one add nothing. Recorded losses leave it"
        " out.",
    )

    precision: Literal["auto", "float32", "bfloat16"] = Field(
        default="auto",
        description="Of convolutions and matrix products, in training and when scoring. `auto`: bfloat16 on accelerators that"
        " compute in it, float32 elsewhere. Weights, statistics and losses are float32 throughout. Not measured on an accelerator"
        " yet.",
    )

    def with_searched(self, values: Mapping[str, Any]) -> Self:
        """These settings with some replaced by what the search chose, by names such as ``training.sampling``."""
        if not values:
            return self
        changes = {name.removeprefix("training."): value for name, value in values.items()}
        return self.model_validate({**self.model_dump(), **changes})

    def steps_in_epoch(self, train_images: int) -> int:
        """Gradient steps of one epoch over a subset of `train_images` images (the last batch may be smaller)."""
        return self.steps_per_epoch or math.ceil(train_images / self.batch_size)
