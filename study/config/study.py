"""The configuration of a study: every setting, its meaning and its default, in one place."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import BaseModel, Field, ValidationInfo, field_validator, model_validator

from analysis.records.schema import Fusion
from data_utils.config import FREE, DataConfig
from study.config.arms import LATENT_FUSIONS, ArmsConfig, PretrainConfig
from study.config.search import SearchConfig
from study.config.settings import CONTROLS, COUNT, Fraction, Settings, named_once
from study.config.training import ModelConfig, TrainingConfig

ControlName = Literal["random", "shuffled", "published", "twin", "classical"]


class ConfirmConfig(Settings):
    """The winners, trained again."""

    seeds: Annotated[int, COUNT] = Field(
        default=5,
        ge=0,
        description="Number of seeds, disjoint from the search's, that each arm's winner is trained with. 0 skips this phase.",
    )


class ResourcesConfig(Settings):
    """What a trial reserves. A trial without a GPU trains on the CPU whatever was reserved."""

    address: Annotated[str | None, FREE] = Field(
        default=None,
        description="Ray cluster to join: `auto` for the one that this machine belongs to, or host:port. Empty: Ray starts on"
        " this machine. `--address` overrules it.",
    )
    cpu: int = Field(default=1, ge=1, description="CPU cores of a trial, and its number of threads.")
    gpu: Annotated[float | Literal["auto"], FREE] = Field(
        default="auto",
        description="GPUs of a trial, may be a part of one. `auto`: none where the cluster has no GPU, else so large a part that"
        " as many trials share a GPU as its memory holds, measured by training a few steps before the search begins.",
    )
    accelerator: Annotated[str | None, FREE] = Field(
        default=None,
        description="Kind of GPU for trials, in Ray's words, such as `A100` or `H100`. Empty: any; where kinds differ, the"
        " smallest memory decides how many trials share a GPU.",
    )
    pretraining_gpu: Annotated[float | Literal["auto"], FREE] = Field(
        default="auto",
        description="GPUs for pretraining an encoder and computing its features. `auto`: as a trial, where a node has it; 0"
        " leaves this work to any node, also one without GPUs.",
    )
    compile: bool = Field(
        default=False,
        description="Whether networks are compiled (torch.compile), once in each worker process and for each size of image. That"
        " takes about a minute and pays where a worker trains for much longer. Not measured on an accelerator yet.",
    )
    workers: Annotated[int | Literal["auto"], FREE] = Field(
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

    tensorboard: Annotated[bool, FREE] = Field(
        default=False, description="Event files for TensorBoard; needs wbc-study[tensorboard]."
    )
    mlflow: Annotated[bool, FREE] = Field(
        default=False, description="An MLflow experiment in a database file; needs wbc-study[mlflow]."
    )
    wandb: Annotated[bool, FREE] = Field(
        default=False,
        description="Offline runs of Weights & Biases, sent by `wandb sync` only; needs wbc-study[wandb].",
    )


class StudyConfig(Settings):
    """One study. A run directory's `study.yaml` is this, complete."""

    name: Annotated[str, FREE] = Field(default="study", description="Name of the run directory.")
    about: Annotated[str, FREE] = Field(
        default="", description="What the study is for and why it searches the way it does."
    )
    seed: int = Field(default=0, ge=0, description="Seed of the search; confirmations use the numbers after it.")
    data: DataConfig = Field(default=DataConfig(), description="Images.")
    model: ModelConfig = Field(default=ModelConfig(), description="Classifier.")
    arms: ArmsConfig = Field(default=ArmsConfig(), description="What is compared.")
    controls: Annotated[dict[ControlName, Literal["all"] | tuple[Fraction, ...]], CONTROLS] = Field(
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
        return named_once(controls, "control", "all")

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
                "twin": (Fusion.OFF,),
                "classical": (Fusion.OFF,),
                "random": (*LATENT_FUSIONS, Fusion.FINETUNE),
                "shuffled": LATENT_FUSIONS,
                "published": (Fusion.OFF,),
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
        return self.model_copy(update=_absolute_parts(self))

    def confirm_seeds(self) -> tuple[int, ...]:
        """Seeds of the confirmations, disjoint from the search's."""
        return tuple(self.seed + 1 + i for i in range(self.confirm.seeds))


def _absolute_parts(settings: BaseModel) -> dict[str, Any]:
    """Settings by name with every path below them absolute."""
    return {name: _absolute(value) for name, value in settings}


def _absolute(value: Any) -> Any:
    if isinstance(value, Path):
        return value.expanduser().absolute()
    if isinstance(value, BaseModel):
        return value.model_copy(update=_absolute_parts(value))
    return {name: _absolute(inner) for name, inner in value.items()} if isinstance(value, dict) else value
