"""What a study says about its data: where images come from, how they are stored, cropped and split."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator


@dataclass(frozen=True)
class Continuation:
    """Marks a setting that may change when a study is continued: what the change means. Without a mark it must stay the same."""

    meaning: str


FREE = Continuation("says where or how fast a study runs, not what it finds")
MOVABLE = Continuation(
    "says where something lies that is compared by its fingerprint: it may lie elsewhere, but not come or go"
)


class SyntheticConfig(BaseModel):
    """Generated images: no download, no licence, the same on every machine."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    seed: int = Field(
        default=0,
        ge=0,
        description="Seed of the generator; an image depends on it, the split, the class and the number in the class.",
    )
    train: int = Field(default=1200, ge=10, description="Number of blood cell images to train on.")
    validation: int = Field(default=300, ge=5, description="Number of blood cell images to validate on.")
    test: int = Field(default=300, ge=0, description="Number of blood cell images to test on; 0 generates none.")
    size: int = Field(default=48, ge=16, description="Side of the generated blood cell images, px.")
    cam16_train: int = Field(default=300, ge=2, description="Number of lymph-node patches to pretrain on.")
    cam16_validation: int = Field(default=80, ge=2, description="Number of lymph-node patches to validate on.")
    prcc: int = Field(default=200, ge=1, description="Number of unlabelled kidney tiles to pretrain on.")
    prcc_validation: int = Field(default=40, ge=1, description="Number of unlabelled kidney tiles to validate on.")


class BloodMnistConfig(BaseModel):
    """White blood cells of BloodMNIST: five of its eight classes, official splits."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    size: Literal[28, 64, 128, 224] = Field(
        default=64, description="Side of the images, px; 64 is a download of 0.2 GB, 224 of 1.5 GB."
    )


class PcamConfig(BaseModel):
    """Lymph-node patches of PatchCamelyon, 96 px, official splits for training and validation."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    train: int | None = Field(
        default=4000, ge=2, description="Patches to pretrain on, as many of each class; empty: all 262,144."
    )
    validation: int | None = Field(
        default=1000, ge=2, description="Patches to validate on, as many of each class; empty: all 32,768."
    )


class DataConfig(BaseModel):
    """Images of a study: source, sizes, augmentation and splits."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    source: Literal["synthetic", "folder"] = Field(
        default="synthetic", description="`synthetic` generates images; `folder` reads the data sets below `root`."
    )
    wbc_source: Literal["synthetic", "folder", "bloodmnist"] | None = Field(
        default=None,
        description="Source of the blood cells where it is another than `source`; `bloodmnist` downloads with medmnist.",
    )
    cam16_source: Literal["synthetic", "folder", "pcam"] | None = Field(
        default=None,
        description="Source of the lymph-node patches where it is another than `source`; `pcam` downloads with torchvision.",
    )
    prcc_source: Literal["synthetic", "folder"] | None = Field(
        default=None, description="Source of the kidney tissue where it is another than `source`."
    )
    downloads: Annotated[Path | None, FREE] = Field(
        default=None, description="Folder of downloaded data sets; default `downloads` in the cache's folder."
    )
    bloodmnist: BloodMnistConfig = Field(default=BloodMnistConfig(), description="Settings of bloodmnist.")
    pcam: PcamConfig = Field(default=PcamConfig(), description="Settings of pcam.")
    root: Annotated[Path | Annotated[str, Field(pattern=r"^s3://")] | None, MOVABLE] = Field(
        default=None,
        description="Folder that holds the data sets (wbc or WBC_100, cam16*, prcc*); folder source only. Or its address"
        " s3://bucket/prefix in an object store, of which each node keeps a copy on its own disk.",
    )
    image_size: int = Field(default=32, ge=8, description="Side of the training crops, px.")
    validation_size: int | Literal["crop", "original"] = Field(
        default="crop",
        description="Side at which whole images are validated, px: `crop` is image_size, `original` does not resize.",
    )
    stored_size: int | Literal["original"] = Field(
        default="original",
        description="Shorter side, px, to which larger images are reduced (antialiased) when they are stored once.",
    )
    tile_size: int = Field(
        default=256, ge=16, description="Unlabelled images larger than this are cut into about square tiles, px."
    )
    crop_scale: tuple[float, float] = Field(
        default=(0.08, 1.0), description="Range of a crop's share of the image area (torchvision's default)."
    )
    crop_ratio: tuple[float, float] = Field(
        default=(0.75, 4 / 3), description="Range of a crop's width divided by its height (torchvision's default)."
    )
    flip: float = Field(default=0.5, ge=0.0, le=1.0, description="Probability of a horizontal flip in training.")
    test: Literal["auto", "none"] = Field(
        default="auto",
        description="`auto`: the test folder, else a fifth of the training images set aside; `none`: no test images.",
    )
    unreadable: Literal["fatal", "skip"] = Field(
        default="fatal", description="A file that cannot be decoded stops the study, or is left out and listed."
    )
    leaks: Literal["fatal", "drop"] = Field(
        default="drop",
        description="A val or test image that is also in train stops the study, or is dropped from train and listed.",
    )
    groups: Annotated[Path | None, MOVABLE] = Field(
        default=None,
        description="CSV with a column `path` (relative to the wbc folder) and a group column: groups are never split.",
    )
    group_column: str = Field(
        default="group", min_length=1, description="Column of the groups file: patient, smear ..."
    )
    cache_dir: Annotated[Path | None, FREE] = Field(
        default=None, description="Where decoded images are kept; default $WBC_STUDY_CACHE or ~/.cache/wbc-study."
    )
    synthetic: SyntheticConfig = Field(default_factory=SyntheticConfig, description="Settings of the generated images.")

    def source_of(self, domain: str) -> str:
        """The source of a domain's images: its own, else `source`."""
        own = {"wbc": self.wbc_source, "cam16": self.cam16_source, "prcc": self.prcc_source}
        return own.get(domain) or self.source

    @model_validator(mode="after")
    def _check(self) -> DataConfig:
        from_folder = [domain for domain in ("wbc", "cam16", "prcc") if self.source_of(domain) == "folder"]
        if from_folder and self.root is None:
            raise ValueError(
                f"data.root is missing: the source of {', '.join(from_folder)} is `folder`, which needs the folder that holds "
                "the data sets (wbc or WBC_100, cam16, prcc). Set data.root, or data.source: synthetic."
            )
        for name in ("validation_size", "stored_size"):
            size = getattr(self, name)
            if isinstance(size, int) and size < 8:
                raise ValueError(f"data.{name} is {size} px; expected at least 8 px. Choose a larger size.")
        low, high = self.crop_scale
        if not 0 < low <= high <= 1:
            raise ValueError(
                f"data.crop_scale is ({low}, {high}); expected 0 < low <= high <= 1, shares of the image's area."
            )
        low, high = self.crop_ratio
        if not 0 < low <= high:
            raise ValueError(f"data.crop_ratio is ({low}, {high}); expected 0 < low <= high, width divided by height.")
        return self


def cache_root(config: DataConfig) -> Path:
    """Return the folder of all caches: data.cache_dir, else $WBC_STUDY_CACHE, else ~/.cache/wbc-study."""
    chosen = config.cache_dir or os.environ.get("WBC_STUDY_CACHE") or Path("~/.cache/wbc-study")
    return Path(chosen).expanduser().absolute()
