"""The configuration of a study: every setting, its meaning and its default, in one place."""

from __future__ import annotations

import itertools
import math
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    ValidationError,
    ValidationInfo,
    field_serializer,
    field_validator,
    model_validator,
)

from data_utils.config import DataConfig
from study.config.secrets import mask_password
from study.search.searchers import Point, write_settings

Fraction = Annotated[float, Field(gt=0.0, le=1.0)]
EncoderName = Literal["prcc", "cam16"]
FusionMode = Literal["off", "sum", "concat", "gated", "finetune"]
LATENT_FUSIONS = ("sum", "concat", "gated")
"""Fusions that join latent vectors with the classifier, as `models.fusion` defines them; `finetune` takes weights."""
ControlName = Literal["random", "shuffled", "published", "twin", "classical"]
LossWeights = Literal["none", "inverse", "effective"]
Sampling = Literal["natural", "balanced"]


SEARCHABLE: dict[str, Any] = {"searchable": True}
"""Marks the settings of a training that `search.also` may name: those that leave its number of gradient steps as it is."""


class Settings(BaseModel):
    """Base of all settings: immutable, every number finite, and an unknown key is an error."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


def _named_once(names: object, what: str, value: str | None) -> object:
    """A list of names as a mapping to one value; anything else as it is.

    Raises:
        ValueError: a name is repeated.
    """
    if not isinstance(names, list | tuple):
        return names
    if len({str(name) for name in names}) != len(names):
        raise ValueError(f"found {list(names)}, expected each {what} once")
    return dict.fromkeys(names, value)


class ArmsConfig(Settings):
    """What is compared and never tuned. Every fraction is combined with every fusion mode."""

    fractions: tuple[Fraction, ...] = Field(
        default=(0.01, 0.1, 0.5, 1.0), min_length=1, description="Fractions of the labelled training images, in (0, 1]."
    )
    fusion: tuple[FusionMode, ...] = Field(
        default=("off", "sum"),
        min_length=1,
        description="`off`: the classifier alone. `sum`: a trainable linear map of each encoder's pooled latent vector is added"
        " to the classifier's logits. `concat`: features and latent vectors pass one hidden layer, which corrects the features."
        " `gated`: latent vectors correct the features through gates. `finetune`: the classifier starts from the weights of the"
        " CAM16 network, all but the head, and sees images normalised as that network did; no latent vectors. All but"
        " `finetune` start as the classifier of `off` with the same seed.",
    )
    encoders: tuple[EncoderName, ...] = Field(
        default=("prcc", "cam16"),
        min_length=1,
        description="Frozen pretrained networks that a fusion adds to the classifier.",
    )
    encoder_sets: tuple[tuple[EncoderName, ...], ...] = Field(
        default=(),
        description="Further sets of encoders to compare, each in arms of its own: [[prcc], [cam16]] adds e.g. WBC_10/sum(prcc)"
        " and WBC_10/sum(cam16) to WBC_10/sum.",
    )
    features: Literal["cached", "live"] = Field(
        default="cached",
        description="`cached`: latent vectors of whole images, computed once. `live`: in training the encoders see the augmented"
        " crop of every step, as the classifier does (slower); they stay frozen. Images are scored whole either way.",
    )

    networks: dict[str, Path | None] = Field(
        default={},
        description="Further classifiers to compare with `off`, in arms such as WBC_10/resnet18: classification networks of"
        " torchvision by name, as a list such as [resnet18, convnext_tiny], or with a local file of weights such as {resnet18:"
        " resnet18.pth} (a state dict of torchvision's network; its head is replaced). Nothing is downloaded. They learn from"
        " labels alone, without encoders, and see images normalised as ImageNet's; model.norm_momentum holds for them too.",
    )

    @field_validator("networks", mode="before")
    @classmethod
    def _listed_networks(cls, networks: object) -> object:
        return _named_once(networks, "network", None)

    @field_validator("fusion", mode="before")
    @classmethod
    def _off_is_a_word(cls, modes: object) -> object:
        # YAML 1.1 reads a bare `off` as false; nobody who writes it here means that.
        return ["off" if mode is False else mode for mode in modes] if isinstance(modes, list | tuple) else modes

    segmentation: tuple[bool, ...] = Field(
        default=(False,),
        min_length=1,
        description="`true`: an auxiliary head learns from the masks that some training images have, with the weight"
        " training.segmentation_weight; the arm's name ends in `+masks`. `[false, true]` compares both.",
    )

    @field_validator("fractions", "fusion", "encoders", "segmentation")
    @classmethod
    def _no_repetition(cls, values: tuple[object, ...]) -> tuple[object, ...]:
        if len(set(values)) != len(values):
            raise ValueError(f"found {list(values)}, expected each value once")
        return values

    @model_validator(mode="after")
    def _networks_have_a_baseline(self) -> Self:
        if self.networks and not ("off" in self.fusion and False in self.segmentation):
            raise ValueError(
                f"arms.networks: {', '.join(self.networks)} is compared with `off` without masks, but arms.fusion is"
                f" [{', '.join(self.fusion)}] and arms.segmentation {list(self.segmentation)}. Add `off` and `false`, or leave"
                " arms.networks out"
            )
        return self

    @model_validator(mode="after")
    def _sets_differ(self) -> Self:
        seen = {frozenset(self.encoders)}
        for chosen in self.encoder_sets:
            if not chosen or len(set(chosen)) != len(chosen) or frozenset(chosen) in seen:
                raise ValueError(
                    f"arms.encoder_sets: found {list(chosen)}, expected at least one encoder, each once, and another set than"
                    f" arms.encoders ({', '.join(self.encoders)}) and the others"
                )
            seen.add(frozenset(chosen))
        return self


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


class EncoderConfig(Settings):
    """Pretraining of one encoder, or weights that exist already."""

    weights: Path | None = Field(
        default=None,
        description="A `.pth` or `.safetensors` file of the same network, such as the published one, or the run directory of an"
        " earlier study that pretrained this encoder. When given, nothing is trained.",
    )
    epochs: int = Field(default=10, ge=1, description="Passes over the pretraining images.")
    batch_size: int = Field(default=32, ge=1, description="Images in a gradient step.")
    learning_rate: float = Field(default=1e-3, gt=0, description="Of Adam.")
    weight_decay: float = Field(default=1e-4, ge=0, description="Of Adam (L2, as published).")
    segmentation_weight: float = Field(
        default=0.0,
        ge=0,
        description="Only of cam16: weight of the loss of an auxiliary head that learns from masks, as"
        " training.segmentation_weight. 0: no head.",
    )


class PretrainConfig(Settings):
    """Where the encoders come from."""

    prcc: EncoderConfig = Field(
        default=EncoderConfig(epochs=10, batch_size=4, weight_decay=1e-5),
        description="Autoencoder on unlabelled kidney tissue (mean squared error). The defaults are the published recipe.",
    )
    cam16: EncoderConfig = Field(
        default=EncoderConfig(epochs=50, batch_size=32),
        description="Residual classifier of lymph-node patches, normal or tumor. The defaults are the published recipe.",
    )

    @field_validator("prcc")
    @classmethod
    def _has_no_masks(cls, prcc: EncoderConfig) -> EncoderConfig:
        if prcc.segmentation_weight:
            raise ValueError(
                f"segmentation_weight: found {prcc.segmentation_weight}, expected 0: kidney tissue has no masks. Only"
                " pretrain.cam16.segmentation_weight may be more"
            )
        return prcc

    def of(self, encoder: str) -> EncoderConfig:
        """Settings of one encoder by its name."""
        return {"prcc": self.prcc, "cam16": self.cam16}[encoder]


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
    segmentation_weight: float = Field(
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


class SettingRange(Settings):
    """A range that a further setting is searched in."""

    low: float = Field(description="Lowest value.")
    high: float = Field(description="Highest value.")
    log: bool = Field(default=False, description="Whether on a logarithmic scale.")

    @model_validator(mode="after")
    def _ordered(self) -> Self:
        if self.low > self.high or (self.log and self.low <= 0):
            raise ValueError(
                f"found low {self.low} and high {self.high}, expected the lower first"
                + (", above 0 on a logarithmic scale" if self.log else "")
            )
        return self


Axis = tuple[bool | int | float | str, ...] | SettingRange
"""Choices of a further setting, or its range."""

_SEARCHABLE = {
    f"training.{name}": field
    for name, field in TrainingConfig.model_fields.items()
    if field.json_schema_extra == SEARCHABLE
}


class SearchConfig(Settings):
    """Which trials each arm gets and which of them end early."""

    mode: Literal["grid", "random", "qmc", "tpe"] = Field(
        default="tpe",
        description="`grid`: every point of the grid once. `random`, `qmc`: points that follow from the seed and the"
        " index alone, the same in every arm. `tpe`: Optuna's sampler, one study per arm, the first points as in `qmc`;"
        " of more than 200 trials of an arm it looks at the newest 150 to 200 and the best 25 before them.",
    )
    trials_per_arm: int | None = Field(
        default=None, ge=1, description="Trials of each arm. Empty: the grid's size in grid mode, else 8."
    )
    learning_rate: tuple[float, float] = Field(
        default=(1e-4, 1e-2), description="Range, searched on a logarithmic scale."
    )
    weight_decay: tuple[float, float] = Field(
        default=(1e-6, 1e-2), description="Range, searched on a logarithmic scale."
    )
    grid_learning_rate: tuple[float, ...] = Field(
        default=(3e-4, 1e-3, 3e-3), min_length=1, description="Points of the grid."
    )
    grid_weight_decay: tuple[float, ...] = Field(
        default=(1e-5, 1e-4, 1e-3), min_length=1, description="Points of the grid."
    )
    also: dict[str, Axis] = Field(
        default={},
        description="Further settings to search, each with choices (`training.sampling: [natural, balanced]`) or a range"
        " (`training.effective_beta: {low: 0.9, high: 0.9999}`, with `log: true` on a logarithmic scale). A grid has every"
        f" combination of the choices. Known: {', '.join(_SEARCHABLE)}.",
    )
    tpe_startup: int = Field(default=4, ge=1, description="Trials of an arm before the TPE model suggests points.")
    warm_start: Path | None = Field(
        default=None,
        description="Run directory of an earlier study. The first trial of each arm takes the point of that study's"
        " winner of the same arm, moved into the space searched here; it counts in the budget. Not in grid mode. Kept in the"
        " manifest when the study begins: what becomes of the earlier one does not matter then.",
    )
    scheduler: Literal["asha", "none"] = Field(
        default="asha",
        description="`asha` stops a trial at a rung when it is worse than the upper 1/reduction_factor of its arm.",
    )
    metric: Literal["val_accuracy", "val_macro_f1"] = Field(
        default="val_accuracy", description="What rungs compare and winners and epochs are chosen by."
    )
    grace_epochs: int = Field(default=1, ge=1, description="No trial is stopped before this epoch.")
    grace_steps: int = Field(
        default=0,
        ge=0,
        description="Nor before this many gradient steps, so that arms with little data are past answering the majority class.",
    )
    reduction_factor: float = Field(
        default=2.0, gt=1, description="ASHA keeps about one in this many trials at each rung."
    )
    max_failures: int = Field(
        default=2,
        ge=0,
        description="How often in a row, without an epoch between, a trial that raised or lost its process is taken up again.",
    )

    storage: str = Field(
        default="journal",
        repr=False,
        description="Where Optuna's dashboard finds the search, one Optuna study `<study>/<arm>` for each arm: `journal` is the"
        " file optuna.journal in the run directory, `memory` nowhere, a URL a database such as postgresql://user@host:5432/database."
        " Passwords are neither written nor printed; WBC_STUDY_STORAGE in the environment replaces the URL.",
    )

    @field_validator("storage")
    @classmethod
    def _known_storage(cls, storage: str) -> str:
        if storage not in ("journal", "memory") and not re.match(r"(postgresql|sqlite|mysql)(\+\w+)?://", storage):
            raise ValueError(
                f"found {mask_password(storage)!r}, expected `journal`, `memory` or a URL such as"
                " postgresql://user@host:5432/database"
            )
        return storage

    @field_serializer("storage")
    def _without_password(self, storage: str) -> str:
        return mask_password(storage)

    @field_validator("also", mode="before")
    @classmethod
    def _dotted(cls, also: object) -> object:
        # `--set search.also.training.sampling=[...]` nests what a file writes with a dot.
        if not isinstance(also, dict) or not isinstance(also.get("training"), dict):
            return also
        nested = {f"training.{name}": axis for name, axis in also["training"].items()}
        return {name: axis for name, axis in also.items() if name != "training"} | nested

    @field_validator("also")
    @classmethod
    def _known_settings(cls, also: dict[str, Axis]) -> dict[str, Axis]:
        for name in also:
            if name not in _SEARCHABLE:
                raise ValueError(f"found {name}, expected one of {', '.join(_SEARCHABLE)}")
        return {name: _checked_axis(name, axis) for name, axis in also.items()}

    @property
    def grid(self) -> tuple[Point, ...]:
        """The points of the grid in order: the last of the further settings by name changes fastest."""
        choices = [
            [(name, value) for value in axis] for name, axis in sorted(self.also.items()) if isinstance(axis, tuple)
        ]
        return tuple(
            Point(lr, wd, write_settings(dict(chosen)))
            for lr in self.grid_learning_rate
            for wd in self.grid_weight_decay
            for chosen in itertools.product(*choices)
        )

    def _grid_size(self) -> str:
        axes = [self.grid_learning_rate, self.grid_weight_decay, *self.also.values()]
        return " x ".join(str(len(axis)) for axis in axes if isinstance(axis, tuple))

    @property
    def budget(self) -> int:
        """Trials of each arm, resolved."""
        return self.trials_per_arm or (len(self.grid) if self.mode == "grid" else 8)

    @field_validator("learning_rate", "weight_decay")
    @classmethod
    def _ordered(cls, bounds: tuple[float, float]) -> tuple[float, float]:
        if not 0 < bounds[0] <= bounds[1]:
            raise ValueError(f"found {list(bounds)}, expected two positive numbers, the lower first")
        return bounds

    @field_validator("grid_learning_rate", "grid_weight_decay")
    @classmethod
    def _grid_values(cls, values: tuple[float, ...]) -> tuple[float, ...]:
        if len(set(values)) != len(values) or min(values) < 0:
            raise ValueError(f"found {list(values)}, expected distinct values of at least 0")
        return values

    @model_validator(mode="after")
    def _grid_begins_nowhere(self) -> Self:
        if self.mode == "grid" and self.warm_start is not None:
            raise ValueError(
                f"search.warm_start is {self.warm_start}, but a grid visits its own points only. Leave search.warm_start out"
                " (null), or set search.mode to tpe, random or qmc"
            )
        return self

    @model_validator(mode="after")
    def _grid_has_choices(self) -> Self:
        ranges = [name for name, axis in self.also.items() if isinstance(axis, SettingRange)]
        if self.mode == "grid" and ranges:
            raise ValueError(
                f"search.also: {', '.join(ranges)} has a range, but a grid visits listed values. List some, such as"
                f" {ranges[0]}: [0.1, 1.0], or set search.mode to tpe, random or qmc"
            )
        return self

    @model_validator(mode="after")
    def _grid_is_complete(self) -> Self:
        if self.mode == "grid" and self.trials_per_arm not in (None, len(self.grid)):
            raise ValueError(
                f"search.trials_per_arm is {self.trials_per_arm}, but the grid has {self._grid_size()} = {len(self.grid)} points."
                f" Set search.trials_per_arm to {len(self.grid)} or leave it out (null), or change search.grid_learning_rate,"
                " search.grid_weight_decay and search.also"
            )
        return self


def _checked_axis(name: str, axis: Axis) -> Axis:
    """An axis whose every value the setting itself would accept, in the setting's own type."""
    field = _SEARCHABLE[name]
    if isinstance(axis, SettingRange):
        if field.annotation is not float:
            raise ValueError(f"{name}: found a range, expected choices such as {name}: [...]; it is no number")
        values: tuple[Any, ...] = (axis.low, axis.high)
    else:
        values = axis
    key = name.removeprefix("training.")
    try:
        checked = tuple(getattr(TrainingConfig.model_validate({key: value}), key) for value in values)
    except ValidationError as error:
        problem = error.errors()[0]
        raise ValueError(f"{name}: found {problem['input']!r}: {problem['msg']}") from None
    if isinstance(axis, SettingRange):
        return axis
    if not checked or len(set(checked)) != len(checked):
        raise ValueError(f"{name}: found {list(values)}, expected at least one choice and each once")
    return checked


class ConfirmConfig(Settings):
    """The winners, trained again."""

    seeds: int = Field(
        default=5,
        ge=0,
        description="Number of seeds, disjoint from the search's, that each arm's winner is trained with. 0 skips this phase.",
    )


class ResourcesConfig(Settings):
    """What a trial reserves. A trial without a GPU trains on the CPU whatever was reserved."""

    address: str | None = Field(
        default=None,
        description="Ray cluster to join: `auto` for the one that this machine belongs to, or host:port. Empty: Ray starts on"
        " this machine. `--address` overrules it.",
    )
    cpu: int = Field(default=1, ge=1, description="CPU cores of a trial, and its number of threads.")
    gpu: float | Literal["auto"] = Field(
        default="auto",
        description="GPUs of a trial, may be a part of one. `auto`: none where the cluster has no GPU, else so large a part that"
        " as many trials share a GPU as its memory holds, measured by training a few steps before the search begins.",
    )
    accelerator: str | None = Field(
        default=None,
        description="Kind of GPU for trials, in Ray's words, such as `A100` or `H100`. Empty: any; where kinds differ, the"
        " smallest memory decides how many trials share a GPU.",
    )
    pretraining_gpu: float | Literal["auto"] = Field(
        default="auto",
        description="GPUs for pretraining an encoder and computing its features. `auto`: as a trial, where a node has it; 0"
        " leaves this work to any node, also one without GPUs.",
    )
    compile: bool = Field(
        default=False,
        description="Whether networks are compiled (torch.compile), once in each worker process and for each size of image. That"
        " takes about a minute and pays where a worker trains for much longer. Not measured on an accelerator yet.",
    )
    workers: int | Literal["auto"] = Field(
        default="auto", description="Trials that run at once. `auto`: as many as the cluster's resources allow."
    )

    @field_validator("gpu", "pretraining_gpu")
    @classmethod
    def _whole_above_one(cls, value: float | str) -> float | str:
        if not isinstance(value, str) and value > 1 and value != int(value):
            raise ValueError(f"found {value}, expected a part of one GPU or a whole number of them")
        return value

    @field_validator("gpu", "pretraining_gpu", "workers")
    @classmethod
    def _enough(cls, value: float | str, info: ValidationInfo) -> float | str:
        least = 1 if info.field_name == "workers" else 0
        if not isinstance(value, str) and value < least:
            raise ValueError(f"found {value}, expected `auto` or {least} or more")
        return value


class TrackingConfig(Settings):
    """For which tools the records are also written when a study ends, into `tracking/` of the run directory."""

    tensorboard: bool = Field(default=False, description="Event files for TensorBoard; needs wbc-study[tensorboard].")
    mlflow: bool = Field(default=False, description="An MLflow experiment in a database file; needs wbc-study[mlflow].")
    wandb: bool = Field(
        default=False,
        description="Offline runs of Weights & Biases, sent by `wandb sync` only; needs wbc-study[wandb].",
    )


class StudyConfig(Settings):
    """One study. A run directory's `study.yaml` is this, complete."""

    name: str = Field(default="study", description="Name of the run directory.")
    about: str = Field(default="", description="What the study is for and why it searches the way it does.")
    seed: int = Field(default=0, ge=0, description="Seed of the search; confirmations use the numbers after it.")
    data: DataConfig = Field(default=DataConfig(), description="Images.")
    model: ModelConfig = Field(default=ModelConfig(), description="Classifier.")
    arms: ArmsConfig = Field(default=ArmsConfig(), description="What is compared.")
    controls: dict[ControlName, Literal["all"] | tuple[Fraction, ...]] = Field(
        default={},
        description="Control arms, as a list such as [random, twin] or with fractions such as {random: [0.01, 0.1], twin: all}."
        " `random`: the same encoders with random weights, which transfer has to beat; and of arms.networks those with given"
        " weights once more without them. `shuffled`: features of another image of"
        " the same split. `published`: what the published code did, noise from one fixed batch added in training and left out"
        " when scoring. `twin`: `off` once more, tuned and confirmed on its own."
        " `classical`: logistic regression on colours and textures, a floor that a network has to beat. Each has the"
        " budget of a compared arm.",
    )
    pretrain: PretrainConfig = Field(default=PretrainConfig(), description="Encoders.")
    training: TrainingConfig = Field(default=TrainingConfig(), description="One trial.")
    search: SearchConfig = Field(default=SearchConfig(), description="Hyperparameter search.")
    confirm: ConfirmConfig = Field(default=ConfirmConfig(), description="Repetition of the winners.")
    resources: ResourcesConfig = Field(default=ResourcesConfig(), description="What trials reserve.")
    tracking: TrackingConfig = Field(default=TrackingConfig(), description="Other tools to write the records for.")
    keep_checkpoints: Literal["confirmed", "all"] = Field(
        default="confirmed", description="Which trials keep their weights once they have ended."
    )

    @field_validator("name")
    @classmethod
    def _one_folder(cls, name: str) -> str:
        if not name or name in (".", "..") or "/" in name or "\\" in name or "\0" in name or name.startswith("-"):
            raise ValueError(f"found {name!r}, expected a name that can be one folder, such as `pilot`")
        return name

    @model_validator(mode="after")
    def _masks_have_a_weight(self) -> Self:
        name = "training.segmentation_weight"
        weighted = self.training.segmentation_weight > 0 or name in self.search.also
        if any(self.arms.segmentation) and not weighted:
            raise ValueError(
                f"arms.segmentation is {list(self.arms.segmentation)}, but {name} is 0. Set it, for example to 0.3, list"
                f" values in search.also ({name}: [0.1, 0.3, 1.0]), or set arms.segmentation to [false]"
            )
        if weighted and not any(self.arms.segmentation):
            raise ValueError(
                f"{name} is set or searched, but arms.segmentation is {list(self.arms.segmentation)}: no arm learns from masks."
                " Set arms.segmentation to [true] or [false, true]"
            )
        return self

    @field_validator("controls", mode="before")
    @classmethod
    def _listed_controls(cls, controls: object) -> object:
        return _named_once(controls, "control", "all")

    @field_validator("controls")
    @classmethod
    def _ascending(
        cls, controls: dict[ControlName, Literal["all"] | tuple[float, ...]]
    ) -> dict[ControlName, Literal["all"] | tuple[float, ...]]:
        return {name: chosen if chosen == "all" else tuple(sorted(set(chosen))) for name, chosen in controls.items()}

    @model_validator(mode="after")
    def _controls_have_something_to_control(self) -> Self:
        for name, fractions in self.controls.items():
            if fractions != "all" and not (fractions and set(fractions) <= set(self.arms.fractions)):
                raise ValueError(
                    f"controls.{name}: found {list(fractions)}, expected `all` or some of arms.fractions"
                    f" {list(self.arms.fractions)}: a control is compared with arms of the same fraction"
                )
            needed = {
                "twin": ("off",),
                "classical": ("off",),
                "random": (*LATENT_FUSIONS, "finetune"),
                "shuffled": LATENT_FUSIONS,
                "published": ("off",),
            }[name]
            if name == "random" and any(self.arms.networks.values()):
                continue
            if not set(needed) & set(self.arms.fusion):
                raise ValueError(
                    f"controls.{name} is compared with arms whose fusion is {' or '.join(needed)}, but arms.fusion is"
                    f" [{', '.join(self.arms.fusion)}]. Add one of them, or leave the control out"
                )
        return self

    def has_control(self, name: str, fraction: float) -> bool:
        """Whether a control is switched on at a fraction."""
        fractions = {str(control): chosen for control, chosen in self.controls.items()}.get(name, ())
        return fractions == "all" or fraction in fractions

    def with_absolute_paths(self) -> Self:
        """The same configuration for processes with another working directory."""

        def absolute(path: Path | str | None) -> Path | str | None:
            return path.expanduser().absolute() if isinstance(path, Path) else path

        data = self.data.model_copy(
            update={name: absolute(getattr(self.data, name)) for name in ("root", "groups", "cache_dir", "downloads")}
        )
        encoders = {
            name: self.pretrain.of(name).model_copy(update={"weights": absolute(self.pretrain.of(name).weights)})
            for name in ("prcc", "cam16")
        }
        networks = {name: absolute(path) for name, path in self.arms.networks.items()}
        return self.model_copy(
            update={
                "data": data,
                "arms": self.arms.model_copy(update={"networks": networks}),
                "pretrain": self.pretrain.model_copy(update=encoders),
                "search": self.search.model_copy(update={"warm_start": absolute(self.search.warm_start)}),
            }
        )

    def confirm_seeds(self) -> tuple[int, ...]:
        """Seeds of the confirmations, disjoint from the search's."""
        return tuple(self.seed + 1 + i for i in range(self.confirm.seeds))
