"""What a study would cost: the answer to ``--dry-run``."""

from __future__ import annotations

import os
import time
from dataclasses import dataclass
from types import MappingProxyType
from typing import TYPE_CHECKING

import numpy as np
from rich.console import Console
from rich.table import Table

from analysis.records.object_store import join_location
from analysis.records.schema import Fusion
from study.design.arms import list_arms, pretrained_encoders, trained_encoders
from study.design.checks import check_masks
from study.search.plans import grace_epochs
from study.terminal.progress import format_duration

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from data_utils.cache import ImageArrays
    from study.config.study import StudyConfig

_STARTUP_SECONDS = 20.0
"""Ray's start, imports in fresh workers, report: the same for every study, roughly."""

_SCORING_SHARE = 1 / 3
"""A forward pass costs about a third of a training step on the same image."""

PROCESS_BYTES = 700 * 2**20
"""Private memory of a process that trains the residual classifier at full width and 64 px, most of it imports: measured."""

_PARAMETER_BYTES = 5 * 4
"""Of a network that is not small: weights, gradient, Adam's two moments, and the weights of the best epoch."""


@dataclass(frozen=True)
class ArmEstimate:
    """What one arm will cost at most (as if no trial were stopped early)."""

    arm: str
    train_images: int
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
    """What the cost of a study depends on of its blood-cell images."""

    train: Mapping[float, int]
    """Fraction -> training images of its subset."""
    validation: int
    validation_pixels: float
    """Pixels of a whole image as it is scored, on average."""


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
    network_seconds: Mapping[str, float] = MappingProxyType({}),
) -> float:
    """Seconds of a whole study with no early stopping.

    Args:
        config: Of the study.
        images: Its blood cells.
        seconds_per_image_step: Of one training image on a crop, with the threads of one trial.
        pretraining_image_steps: Training images shown while encoders are pretrained.
        slots: Trials at once.
        network_seconds: The same of each network of `arms.networks`.
    """
    # A forward pass costs in proportion to the pixels that it sees; those of crops and of scored images may differ.
    share = images.validation_pixels / config.data.image_size**2
    work = pretraining_image_steps * seconds_per_image_step
    for arm in estimate_arms(config, images):
        forward = _SCORING_SHARE * (arm.scored_images * share + arm.encoded_crops)
        work += (arm.image_steps + forward) * network_seconds.get(arm.classifier, seconds_per_image_step)
    return _STARTUP_SECONDS + work / slots


def slots_here(config: StudyConfig) -> int:
    """Trials that run at once on this machine without a GPU."""
    at_once = config.resources.workers
    return at_once if isinstance(at_once, int) else max(1, (os.cpu_count() or 1) // config.resources.cpu)


def pretraining_image_steps(config: StudyConfig, arrays: dict[str, ImageArrays]) -> int:
    """Training images shown while pretraining the encoders in `arrays`."""
    return sum(
        len(arrays[name].indices("train")) * config.pretrain.of(name).epochs
        for name in trained_encoders(config)
        if name in arrays
    )


def seconds_per_image_step(config: StudyConfig, arrays: ImageArrays, batches: int = 6, network: str = "") -> float:
    """Measured here: seconds of one training step per image, with the threads of one trial.

    Args:
        config: Of the study.
        arrays: Blood cells.
        batches: Steps; the first does not count.
        network: One of `arms.networks`; the residual classifier when empty.
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
    arm = Arm(1.0, Fusion.OFF, classifier=network)
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


def print_estimate(
    config: StudyConfig, root: Path | str, console: Console | None = None, *, restart: bool = False
) -> None:
    """Print arms, trials, and estimated time and memory on this machine.

    Args:
        config: Of the study.
        root: Folder of run directories, or an address in an object store.
        console: Where to print.
        restart: Whether a study of that name would be set aside: then it may have any configuration.

    Raises:
        UsageError: the name belongs to a study with another configuration.
        DataError: the images are not as expected.
        WeightsError: given encoder weights cannot be used.
    """
    from study.storage.local_images import open_images
    from study.storage.run_directory import RunDirectory
    from study.storage.same_study import check_same_study
    from study.terminal.status import describe_phases
    from study.training.encoder_weights import check_given

    console = console or Console(highlight=False)
    config = config.with_absolute_paths()
    directory = RunDirectory.to_read(join_location(root, config.name))
    set_aside = restart and directory.exists
    if not set_aside:
        check_same_study(directory, config)
    arrays = {domain: open_images(config.data, domain) for domain in ("wbc", *trained_encoders(config))}
    notes = check_masks(config, arrays)
    if set_aside:
        notes.append(f"--restart would first set aside the study that is there, {describe_phases(directory)}")
    largest = 0
    if config.arms.networks:
        from models.torchvision_classifiers import count_parameters
        from study.design.checks import check_networks

        notes += check_networks(config, arrays["wbc"])
        largest = max(count_parameters(name, len(arrays["wbc"].classes)) for name in config.arms.networks)
    for name in pretrained_encoders(list_arms(config)):
        check_given(config, name, list_arms(config))
    images = count_images(config, arrays["wbc"])
    arms = estimate_arms(config, images)
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0))
    # Names of arms are folded where the terminal is narrow; numbers are not.
    table.add_column("arm", overflow="fold")
    for heading in ("images", "steps", "1st rung", "search", "confirm", "image-steps"):
        table.add_column(heading, justify="right", no_wrap=True)
    for arm in arms:
        table.add_row(
            arm.arm,
            f"{arm.train_images:,}",
            f"{arm.steps:,}",
            f"epoch {arm.first_rung}" if arm.first_rung else "-",
            str(config.search.budget),
            str(config.confirm.seeds),
            f"{arm.image_steps:,}",
        )
    console.print(f"Study {config.name} in {directory.location} (nothing is run)", markup=False, soft_wrap=True)
    console.print(table)
    pretraining = pretraining_image_steps(config, arrays)
    image_steps = sum(arm.image_steps for arm in arms) + pretraining
    slots = slots_here(config)
    seconds = estimate_seconds(
        config,
        images,
        seconds_per_image_step=seconds_per_image_step(config, arrays["wbc"]),
        pretraining_image_steps=pretraining,
        slots=slots,
        network_seconds={name: seconds_per_image_step(config, arrays["wbc"], 3, name) for name in config.arms.networks},
    )
    working = (slots + 1) * PROCESS_BYTES + slots * _PARAMETER_BYTES * largest
    stored = sum(int((a.heights * a.widths * 3).sum()) for a in arrays.values())
    console.print(
        f"{len(arms)} arms x ({config.search.budget} search trials by {config.search.mode}, {config.search.scheduler}"
        f" + {config.confirm.seeds} confirmations) = {len(arms) * (config.search.budget + config.confirm.seeds)} trials\n"
        f"Training: {image_steps:,} image-steps at most ({pretraining:,} of them pretraining)\n"
        f"Time: about {format_duration(seconds)} on this machine with {slots} trials at once and no early stopping\n"
        f"Memory: about {working / 2**30:.1f} GiB for {slots} workers and the driver, and"
        f" {stored / 2**20:,.0f} MiB of images that they share",
        markup=False,
    )
    for note in notes:
        console.print(f"Note: {note}", markup=False, soft_wrap=True)
