"""What a trial minimises: the network of its arm, what the network is shown, and the loss; and how the network is scored."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from analysis.records.schema import Fusion
from data_utils.augmentation import ColourJitter, draw_colours, recolour
from models.fusion import FusedClassifier
from models.segmentation import SegmentationTask
from models.torchvision_classifiers import TorchvisionClassifier
from study.training.class_balance import subset_weights
from study.training.device import Forward, to_device
from study.training.masks import MaskLearning
from study.training.networks import Network, build_network, use_channels_last
from study.training.trial_features import PublishedNoise, StudyFeatures, TrialLatents

if TYPE_CHECKING:
    from study.config.study import StudyConfig
    from study.config.training import TrainingConfig
    from study.design.trials import TrialSpec
    from study.training.batches import ImageBatches
    from study.training.trial_streams import Streams


@dataclass(frozen=True)
class EpochDraws:
    """The generators that crops and colours of one epoch are drawn from."""

    crops: torch.Generator
    colours: torch.Generator


@dataclass(frozen=True)
class BatchLoss:
    """What the network makes of one training batch."""

    objective: Tensor
    """Scalar with gradient, to descend along: with weights of classes and the loss of masks, where there are any."""
    unweighted: Tensor
    """Scalar without gradient, to record: mean cross-entropy of the images."""
    correct: Tensor
    """int64 scalar: number of images that are classified correctly."""


class Objective:
    """Network and loss of one trial.

    Attributes:
        network: The network of the arm, on the device.
        latents: The latent vectors that the network takes.
        masks: What draws crops, and masks where the arm learns from them.
    """

    def __init__(
        self,
        config: StudyConfig,
        spec: TrialSpec,
        rows: NDArray[np.int64],
        batches: ImageBatches,
        features: StudyFeatures,
        streams: Streams,
        device: torch.device,
    ) -> None:
        """Build the network with its initial weights.

        Args:
            config: The study's configuration, with what the search chose for this trial.
            spec: The trial.
            rows: int64 (N,), positions of the labelled subset in the arrays.
            batches: Blood-cell images.
            features: What the pretrained networks give.
            streams: The trial's random streams.
            device: Where to train.
        """
        arrays, self._training = batches.arrays, config.training
        self._arm, self._batches, self._streams, self._device = spec.arm, batches, streams, device
        self._labels = torch.from_numpy(np.asarray(arrays.labels)).to(device)
        self._classes = len(arrays.classes)
        weights = subset_weights(arrays.labels[rows], self._classes, config.training)
        self._class_weights = None if weights is None else torch.tensor(weights, dtype=torch.float32, device=device)
        self._colours = _colour_jitter(config.training)
        self.latents = TrialLatents(spec.arm, spec.seed, features, batches, device)
        self._noise = (
            PublishedNoise(spec.arm, spec.seed, features, rows, config.training.batch_size)
            if spec.arm.control == "published"
            else None
        )
        self._forward = Forward(config, device)
        network = build_network(config, spec.arm, self._classes, self.latents.sizes, streams)
        self._start_from_given_weights(network, features)
        if self.latents.sizes and not isinstance(network, TorchvisionClassifier):
            # Statistics of whole images, also where crops are encoded: those of crops would need a pass over them first.
            network.set_statistics(self.latents.of_images(torch.from_numpy(rows).to(device)))
        self.masks = MaskLearning(batches, self._segmentation_of(network), config.training.segmentation_weight)
        self.network = use_channels_last(network.to(device))

    def parameters(self) -> list[nn.Parameter]:
        """Everything that is trained or frozen: the network's parameters, then those of the head that learns from masks."""
        return [*self.network.parameters(), *self.masks.parameters()]

    def start_epoch(self, epoch: int) -> EpochDraws:
        """Set the network to training mode and open the epoch's random streams.

        Args:
            epoch: Number of the epoch, from 1.
        """
        self.network.train()
        if self._arm.fusion == Fusion.FINETUNE and isinstance(self.network, FusedClassifier):
            self.network.classifier.freeze_trunk(epoch <= self._training.frozen_epochs)
        return EpochDraws(self._streams("crops", epoch), self._streams("colours", epoch))

    def loss(self, rows: NDArray[np.int64], draws: EpochDraws, step: int) -> BatchLoss:
        """Show a batch of crops to the network and compare its answers with the labels.

        Args:
            rows: int64 (B,), positions of the images in the arrays.
            draws: What crops and colours are drawn from.
            step: Number of gradient steps since the trial began.
        """
        images, masks = self.masks.crops(rows, draws.crops)
        if self._colours.is_on:
            images = recolour(images, draw_colours(len(rows), draws.colours), self._colours)
        images = images.contiguous(memory_format=torch.channels_last)
        at = to_device(torch.from_numpy(rows), self._device)
        target = self._labels[at]
        logits = self._forward(self.network, images, self.latents.of_crops(rows, at, images, step))
        if self._noise is not None:
            logits = logits + self._noise.logits(step, len(rows), self._classes).to(self._device)
        unweighted = cross_entropy(logits, target)
        objective = self.masks.add_loss(self._weighted(unweighted, logits, target), masks)
        return BatchLoss(objective, unweighted.detach(), (logits.detach().argmax(dim=1) == target).sum())

    def validate(self, rows: NDArray[np.int64]) -> tuple[NDArray[np.int64], float]:
        """Score whole images through the same fusion.

        Args:
            rows: int64 (N,), positions of the images in the arrays.

        Returns:
            Confusion matrix, int64 (classes, classes), rows are true classes; and the mean cross-entropy.
        """
        counts = torch.zeros(self._classes**2, dtype=torch.int64, device=self._device)
        loss_sum = torch.zeros((), device=self._device, dtype=torch.float64)
        for chunk, logits in self.score(rows):
            target = self._labels[to_device(torch.from_numpy(rows[chunk]), self._device)]
            loss_sum += cross_entropy(logits, target, reduction="sum").double()
            counts += torch.bincount(target * self._classes + logits.argmax(dim=1), minlength=self._classes**2)
        confusion = counts.cpu().numpy().reshape(self._classes, self._classes)
        return confusion, float(loss_sum) / len(rows)

    def probabilities(self, rows: NDArray[np.int64]) -> NDArray[np.float32]:
        """Class probabilities of whole images at positions `rows`, int64 (N,), in the arrays: float32 (N, classes)."""
        probabilities = np.empty((len(rows), self._classes), dtype=np.float32)
        for chunk, logits in self.score(rows):
            probabilities[chunk] = logits.softmax(dim=1).cpu().numpy()
        return probabilities

    @torch.inference_mode()
    def score(self, rows: NDArray[np.int64]) -> list[tuple[NDArray[np.int64], Tensor]]:
        """Logits of whole images, in batches: positions in `rows`, int64 (B,), with float32 (B, classes)."""
        self.network.eval()
        scored = []
        for chunk, images in self._batches.whole(rows):
            at = to_device(torch.from_numpy(rows[chunk]), self._device)
            ordered = images.contiguous(memory_format=torch.channels_last)
            scored.append((chunk, self._forward(self.network, ordered, self.latents.of_images(at))))
        return scored

    def _start_from_given_weights(self, network: Network, features: StudyFeatures) -> None:
        """Replace initial weights by pretrained ones, in arms that start from them."""
        if self._arm.fusion == Fusion.FINETUNE and isinstance(network, FusedClassifier):
            (encoder_id,) = self._arm.encoder_folders.values()
            network.classifier.start_from(features.classifiers[encoder_id])
        if self._arm.encoders and isinstance(network, TorchvisionClassifier):
            network.start_from(features.weights[self._arm.classifier])

    def _segmentation_of(self, network: Network) -> SegmentationTask | None:
        """The head that learns from masks, on the device; None in arms without masks."""
        wanted = self._arm.segmentation and self._training.segmentation_weight > 0
        if not (wanted and isinstance(network, FusedClassifier)):
            return None
        task = SegmentationTask(network.classifier, self._streams("segmentation"))
        task.head.to(self._device).to(memory_format=torch.channels_last)
        return task

    def _weighted(self, unweighted: Tensor, logits: Tensor, target: Tensor) -> Tensor:
        """The mean loss of a batch with the weights of its classes; the unweighted one where there are none."""
        if self._class_weights is None:
            return unweighted
        # Not cross_entropy's own weighted mean: it divides by the weights of the batch, and a batch of one class would lose its
        # weight.
        return (cross_entropy(logits, target, reduction="none") * self._class_weights[target]).mean()


def _colour_jitter(training: TrainingConfig) -> ColourJitter:
    return ColourJitter(
        training.stain_jitter, training.brightness, training.contrast, training.saturation, training.hue
    )
