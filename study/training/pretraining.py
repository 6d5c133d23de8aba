"""Pretraining of the encoders on histology, and their latent vectors of the blood cells. Without Ray."""

from __future__ import annotations

import logging
import math
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor, nn
from torch.nn.functional import cross_entropy, mse_loss

from analysis.records.schema import CURVE_COLUMNS
from models.autoencoder import Autoencoder
from models.checkpoints import load_state, save_state, save_tensors
from models.classifier import ResidualClassifier
from models.encoders import CAM16_MEAN, CAM16_STD
from models.errors import WeightsError
from models.initialisation import initialise, stream
from models.optimiser import Adam
from models.segmentation import DOWNSAMPLING, SegmentationTask
from models.torchvision_classifiers import read_classifier_weights
from study.config.study import StudyConfig
from study.design.arms import RANDOM_SUFFIX
from study.errors import StudyFailed
from study.storage.local_images import open_images
from study.storage.records import write_table
from study.storage.run_directory import WEIGHTS
from study.training.batches import ImageBatches
from study.training.device import choose_device, image_memory_budget
from study.training.encoder_weights import draw_weights, load_given

logger = logging.getLogger(__name__)

CURVE = "curve.parquet"
RECONSTRUCTIONS = "reconstructions.png"
_CHECKPOINT = "checkpoint.safetensors"

_PATIENCE, _FACTOR, _SMALLEST_RATE = 3, 0.1, 1e-5
"""The published autoencoder's plateau schedule (on validation loss)."""


def pretrain(config: StudyConfig, network: str, folder: Path, publish: Callable[[Path], None] = lambda _: None) -> None:
    """Train one encoder, or take its weights from where the configuration says, or draw them for a control.

    Of a network of `arms.networks` the given weights are kept, without those of its head.

    Leaves `WEIGHTS` and, when trained, `CURVE` in the folder (and `RECONSTRUCTIONS` for the autoencoder). Continues from its own
    checkpoint when it was interrupted; does nothing when the weights are there.

    Args:
        config: The study's.
        network: ``prcc`` or ``cam16``; with ``-random`` a network of the same architecture and width with random weights; or
            one of `arms.networks` with given weights.
        folder: The network's folder in the run directory.
        publish: Told each file that was written, so that another machine may go on from it.

    Raises:
        DataError: the pretraining images are not as expected.
        WeightsError: the weights file is not of this network.
    """
    if (folder / WEIGHTS).is_file():
        return
    folder.mkdir(parents=True, exist_ok=True)
    torch.set_num_threads(config.resources.cpu)
    named = config.arms.networks.get(network)
    if named is not None:
        tensors = read_classifier_weights(network, named, len(open_images(config.data, "wbc").classes))
        save_tensors(folder / WEIGHTS, tensors, {"network": network, "origin": named.name})
        publish(folder / WEIGHTS)
        return
    encoder = network.removesuffix(RANDOM_SUFFIX)
    given = config.pretrain.of(encoder).weights
    if network != encoder:
        drawn = draw_weights(config, encoder)
        save_tensors(folder / WEIGHTS, drawn.state_dict(), {"encoder": encoder, "origin": "random, as a control"})
    elif given is not None:
        loaded = load_given(given, encoder)
        save_tensors(folder / WEIGHTS, loaded.state_dict(), {"encoder": encoder, "origin": given.name})
    else:
        _Pretraining(config, encoder, folder, publish).run()
    publish(folder / WEIGHTS)


class _Pretraining:
    """One encoder in training."""

    def __init__(self, config: StudyConfig, encoder: str, folder: Path, publish: Callable[[Path], None]):
        self._publish = publish
        self._settings = config.pretrain.of(encoder)
        self._encoder, self._folder, self._seed = encoder, folder, config.seed
        self._device = choose_device()
        # Validation at the crop's size: the original size is a question about blood cells.
        data = config.data.model_copy(update={"validation_size": "crop"})
        self._arrays = open_images(config.data, encoder)
        self._batches = ImageBatches(self._arrays, data, self._device, image_memory_budget(self._device, 1.0))
        self._labels = torch.from_numpy(np.asarray(self._arrays.labels)).to(self._device)
        generator = stream(config.seed, "pretrain", encoder)
        network: nn.Module
        if encoder == "prcc":
            network = initialise(Autoencoder(config.model.width), generator)
        else:
            network = ResidualClassifier(len(self._arrays.classes), config.model.width, generator=generator)
        self._segmentation = None
        if self._settings.segmentation_weight > 0 and isinstance(network, ResidualClassifier):
            self._segmentation = SegmentationTask(network, stream(config.seed, "pretrain", encoder, "segmentation"))
            self._segmentation.head.to(self._device)
        self._network = network.to(self._device)
        self._optimiser = Adam(
            [*network.parameters(), *(self._segmentation.head.parameters() if self._segmentation else ())],
            self._settings.learning_rate,
            self._settings.weight_decay,
        )
        self._schedule = torch.optim.lr_scheduler.ReduceLROnPlateau(
            self._optimiser, mode="min", factor=_FACTOR, patience=_PATIENCE, min_lr=_SMALLEST_RATE
        )
        self._curve: list[dict[str, Any]] = []
        self._best_loss = math.inf
        self._best: dict[str, Tensor] = {}

    def run(self) -> None:
        checkpoint = self._folder / _CHECKPOINT
        if checkpoint.is_file():
            try:
                self._restore(checkpoint)
            except (WeightsError, KeyError) as error:
                logger.warning("pretraining of %s starts again: %s", self._encoder, error)
        while len(self._curve) < self._settings.epochs:
            self._epoch()
            self._save(checkpoint)
        if not math.isfinite(self._best_loss):
            raise StudyFailed(
                f"pretraining of {self._encoder} diverged: no epoch had a finite validation loss. Lower"
                f" pretrain.{self._encoder}.learning_rate and give the study another --name"
            )
        if self._encoder == "prcc":
            self._network.load_state_dict(self._best)
            self._draw_reconstructions()
            self._publish(self._folder / RECONSTRUCTIONS)
        # Written last: it says that this encoder is complete.
        save_tensors(
            self._folder / WEIGHTS, self._best, {"encoder": self._encoder, "origin": "pretrained by this study"}
        )
        checkpoint.unlink(missing_ok=True)

    def _epoch(self) -> None:
        began, epoch = time.perf_counter(), len(self._curve) + 1
        train = self._arrays.indices("train")
        crops = stream(self._seed, "pretrain", self._encoder, "crops", epoch)
        shuffled = torch.randperm(len(train), generator=stream(self._seed, "pretrain", self._encoder, "order", epoch))
        order = train[shuffled.numpy()]
        self._network.train()
        total = 0.0
        for start in range(0, len(order), self._settings.batch_size):
            rows = order[start : start + self._settings.batch_size]
            if self._segmentation is None:
                loss, _ = self._loss(self._batches.crops(rows, crops), rows)
                objective = loss
            else:
                images, masked, shares = self._batches.crops_and_masks(rows, crops, DOWNSAMPLING)
                loss, _ = self._loss(images, rows)
                objective = loss + self._settings.segmentation_weight * self._segmentation.loss(masked, shares)
            self._optimiser.zero_grad(set_to_none=True)
            objective.backward()
            self._optimiser.step()
            total += float(loss.detach()) * len(rows)
        val_loss, val_accuracy = self._validate()
        self._schedule.step(val_loss)
        if val_loss < self._best_loss:
            self._best_loss = val_loss
            self._best = {name: tensor.clone() for name, tensor in self._network.state_dict().items()}
        self._curve.append(
            {
                "epoch": epoch,
                "train_loss": total / len(order),
                "val_loss": val_loss,
                "val_accuracy": val_accuracy,
                "seconds": time.perf_counter() - began,
            }
        )

    def _loss(self, images: Tensor, rows: Any) -> tuple[Tensor, Tensor]:
        """Mean loss of a batch, and the correct answers (none for the autoencoder)."""
        if self._encoder == "prcc":
            return mse_loss(self._network(images), images), torch.zeros(())
        mean = torch.tensor(CAM16_MEAN, device=self._device).reshape(3, 1, 1)
        std = torch.tensor(CAM16_STD, device=self._device).reshape(3, 1, 1)
        logits = self._network((images - mean) / std)
        target = self._labels[torch.from_numpy(rows).to(self._device)]
        return cross_entropy(logits, target), (logits.argmax(dim=1) == target).sum()

    @torch.no_grad()
    def _validate(self) -> tuple[float, float | None]:
        self._network.eval()
        rows = self._arrays.indices("val")
        total, correct = 0.0, 0
        for chunk, images in self._batches.whole(rows):
            loss, right = self._loss(images, rows[chunk])
            total += float(loss) * len(chunk)
            correct += int(right)
        return total / len(rows), None if self._encoder == "prcc" else correct / len(rows)

    def _save(self, checkpoint: Path) -> None:
        save_state(
            checkpoint,
            {
                "network": self._network.state_dict(),
                "optimiser": self._optimiser.state_dict(),
                "schedule": self._schedule.state_dict(),
                "curve": self._curve,
                "best_loss": self._best_loss,
                "best": self._best,
                **({"segmentation": self._segmentation.head.state_dict()} if self._segmentation else {}),
            },
        )
        write_table(self._folder / CURVE, self._curve, CURVE_COLUMNS)
        self._publish(self._folder / CURVE)
        self._publish(checkpoint)

    def _restore(self, checkpoint: Path) -> None:
        state, _ = load_state(checkpoint)
        self._network.load_state_dict(state["network"])
        if self._segmentation is not None:
            self._segmentation.head.load_state_dict(state["segmentation"])
        self._optimiser.load_state_dict(state["optimiser"])
        self._schedule.load_state_dict(state["schedule"])
        self._curve, self._best_loss = state["curve"], state["best_loss"]
        self._best = {name: tensor.to(self._device) for name, tensor in state["best"].items()}

    @torch.no_grad()
    def _draw_reconstructions(self, count: int = 8, side: int = 96) -> None:
        """Validation tiles above their reconstructions."""
        self._network.eval()
        _, images = next(self._batches.whole(self._arrays.indices("val")[:count]))
        rows = torch.stack([images, self._network(images)]).clamp(0, 1)
        pixels = (rows.permute(0, 3, 1, 4, 2).reshape(2 * rows.shape[3], -1, 3) * 255).round().byte().cpu().numpy()
        scale = max(1, side // rows.shape[3])
        picture = Image.fromarray(pixels)
        picture.resize((picture.width * scale, picture.height * scale), Image.Resampling.NEAREST).save(
            self._folder / RECONSTRUCTIONS
        )
