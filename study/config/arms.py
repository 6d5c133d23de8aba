"""Settings of what is compared, arms and their encoders, and of where the encoders come from."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal, Self

from pydantic import Field, WithJsonSchema, field_validator, model_validator

from analysis.records.schema import Fusion
from data_utils.config import MOVABLE
from study.config.settings import CHOICES, NETWORKS, Fraction, Settings, named_once

EncoderName = Literal["prcc", "cam16"]

FusionName = Annotated[Fusion, WithJsonSchema({"enum": [fusion.value for fusion in Fusion], "type": "string"})]
"""A fusion in a configuration. The JSON schema lists the names where they are used."""

LATENT_FUSIONS = (Fusion.SUM, Fusion.CONCAT, Fusion.GATED)
"""Fusions that join latent vectors with the classifier, as `models.fusion` defines them; `finetune` takes weights."""


class ArmsConfig(Settings):
    """What is compared and never tuned. Every fraction is combined with every fusion mode."""

    fractions: Annotated[tuple[Fraction, ...], CHOICES] = Field(
        default=(0.01, 0.1, 0.5, 1.0), min_length=1, description="Fractions of the labelled training images, in (0, 1]."
    )
    fusion: Annotated[tuple[FusionName, ...], CHOICES] = Field(
        default=(Fusion.OFF, Fusion.SUM),
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
    encoder_sets: Annotated[tuple[tuple[EncoderName, ...], ...], CHOICES] = Field(
        default=(),
        description="Further sets of encoders to compare, each in arms of its own: [[prcc], [cam16]] adds e.g. WBC_10/sum(prcc)"
        " and WBC_10/sum(cam16) to WBC_10/sum.",
    )
    features: Literal["cached", "live"] = Field(
        default="cached",
        description="`cached`: latent vectors of whole images, computed once. `live`: in training the encoders see the augmented"
        " crop of every step, as the classifier does (slower); they stay frozen. Images are scored whole either way.",
    )
    networks: Annotated[dict[str, Path | None], NETWORKS] = Field(
        default={},
        description="Further classifiers to compare with `off`, in arms such as WBC_10/resnet18: classification networks of"
        " torchvision by name, as a list such as [resnet18, convnext_tiny], or with a local file of weights such as {resnet18:"
        " resnet18.pth} (a state dict of torchvision's network; its head is replaced). Nothing is downloaded. They learn from"
        " labels alone, without encoders, and see images normalised as ImageNet's; model.norm_momentum holds for them too.",
    )
    segmentation: Annotated[tuple[bool, ...], CHOICES] = Field(
        default=(False,),
        min_length=1,
        description="`true`: an auxiliary head learns from the masks that some training images have, with the weight"
        " training.segmentation_weight; the arm's name ends in `+masks`. `[false, true]` compares both.",
    )

    @field_validator("networks", mode="before")
    @classmethod
    def _listed_networks(cls, networks: object) -> object:
        return named_once(networks, "network", None)

    @field_validator("fusion", mode="before")
    @classmethod
    def _off_is_a_word(cls, modes: object) -> object:
        # YAML 1.1 reads a bare `off` as false; nobody who writes it here means that.
        return [Fusion.OFF if mode is False else mode for mode in modes] if isinstance(modes, list | tuple) else modes

    @field_validator("fractions", "fusion", "encoders", "segmentation")
    @classmethod
    def _no_repetition(cls, values: tuple[object, ...]) -> tuple[object, ...]:
        if len(set(values)) != len(values):
            raise ValueError(f"found {list(values)}, expected each value once")
        return values

    @model_validator(mode="after")
    def _networks_have_a_baseline(self) -> Self:
        if self.networks and not (Fusion.OFF in self.fusion and False in self.segmentation):
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


class EncoderConfig(Settings):
    """Pretraining of one encoder, or weights that exist already."""

    weights: Annotated[Path | None, MOVABLE] = Field(
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
