"""One training of one arm: deterministic, resumable after every epoch, without Ray."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn.functional import cross_entropy

from analysis.metrics import confusion_metrics
from analysis.records.schema import Fusion, Phase
from data_utils.augmentation import ColourJitter, draw_colours, recolour
from data_utils.fractions import select_fraction
from models.checkpoints import load_state, save_state
from models.errors import WeightsError
from models.fusion import FusedClassifier
from models.initialisation import stream
from models.optimiser import Adam
from models.segmentation import DOWNSAMPLING, SegmentationTask
from models.torchvision_classifiers import TorchvisionClassifier
from study.config.study import StudyConfig
from study.design.trials import EpochReport, TrialPredictions, TrialSpec
from study.training.batches import ImageBatches
from study.training.class_balance import balanced_order, natural_order, subset_weights
from study.training.device import Forward, to_device
from study.training.networks import Network, build_network, use_channels_last
from study.training.trial_features import PublishedNoise, StudyFeatures, TrialLatents


class TrainingRun:
    """A trial in training.

    Everything random is a function of the trial's seed and the epoch: the subset, the initial weights, the order of the images
    and the crops have streams of their own, so that arms with the same seed share them, and a run that continues from a
    checkpoint draws what it would have drawn. The control ``twin`` shares the subset alone: with all of them it would be ``off``
    itself, bit for bit, and a comparison that always finds zero could not show how far two arms without a difference differ.
    """

    def __init__(
        self, config: StudyConfig, spec: TrialSpec, batches: ImageBatches, features: StudyFeatures, device: torch.device
    ):
        """Prepare the first epoch.

        Args:
            config: The study's.
            spec: The trial.
            batches: Blood-cell images.
            features: What the pretrained networks give.
            device: Where to train.

        Raises:
            DataError: the fraction leaves a class without images.
        """
        arrays = batches.arrays
        config = config.model_copy(update={"training": config.training.with_searched(spec.searched)})
        self._config, self.spec, self._batches, self._device = config, spec, batches, device
        self._labels = torch.from_numpy(np.asarray(arrays.labels)).to(device)
        self._classes = len(arrays.classes)
        self._train = select_fraction(arrays, spec.arm.fraction, spec.seed)
        weights = subset_weights(arrays.labels[self._train], self._classes, config.training)
        self._class_weights = None if weights is None else torch.tensor(weights, dtype=torch.float32, device=device)
        training = config.training
        self._colours = ColourJitter(
            training.stain_jitter, training.brightness, training.contrast, training.saturation, training.hue
        )
        self._latents = TrialLatents(spec.arm, spec.seed, features, batches, device)
        self._noise = (
            PublishedNoise(spec.arm, spec.seed, features, self._train, config.training.batch_size)
            if spec.arm.control == "published"
            else None
        )
        self._forward = Forward(config, device)
        model = self._build_model(features)
        if self._latents.sizes and not isinstance(model, TorchvisionClassifier):
            # Of whole images, also where crops are encoded: statistics of the crops would need a pass over them first.
            model.set_statistics(self._latents.of_images(torch.from_numpy(self._train).to(device)))
        self._segmentation = None
        masks = spec.arm.segmentation and config.training.segmentation_weight > 0
        if masks and isinstance(model, FusedClassifier):
            self._segmentation = SegmentationTask(model.classifier, self._stream("segmentation"))
            self._segmentation.head.to(device).to(memory_format=torch.channels_last)
        self._model = use_channels_last(model.to(device))
        parameters = [*model.parameters(), *(self._segmentation.head.parameters() if self._segmentation else ())]
        self._parameters = sum(parameter.numel() for parameter in parameters if parameter.requires_grad)
        self._optimiser = Adam(parameters, spec.learning_rate, spec.weight_decay)
        self._schedule = (
            torch.optim.lr_scheduler.ReduceLROnPlateau(
                self._optimiser,
                mode="max",
                factor=config.training.plateau_factor,
                patience=config.training.plateau_patience,
            )
            if config.training.schedule == "plateau"
            else None
        )
        self.reports: list[EpochReport] = []
        """Of every epoch so far, without predictions."""
        self._best: tuple[float, float, int] | None = None
        self._best_weights: dict[str, Tensor] = {}

    def _stream(self, *names: str | int) -> torch.Generator:
        """A random stream of the trial, the same for compared arms of one seed; the twin has its own."""
        own = ("twin",) if self.spec.arm.control == "twin" else ()
        return stream(self.spec.seed, *own, *names)

    def _build_model(self, features: StudyFeatures) -> Network:
        arm = self.spec.arm
        model = build_network(self._config, arm, self._classes, self._latents.sizes, self._stream)
        if arm.fusion == Fusion.FINETUNE and isinstance(model, FusedClassifier):
            (network,) = arm.encoder_folders.values()
            model.classifier.start_from(features.classifiers[network])
        if arm.encoders and isinstance(model, TorchvisionClassifier):
            model.start_from(features.weights[arm.classifier])
        return model

    @property
    def epoch(self) -> int:
        """Epochs done."""
        return len(self.reports)

    @property
    def done(self) -> bool:
        """Whether the last epoch has been trained or the loss is not finite."""
        return self.epoch >= self._config.training.epochs or (self.epoch > 0 and self.reports[-1].diverged)

    def train_epoch(self) -> EpochReport:
        """Train one epoch and validate."""
        began = time.perf_counter()
        epoch = self.epoch + 1
        # Dropout in named networks draws from the global generator; nothing else here does.
        with torch.random.fork_rng(devices=[]):
            torch.random.manual_seed(self._stream("dropout", epoch).initial_seed())
            images, loss, correct, steps = self._train_steps(epoch)
        learning_rate = float(self._optimiser.param_groups[0]["lr"])
        confusion, val_loss = self._validate()
        report = EpochReport(
            epoch=epoch,
            steps=(self.reports[-1].steps if self.reports else 0) + steps,
            learning_rate=learning_rate,
            train_loss=loss / images,
            train_accuracy=correct / images,
            val_loss=val_loss,
            confusion=tuple(int(count) for count in confusion.ravel()),
            train_images=len(self._train),
            parameters=self._parameters,
            seconds=time.perf_counter() - began,
        )
        self.reports.append(report)
        if not report.diverged:
            self._keep_best(confusion, val_loss)
            if self._schedule is not None:
                self._schedule.step(float(confusion_metrics(confusion).accuracy))
        return report

    def predictions(self) -> TrialPredictions | None:
        """Class probabilities of every validation and test image at the epoch chosen on validation.

        Returns:
            None when no epoch had a finite loss, or the trial is one of the search, which keeps no weights.
        """
        if self._best is None or not self._best_weights:
            return None
        current = {name: tensor.clone() for name, tensor in self._model.state_dict().items()}
        self._model.load_state_dict(self._best_weights)
        rows = np.concatenate([self._batches.arrays.indices("val"), self._batches.arrays.indices("test")])
        probabilities = np.empty((len(rows), self._classes), dtype=np.float32)
        for split in ("val", "test"):
            part = self._batches.arrays.indices(split)
            offset = 0 if split == "val" else len(rows) - len(part)
            for chunk, logits in self._score(part):
                probabilities[offset + chunk] = logits.softmax(dim=1).cpu().numpy()
        self._model.load_state_dict(current)
        return TrialPredictions(epoch=self._best[2], rows=rows, probabilities=probabilities)

    def save(self, path: Path) -> None:
        """Write a checkpoint, atomically."""
        save_state(
            path,
            {
                "model": self._model.state_dict(),
                "optimiser": self._optimiser.state_dict(),
                "schedule": self._schedule.state_dict() if self._schedule is not None else {},
                "reports": [{**vars(report), "predictions": None} for report in self.reports],
                "best": self._best,
                "best_weights": self._best_weights,
                **({"segmentation": self._segmentation.head.state_dict()} if self._segmentation else {}),
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
        self._model.load_state_dict(state["model"])
        if self._segmentation is not None:
            self._segmentation.head.load_state_dict(state["segmentation"])
        self._optimiser.load_state_dict(state["optimiser"])
        if self._schedule is not None:
            self._schedule.load_state_dict(state["schedule"])
        self.reports = [EpochReport(**{**row, "confusion": tuple(row["confusion"])}) for row in state["reports"]]
        self._best = tuple(state["best"]) if state["best"] is not None else None
        self._best_weights = {name: tensor.to(self._device) for name, tensor in state["best_weights"].items()}

    def save_weights(self, path: Path) -> None:
        """Write the weights of the epoch chosen on validation, to predict with."""
        save_state(path, {"model": self._best_weights or self._model.state_dict()}, {"trial_id": self.spec.trial_id})

    def _train_steps(self, epoch: int) -> tuple[int, float, int, int]:
        """One epoch of gradient steps; returns images, summed unweighted loss, correct answers, steps."""
        self._model.train()
        if self.spec.arm.fusion == Fusion.FINETUNE and isinstance(self._model, FusedClassifier):
            self._model.classifier.freeze_trunk(epoch <= self._config.training.frozen_epochs)
        crops, colours = self._stream("crops", epoch), self._stream("colours", epoch)
        before = self.reports[-1].steps if self.reports else 0
        loss_sum = torch.zeros((), device=self._device, dtype=torch.float64)
        correct = torch.zeros((), device=self._device, dtype=torch.int64)
        images = steps = 0
        batches = self._ordered_batches(epoch)
        for rows in batches:
            if self._config.training.schedule == "cosine":
                done = (epoch - 1 + steps / len(batches)) / self._config.training.epochs
                for group in self._optimiser.param_groups:
                    group["lr"] = self.spec.learning_rate * (1 + math.cos(math.pi * done)) / 2
            if self._segmentation is None:
                inputs = self._batches.crops(rows, crops)
            else:
                inputs, masked, shares = self._batches.crops_and_masks(rows, crops, DOWNSAMPLING)
            if self._colours.is_on:
                inputs = recolour(inputs, draw_colours(len(rows), colours), self._colours)
            inputs = inputs.contiguous(memory_format=torch.channels_last)
            at = to_device(torch.from_numpy(rows), self._device)
            target = self._labels[at]
            logits = self._forward(self._model, inputs, self._latents.of_crops(rows, at, inputs, before + steps))
            if self._noise is not None:
                logits = logits + self._noise.logits(before + steps, len(rows), self._classes).to(self._device)
            loss = unweighted = cross_entropy(logits, target)
            if self._class_weights is not None:
                losses = cross_entropy(logits, target, reduction="none")
                # Not cross_entropy's own weighted mean: divided by the weights of the batch, a batch of one class would lose
                # its weight.
                loss = (losses * self._class_weights[target]).mean()
            if self._segmentation is not None:
                loss = loss + self._config.training.segmentation_weight * self._segmentation.loss(masked, shares)
            self._optimiser.zero_grad(set_to_none=True)
            loss.backward()
            self._optimiser.step()
            loss_sum += unweighted.detach().double() * len(rows)
            correct += (logits.detach().argmax(dim=1) == target).sum()
            images += len(rows)
            steps += 1
        return images, float(loss_sum), int(correct), steps

    def _ordered_batches(self, epoch: int) -> list[NDArray[np.int64]]:
        """Rows of each gradient step of an epoch: consecutive pieces of an endless row of shuffled passes."""
        size, steps = self._config.training.batch_size, self._config.training.steps_per_epoch
        if steps is None:
            order = self._shuffled(epoch - 1)
            return [order[start : start + size] for start in range(0, len(order), size)]
        first, last = (epoch - 1) * steps * size, epoch * steps * size
        count = len(self._train)
        passes = [self._shuffled(number) for number in range(first // count, (last - 1) // count + 1)]
        window = np.concatenate(passes)[first % count :][: last - first]
        return [window[start : start + size] for start in range(0, len(window), size)]

    def _shuffled(self, number: int) -> NDArray[np.int64]:
        """Rows of one pass. A pass has a stream of its own: training can continue at any of them."""
        draw = balanced_order if self._config.training.sampling == "balanced" else natural_order
        labels = self._batches.arrays.labels[self._train]
        shuffled: NDArray[np.int64] = self._train[draw(labels, self._stream("order", number))]
        return shuffled

    def _validate(self) -> tuple[NDArray[np.int64], float]:
        rows = self._batches.arrays.indices("val")
        counts = torch.zeros(self._classes**2, dtype=torch.int64, device=self._device)
        loss_sum = torch.zeros((), device=self._device, dtype=torch.float64)
        for chunk, logits in self._score(rows):
            target = self._labels[to_device(torch.from_numpy(rows[chunk]), self._device)]
            loss_sum += cross_entropy(logits, target, reduction="sum").double()
            counts += torch.bincount(target * self._classes + logits.argmax(dim=1), minlength=self._classes**2)
        confusion = counts.cpu().numpy().reshape(self._classes, self._classes)
        return confusion, float(loss_sum) / len(rows)

    @torch.inference_mode()
    def _score(self, rows: NDArray[np.int64]) -> list[tuple[NDArray[np.int64], Tensor]]:
        """Logits of whole images through the fusion: chunks of positions in `rows` with (B, classes)."""
        self._model.eval()
        scored = []
        for chunk, inputs in self._batches.whole(rows):
            at = to_device(torch.from_numpy(rows[chunk]), self._device)
            ordered = inputs.contiguous(memory_format=torch.channels_last)
            scored.append((chunk, self._forward(self._model, ordered, self._latents.of_images(at))))
        return scored

    def _keep_best(self, confusion: NDArray[np.int64], val_loss: float) -> None:
        metric = self._config.search.metric.removeprefix("val_")
        score = float(getattr(confusion_metrics(confusion), metric))
        better = self._best is None or (score, -val_loss) > (self._best[0], -self._best[1])
        if better:
            self._best = (score, val_loss, self.epoch)
            if self.spec.phase == Phase.CONFIRM:
                self._best_weights = {name: tensor.clone() for name, tensor in self._model.state_dict().items()}


def load_or_start(
    run: TrainingRun, checkpoint: Path, recorded_epochs: int, warn: Callable[[str], None]
) -> list[EpochReport]:
    """Continue a run from its checkpoint where there is one.

    Args:
        run: Fresh.
        checkpoint: Its file; need not exist.
        recorded_epochs: Epochs that the study's records hold already.
        warn: Told when a checkpoint exists but cannot be used; the trial is then trained again from the start.

    Returns:
        Reports to be sent again: epochs that were trained and saved but not recorded. When the checkpoint is behind the records
        (or gone), the missing epochs are trained again and reported again; they must come out the same.
    """
    if checkpoint.is_file():
        try:
            run.load(checkpoint)
        except WeightsError as error:
            warn(f"trial {run.spec.trial_id} starts again: {error}")
    return [report for report in run.reports if report.epoch > recorded_epochs]
