"""What a study would cost: counted from its configuration and images, with the time of a step measured here."""

from __future__ import annotations

import os
import time
from dataclasses import dataclass
from types import MappingProxyType
from typing import TYPE_CHECKING

import numpy as np

from analysis.records.schema import Fusion
from study.design.arms import list_arms, trained_encoders
from study.search.plans import grace_epochs

if TYPE_CHECKING:
    from collections.abc import Mapping

    from data_utils.arrays import ImageArrays
    from study.config.study import StudyConfig

_STARTUP_SECONDS = 20.0
"""Seconds for Ray's start, imports in fresh workers and the report: roughly the same for every study."""

_SCORING_SHARE = 1 / 3
"""A forward pass costs about a third of a training step on the same image."""

PROCESS_BYTES = 700 * 2**20
"""Private memory of a process that trains the residual classifier at full width and 64 px, most of it imports: measured."""

_PARAMETER_BYTES = 5 * 4
"""Bytes for each parameter of a large network: weights, gradient, Adam's two moments, and the weights of the best epoch."""


@dataclass(frozen=True)
class ArmEstimate:
    """What one arm will cost at most (as if no trial were stopped early)."""

    arm: str
    """Name of the arm."""
    train_images: int
    """Number of labelled images that the arm trains on."""
    steps: int
    """Gradient steps of a full-length trial."""
    first_rung: int | None
    """Epoch of the first comparison; None without ASHA."""
    image_steps: int
    """Training images shown, all trials of search and confirmation."""
    scored_images: int
    """Validation images scored, all trials."""
    encoded_crops: int
    """Training crops that pass an encoder, all trials; 0 with cached features."""
    classifier: str = ""
    """Name of a classifier of torchvision; empty for the residual one."""


@dataclass(frozen=True)
class ImageCounts:
    """The properties of the blood-cell images that the cost of a study depends on."""

    train: Mapping[float, int]
    """Fraction -> training images of its subset."""
    validation: int
    """Number of validation images."""
    validation_pixels: float
    """Mean number of pixels of a whole image as it is scored."""


@dataclass(frozen=True)
class StudyEstimate:
    """What a whole study will cost on this machine at most (as if no trial were stopped early)."""

    image_steps: int
    """Training images shown, pretraining included."""
    pretraining_image_steps: int
    """Training images shown while encoders are pretrained."""
    seconds: float
    """Duration in seconds."""
    slots: int
    """Number of trials that run at once."""
    working_bytes: int
    """Private memory of the workers and the driver, in bytes."""
    image_bytes: int
    """Memory of the images, which the processes share, in bytes."""


def count_images(config: StudyConfig, arrays: ImageArrays) -> ImageCounts:
    """Count the images of a study."""
    from data_utils.fractions import select_fraction

    wanted = config.data.validation_size
    if wanted == "original":
        pixels = float((arrays.heights * arrays.widths)[arrays.indices("val")].mean())
    else:
        pixels = float((config.data.image_size if wanted == "crop" else wanted) ** 2)
    train = {fraction: len(select_fraction(arrays, fraction, config.seed)) for fraction in config.arms.fractions}
    return ImageCounts(train, len(arrays.indices("val")), pixels)


def estimate_arms(config: StudyConfig, images: ImageCounts) -> list[ArmEstimate]:
    """Cost of every arm."""
    trials = config.search.budget + config.confirm.seeds
    estimates = []
    for arm in list_arms(config):
        count = images.train[arm.fraction]
        steps = config.training.steps_in_epoch(count)
        shown = steps * config.training.batch_size if config.training.steps_per_epoch else count
        first = grace_epochs(config, steps)
        estimates.append(
            ArmEstimate(
                arm=arm.name,
                train_images=count,
                steps=steps * config.training.epochs,
                first_rung=first if config.search.scheduler == "asha" and first < config.training.epochs else None,
                image_steps=shown * config.training.epochs * trials,
                scored_images=images.validation * config.training.epochs * trials,
                encoded_crops=shown * config.training.epochs * trials * len(arm.encoders)
                if config.arms.features == "live" and arm.fuses_latents
                else 0,
                classifier=arm.classifier,
            )
        )
    return estimates


def estimate_seconds(
    config: StudyConfig,
    images: ImageCounts,
    *,
    seconds_per_image_step: float,
    pretraining_image_steps: int,
    slots: int,
    classifier_seconds: Mapping[str, float] = MappingProxyType({}),
) -> float:
    """Seconds of a whole study with no early stopping.

    Args:
        config: Configuration of the study.
        images: Counts of its blood cells.
        seconds_per_image_step: Seconds of a training step per image on a crop, with the threads of one trial.
        pretraining_image_steps: Training images shown while encoders are pretrained.
        slots: Number of trials that run at once.
        classifier_seconds: Name in `arms.networks` -> seconds of a training step per image.
    """
    # A forward pass costs in proportion to the pixels that it sees; those of crops and of scored images may differ.
    share = images.validation_pixels / config.data.image_size**2
    work = pretraining_image_steps * seconds_per_image_step
    for arm in estimate_arms(config, images):
        forward = _SCORING_SHARE * (arm.scored_images * share + arm.encoded_crops)
        work += (arm.image_steps + forward) * classifier_seconds.get(arm.classifier, seconds_per_image_step)
    return _STARTUP_SECONDS + work / slots


def slots_here(config: StudyConfig) -> int:
    """Trials that run at once on this machine without a GPU."""
    at_once = config.resources.workers
    return at_once if isinstance(at_once, int) else max(1, (os.cpu_count() or 1) // config.resources.cpu)


def pretraining_image_steps(config: StudyConfig, arrays: Mapping[str, ImageArrays]) -> int:
    """Training images shown while pretraining the encoders in `arrays`."""
    return sum(
        len(arrays[name].indices("train")) * config.pretrain.of(name).epochs
        for name in trained_encoders(config)
        if name in arrays
    )


def seconds_per_image_step(config: StudyConfig, arrays: ImageArrays, batches: int = 6, classifier: str = "") -> float:
    """Seconds of one training step per image, measured on this machine with the threads of one trial.

    Args:
        config: Configuration of the study.
        arrays: Images of blood cells.
        batches: Number of steps that are measured; the first does not count.
        classifier: Name in `arms.networks`; the residual classifier when empty.
    """
    import torch
    from torch.nn.functional import cross_entropy

    from models.initialisation import stream
    from study.design.arms import Arm
    from study.training.batches import ImageBatches
    from study.training.device import choose_device
    from study.training.networks import build_network

    torch.set_num_threads(config.resources.cpu)
    device = choose_device()
    images = ImageBatches(arrays, config.data, device)
    arm = Arm(1.0, Fusion.OFF, classifier=classifier)
    model = build_network(config, arm, len(arrays.classes), {}, lambda purpose: stream(0, purpose)).to(device)
    optimiser = torch.optim.Adam(model.parameters())
    generator = torch.Generator().manual_seed(0)
    rows = np.resize(arrays.indices("train"), config.training.batch_size)
    target = torch.from_numpy(arrays.labels[rows]).to(device)
    seconds = []
    for _ in range(batches):
        began = time.perf_counter()
        loss = cross_entropy(model(images.crops(rows, generator)), target)
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        float(loss.detach())
        seconds.append(time.perf_counter() - began)
    return float(np.median(seconds[1:])) / len(rows)


def estimate_study(config: StudyConfig, arrays: Mapping[str, ImageArrays]) -> StudyEstimate:
    """Cost of a whole study on this machine; the time of a training step is measured.

    Args:
        config: Configuration of the study.
        arrays: Domain -> its images, those of the blood cells and of every encoder that is pretrained.
    """
    cells = arrays["wbc"]
    images = count_images(config, cells)
    pretraining = pretraining_image_steps(config, arrays)
    slots = slots_here(config)
    seconds = estimate_seconds(
        config,
        images,
        seconds_per_image_step=seconds_per_image_step(config, cells),
        pretraining_image_steps=pretraining,
        slots=slots,
        classifier_seconds={name: seconds_per_image_step(config, cells, 3, name) for name in config.arms.networks},
    )
    return StudyEstimate(
        image_steps=sum(arm.image_steps for arm in estimate_arms(config, images)) + pretraining,
        pretraining_image_steps=pretraining,
        seconds=seconds,
        slots=slots,
        working_bytes=(slots + 1) * PROCESS_BYTES + slots * _PARAMETER_BYTES * _largest_classifier(config, cells),
        image_bytes=sum(int((each.heights * each.widths * 3).sum()) for each in arrays.values()),
    )


def _largest_classifier(config: StudyConfig, cells: ImageArrays) -> int:
    """Parameters of the largest classifier of `arms.networks`; 0 without any."""
    if not config.arms.networks:
        return 0
    from models.torchvision_classifiers import count_parameters

    return max(count_parameters(name, len(cells.classes)) for name in config.arms.networks)
