"""Pretraining of the encoders on histology, or their weights from wherever the configuration takes them."""

from __future__ import annotations

import logging
import math
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from analysis.records.schema import CURVE_COLUMNS
from models.checkpoints import load_state, save_state, save_tensors
from models.errors import WeightsError
from models.initialisation import stream
from models.optimiser import Adam
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
from study.training.pretraining_tasks import TASKS

logger = logging.getLogger(__name__)

CURVE = "curve.parquet"
_CHECKPOINT = "checkpoint.safetensors"

_PATIENCE, _FACTOR, _SMALLEST_RATE = 3, 0.1, 1e-5
"""The published autoencoder's plateau schedule (on validation loss)."""


def pretrain(
    config: StudyConfig, encoder_id: str, folder: Path, publish: Callable[[Path], None] = lambda _: None
) -> None:
    """Train one encoder, or take its weights from where the configuration says, or draw them for a control.

    Leaves `WEIGHTS` and, when trained, `CURVE` in the folder (and `RECONSTRUCTIONS` for the autoencoder). Continues from its own
    checkpoint when it was interrupted; does nothing when the weights are there.

    Args:
        config: The study's configuration.
        encoder_id: ``prcc`` or ``cam16``; with ``-random`` a network of the same architecture and width with random weights; or
            a classifier of `arms.networks` with given weights, which are kept without those of its head.
        folder: Folder of that name in the run directory.
        publish: Called with each file that was written, so that another machine may go on from it.

    Raises:
        DataError: the pretraining images are not as expected.
        WeightsError: the weights file is not of this network.
    """
    if (folder / WEIGHTS).is_file():
        return
    folder.mkdir(parents=True, exist_ok=True)
    torch.set_num_threads(config.resources.cpu)
    untrained = _find_untrained(config, encoder_id)
    if untrained is None:
        _EncoderTraining(config, encoder_id, folder, publish).run()
    else:
        save_tensors(folder / WEIGHTS, *untrained)
    publish(folder / WEIGHTS)


def _find_untrained(config: StudyConfig, encoder_id: str) -> tuple[Mapping[str, Tensor], dict[str, str]] | None:
    """Weights that this study need not train, and what is noted about them; None for an encoder that it has to train."""
    file = config.arms.networks.get(encoder_id)
    if file is not None:
        tensors = read_classifier_weights(encoder_id, file, len(open_images(config.data, "wbc").classes))
        return tensors, {"network": encoder_id, "origin": file.name}
    encoder = encoder_id.removesuffix(RANDOM_SUFFIX)
    if encoder_id != encoder:
        return draw_weights(config, encoder).state_dict(), {"encoder": encoder, "origin": "random, as a control"}
    given = config.pretrain.of(encoder).weights
    if given is not None:
        return load_given(given, encoder).state_dict(), {"encoder": encoder, "origin": given.name}
    return None


class _EncoderTraining:
    """One encoder in training: everything random is a function of the study's seed and the epoch."""

    def __init__(self, config: StudyConfig, encoder: str, folder: Path, publish: Callable[[Path], None]):
        self._publish = publish
        self._settings = config.pretrain.of(encoder)
        self._encoder, self._folder, self._seed = encoder, folder, config.seed
        self._checkpoint = folder / _CHECKPOINT
        self._device = choose_device()
        # Validation at the crop's size: `data.validation_size` is a question about blood cells.
        data = config.data.model_copy(update={"validation_size": "crop"})
        self._arrays = open_images(config.data, encoder)
        self._batches = ImageBatches(self._arrays, data, self._device, image_memory_budget(self._device, 1.0))
        self._task = TASKS[encoder](config, encoder, self._batches, self._device)
        self._network = self._task.network
        self._optimiser = Adam(
            [*self._network.parameters(), *self._task.masks.parameters()],
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
        """Train the epochs that are left, and leave weights, pictures and curve.

        Raises:
            StudyFailed: no epoch had a finite validation loss.
        """
        self._continue()
        while len(self._curve) < self._settings.epochs:
            self._train_epoch()
            self._save()
        if not math.isfinite(self._best_loss):
            raise StudyFailed(
                f"pretraining of {self._encoder} diverged: no epoch had a finite validation loss. Lower"
                f" pretrain.{self._encoder}.learning_rate and give the study another --name"
            )
        self._network.load_state_dict(self._best)
        for picture in self._task.leave_pictures(self._folder):
            self._publish(picture)
        # Written last: it says that this encoder is complete.
        save_tensors(
            self._folder / WEIGHTS, self._best, {"encoder": self._encoder, "origin": "pretrained by this study"}
        )
        self._checkpoint.unlink(missing_ok=True)

    def _train_epoch(self) -> None:
        began, epoch = time.perf_counter(), len(self._curve) + 1
        train_loss = self._train_steps(epoch)
        val_loss, val_accuracy = self._validate()
        self._schedule.step(val_loss)
        if val_loss < self._best_loss:
            self._best_loss = val_loss
            self._best = {name: tensor.clone() for name, tensor in self._network.state_dict().items()}
        self._curve.append(
            {
                "epoch": epoch,
                "train_loss": train_loss,
                "val_loss": val_loss,
                "val_accuracy": val_accuracy,
                "seconds": time.perf_counter() - began,
            }
        )

    def _train_steps(self, epoch: int) -> float:
        """Take the gradient steps of one pass, and return the mean loss of its images, without that of masks."""
        train = self._arrays.indices("train")
        crops = stream(self._seed, "pretrain", self._encoder, "crops", epoch)
        shuffled = torch.randperm(len(train), generator=stream(self._seed, "pretrain", self._encoder, "order", epoch))
        order = train[shuffled.numpy()]
        self._network.train()
        total = 0.0
        for start in range(0, len(order), self._settings.batch_size):
            rows = order[start : start + self._settings.batch_size]
            images, masks = self._task.masks.crops(rows, crops)
            loss = self._task.score(images, rows).loss
            objective = self._task.masks.add_loss(loss, masks)
            self._optimiser.zero_grad(set_to_none=True)
            objective.backward()
            self._optimiser.step()
            total += float(loss.detach()) * len(rows)
        return total / len(order)

    @torch.no_grad()
    def _validate(self) -> tuple[float, float | None]:
        """Mean loss of the validation images, and their accuracy where the network gives answers."""
        self._network.eval()
        rows = self._arrays.indices("val")
        total, correct = 0.0, []
        for chunk, images in self._batches.whole(rows):
            score = self._task.score(images, rows[chunk])
            total += float(score.loss) * len(chunk)
            if score.correct is not None:
                correct.append(int(score.correct))
        return total / len(rows), sum(correct) / len(rows) if correct else None

    def _save(self) -> None:
        save_state(
            self._checkpoint,
            {
                "network": self._network.state_dict(),
                "optimiser": self._optimiser.state_dict(),
                "schedule": self._schedule.state_dict(),
                "curve": self._curve,
                "best_loss": self._best_loss,
                "best": self._best,
                **self._task.masks.state(),
            },
        )
        write_table(self._folder / CURVE, self._curve, CURVE_COLUMNS)
        self._publish(self._folder / CURVE)
        self._publish(self._checkpoint)

    def _continue(self) -> None:
        """Continue from the checkpoint where there is a sound one."""
        if not self._checkpoint.is_file():
            return
        try:
            self._restore()
        except (WeightsError, KeyError) as error:
            logger.warning("pretraining of %s starts again: %s", self._encoder, error)

    def _restore(self) -> None:
        state, _ = load_state(self._checkpoint)
        self._network.load_state_dict(state["network"])
        self._task.masks.load(state)
        self._optimiser.load_state_dict(state["optimiser"])
        self._schedule.load_state_dict(state["schedule"])
        self._curve, self._best_loss = state["curve"], state["best_loss"]
        self._best = {name: tensor.to(self._device) for name, tensor in state["best"].items()}
