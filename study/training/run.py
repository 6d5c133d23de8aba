"""One training of one arm: deterministic, resumable after every epoch, without Ray."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from analysis.records.schema import Phase
from data_utils.fractions import select_fraction
from models.checkpoints import load_state, save_state
from models.errors import WeightsError
from models.optimiser import Adam
from study.config.study import StudyConfig
from study.design.trials import EpochReport, TrialPredictions, TrialSpec
from study.training.batch_order import BatchOrder
from study.training.batches import ImageBatches
from study.training.objective import Objective
from study.training.schedules import open_schedule
from study.training.trial_features import StudyFeatures
from study.training.trial_streams import trial_streams


class TrainingRun:
    """A trial in training. Everything random is a function of its seed and the epoch, see `trial_streams`.

    Attributes:
        spec: The trial.
        batches: Blood-cell images.
        order: Which images are trained on, and when.
        objective: Network and loss.
        reports: A report of every epoch so far, without predictions.
    """

    def __init__(
        self, config: StudyConfig, spec: TrialSpec, batches: ImageBatches, features: StudyFeatures, device: torch.device
    ):
        """Prepare the first epoch.

        Args:
            config: The study's configuration.
            spec: The trial.
            batches: Blood-cell images.
            features: What the pretrained networks give.
            device: Where to train.

        Raises:
            DataError: the fraction leaves a class without images.
        """
        config = config.model_copy(update={"training": config.training.with_searched(spec.searched)})
        self._config, self._device = config, device
        self.spec, self.batches = spec, batches
        self._streams = trial_streams(spec)
        rows = select_fraction(batches.arrays, spec.arm.fraction, spec.seed)
        self.order = BatchOrder(rows, batches.arrays.labels[rows], config.training, self._streams)
        self.objective = Objective(config, spec, rows, batches, features, self._streams, device)
        parameters = self.objective.parameters()
        self._parameters = sum(parameter.numel() for parameter in parameters if parameter.requires_grad)
        self._optimiser = Adam(parameters, spec.learning_rate, spec.weight_decay)
        self._schedule = open_schedule(config.training, self._optimiser, spec.learning_rate)
        self.reports: list[EpochReport] = []
        self._best: tuple[float, float, int] | None = None
        """Score, validation loss and number of the best epoch so far."""
        self._best_weights: dict[str, Tensor] = {}

    @property
    def epoch(self) -> int:
        """Number of epochs done."""
        return len(self.reports)

    @property
    def done(self) -> bool:
        """Whether the last epoch has been trained or the loss is not finite."""
        return self.epoch >= self._config.training.epochs or (self.epoch > 0 and self.reports[-1].diverged)

    def train_epoch(self) -> EpochReport:
        """Train one epoch and validate."""
        began = time.perf_counter()
        epoch, before = self.epoch + 1, self.reports[-1].steps if self.reports else 0
        # Dropout in classifiers of torchvision draws from the global generator; nothing else here does.
        with torch.random.fork_rng(devices=[]):
            torch.random.manual_seed(self._streams("dropout", epoch).initial_seed())
            train_loss, train_accuracy, steps = self._train_steps(epoch, before)
        learning_rate = float(self._optimiser.param_groups[0]["lr"])
        confusion, val_loss = self.objective.validate(self.batches.arrays.indices("val"))
        report = EpochReport(
            epoch=epoch,
            steps=before + steps,
            learning_rate=learning_rate,
            train_loss=train_loss,
            train_accuracy=train_accuracy,
            val_loss=val_loss,
            confusion=tuple(int(count) for count in confusion.ravel()),
            train_images=len(self.order.rows),
            parameters=self._parameters,
            seconds=time.perf_counter() - began,
        )
        self.reports.append(report)
        if not report.diverged:
            self._keep_best(report)
            self._schedule.after_epoch(report.score("val_accuracy"))
        return report

    def predictions(self) -> TrialPredictions | None:
        """Class probabilities of every validation and test image at the epoch chosen on validation.

        Returns:
            None when no epoch had a finite loss, or the trial is one of the search, which keeps no weights.
        """
        if self._best is None or not self._best_weights:
            return None
        network = self.objective.network
        current = {name: tensor.clone() for name, tensor in network.state_dict().items()}
        network.load_state_dict(self._best_weights)
        parts = [self.batches.arrays.indices(split) for split in ("val", "test")]
        probabilities = np.concatenate([self.objective.probabilities(rows) for rows in parts])
        network.load_state_dict(current)
        return TrialPredictions(epoch=self._best[2], rows=np.concatenate(parts), probabilities=probabilities)

    def save(self, path: Path) -> None:
        """Write a checkpoint, atomically."""
        save_state(
            path,
            {
                "model": self.objective.network.state_dict(),
                "optimiser": self._optimiser.state_dict(),
                "schedule": self._schedule.state(),
                "reports": [{**vars(report), "predictions": None} for report in self.reports],
                "best": self._best,
                "best_weights": self._best_weights,
                **self.objective.masks.state(),
            },
            {"trial_id": self.spec.trial_id},
        )

    def load(self, path: Path) -> None:
        """Continue from a checkpoint of the same trial.

        Raises:
            WeightsError: the file is missing or damaged, or another trial's.
        """
        state, metadata = load_state(path)
        if metadata.get("trial_id") != self.spec.trial_id:
            raise WeightsError(
                f"{path} is the checkpoint of trial {metadata.get('trial_id')}, not of {self.spec.trial_id}"
            )
        self.objective.network.load_state_dict(state["model"])
        self.objective.masks.load(state)
        self._optimiser.load_state_dict(state["optimiser"])
        self._schedule.load(state["schedule"])
        self.reports = [EpochReport(**{**row, "confusion": tuple(row["confusion"])}) for row in state["reports"]]
        self._best = tuple(state["best"]) if state["best"] is not None else None
        self._best_weights = {name: tensor.to(self._device) for name, tensor in state["best_weights"].items()}

    def save_weights(self, path: Path) -> None:
        """Write the weights of the epoch chosen on validation, to predict with."""
        weights = self._best_weights or self.objective.network.state_dict()
        save_state(path, {"model": weights}, {"trial_id": self.spec.trial_id})

    def _train_steps(self, epoch: int, before: int) -> tuple[float, float, int]:
        """Take the gradient steps of one epoch.

        Args:
            epoch: Number of the epoch, from 1.
            before: Number of gradient steps in earlier epochs.

        Returns:
            Mean unweighted loss and accuracy over the images shown, and the number of steps.
        """
        draws, batches = self.objective.start_epoch(epoch), self.order.batches(epoch)
        loss_sum = torch.zeros((), device=self._device, dtype=torch.float64)
        correct = torch.zeros((), device=self._device, dtype=torch.int64)
        for number, rows in enumerate(batches):
            self._schedule.before_step(epoch - 1 + number / len(batches))
            loss = self.objective.loss(rows, draws, before + number)
            self._optimiser.zero_grad(set_to_none=True)
            loss.objective.backward()
            self._optimiser.step()
            loss_sum += loss.unweighted.double() * len(rows)
            correct += loss.correct
        images = sum(map(len, batches))
        return float(loss_sum) / images, int(correct) / images, len(batches)

    def _keep_best(self, report: EpochReport) -> None:
        """Remember the epoch just trained where it is the best: by the score, then by the validation loss."""
        score = report.score(self._config.search.metric)
        if self._best is not None and (score, -report.val_loss) <= (self._best[0], -self._best[1]):
            return
        self._best = (score, report.val_loss, report.epoch)
        if self.spec.phase == Phase.CONFIRM:
            self._best_weights = {name: tensor.clone() for name, tensor in self.objective.network.state_dict().items()}


def load_or_start(
    run: TrainingRun, checkpoint: Path, recorded_epochs: int, warn: Callable[[str], None]
) -> list[EpochReport]:
    """Continue a run from its checkpoint where there is one.

    Args:
        run: The run, before its first epoch.
        checkpoint: The checkpoint's file; need not exist.
        recorded_epochs: Number of epochs that the study's records hold already.
        warn: Called with a message when a checkpoint cannot be used; the trial is then trained again from the start.

    Returns:
        Reports to be sent again: those of epochs that were trained and saved but not recorded. When the checkpoint is behind the
        records (or gone), the missing epochs are trained and reported again; they must come out the same.
    """
    if checkpoint.is_file():
        try:
            run.load(checkpoint)
        except WeightsError as error:
            warn(f"trial {run.spec.trial_id} starts again: {error}")
    return [report for report in run.reports if report.epoch > recorded_epochs]
