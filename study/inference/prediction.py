"""Classes and probabilities of new images from the confirmed models of a study."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
import torch

from analysis.records.study import load_study
from analysis.statistics.calibration import ensemble_temperature, temper
from models.fusion import FusedClassifier
from models.gradcam import grad_cam
from study.config.files import check_config
from study.errors import UsageError
from study.inference.confirmed_models import ConfirmedModels, load_arm
from study.inference.image_files import FileBatch, FileBatches
from study.inference.overlays import save_overlay
from study.inference.probabilities import score_batches
from study.training.device import find_device

if TYPE_CHECKING:
    from torch import Tensor

    from study.storage.run_directory import RunDirectory


@dataclass(frozen=True)
class FilePredictions:
    """Classes and probabilities of some files, from some models of one arm."""

    arm: str
    """Name of the arm."""
    seeds: tuple[int, ...]
    """Seed of each model."""
    temperature: float
    """Temperature of the mean probabilities of these models, fitted on the study's validation images."""
    table: pd.DataFrame
    """One row per file in the order given: file; class, empty where the file cannot be read; confidence, the calibrated
    probability of that class; p_<class>, the mean over seeds of what the models give; calibrated_<class>; error, why the file
    cannot be read."""
    seconds: float
    """Seconds from the first file to the last probability, without the loading of the models."""

    @property
    def unreadable(self) -> pd.DataFrame:
        """The rows of files that cannot be read."""
        return self.table[self.table["error"] != ""]


def predict(
    directory: RunDirectory,
    paths: Sequence[Path],
    *,
    arm: str | None = None,
    seed: int | None = None,
    device: str | None = None,
    overlays: Path | None = None,
    tell: Callable[[int], None] = lambda _: None,
) -> FilePredictions:
    """Classify image files of any size, prepared exactly as the study's validation images were.

    Args:
        directory: Run directory of a study with confirmed runs.
        paths: Image files.
        arm: Name of the arm; when None the best on validation.
        seed: Seed of one confirmed run; when None all runs of the arm, as an ensemble.
        device: ``cpu`` or ``cuda``; when None the accelerator, or the CPU where there is none.
        overlays: Folder for a picture of each image with its activation map; no pictures when None.
        tell: Called after each batch with the number of files that are done.

    Raises:
        UsageError: no such arm, seed or device.
        WeightsError: the study's weights are missing or damaged.
    """
    study = load_study(directory.folder)
    config = check_config(study.config, str(directory.config_file))
    models = load_arm(directory, study, config, arm, seed)
    seeds = tuple(model.seed for model in models.models)
    temperature = ensemble_temperature(study, [model.trial_id for model in models.models])
    if overlays is not None and not isinstance(models.models[0].network, FusedClassifier):
        raise UsageError(
            f"--overlays: {models.models[0].arm.name} has no feature maps that are known here. Choose another"
            " --arm, or leave it out"
        )
    place = find_device(device)
    models = models.to(place)
    batches = FileBatches(paths, config.data, place)
    probabilities = np.full((len(paths), len(models.classes)), np.nan)
    if overlays is not None:
        overlays.mkdir(parents=True, exist_ok=True)
    began, done = time.perf_counter(), 0
    for batch, scored in score_batches(models, batches, place, one_by_one=overlays is not None):
        mean = scored.mean(dim=0)
        probabilities[batch.positions] = mean.numpy()
        if overlays is not None:
            maps = activation_maps(models, batch.images, mean.argmax(dim=1).to(place))
            _save_overlays(paths, batch, maps, overlays)
        done += len(batch.positions)
        tell(done + len(batches.unreadable))
    seconds = time.perf_counter() - began
    table = _table(paths, probabilities, temperature, batches.unreadable, models.classes)
    return FilePredictions(models.models[0].arm.name, seeds, temperature, table, seconds)


@torch.no_grad()
def activation_maps(models: ConfirmedModels, images: Tensor, classes: Tensor) -> Tensor:
    """Mean of the models' activation maps for one class of each image: float32 (B, H, W), at least 0."""
    latents = models.latents(images)
    maps = [
        grad_cam(model.network, images, models.latents_of(model, latents), classes)
        for model in models.models
        if isinstance(model.network, FusedClassifier)
    ]
    return torch.stack(maps).mean(dim=0)


def _save_overlays(paths: Sequence[Path], batch: FileBatch, maps: Tensor, folder: Path) -> None:
    """Write a picture of each image of a batch with its activation map, named after its position and file."""
    for position, activation in zip(batch.positions, maps.cpu().numpy(), strict=True):
        path = paths[position]
        save_overlay(path, activation, folder / f"{position + 1:05}-{path.stem}.png")


def _table(
    paths: Sequence[Path],
    probabilities: np.ndarray[tuple[int, ...], np.dtype[np.float64]],
    temperature: float,
    unreadable: dict[int, str],
    classes: Sequence[str],
) -> pd.DataFrame:
    """The table of `FilePredictions`, from mean probabilities (N, C), which are NaN for files that cannot be read."""
    read = ~np.isnan(probabilities[:, 0])
    calibrated = np.full_like(probabilities, np.nan)
    calibrated[read] = temper(probabilities[read], temperature)
    answers = np.where(read, np.nan_to_num(probabilities).argmax(axis=1), -1)
    table = pd.DataFrame({"file": [str(path) for path in paths]})
    table["class"] = [classes[answer] if answer >= 0 else "" for answer in answers]
    table["confidence"] = calibrated.max(axis=1)
    for prefix, values in (("p", probabilities), ("calibrated", calibrated)):
        for position, name in enumerate(classes):
            table[f"{prefix}_{name.lower()}"] = values[:, position]
    table["error"] = [unreadable.get(position, "") for position in range(len(paths))]
    return table
