"""What one trial sees of the pretrained networks: its latent vectors, those of another image, or noise made of them."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from models.classifier import ResidualClassifier
from models.encoders import Encoder
from models.fusion import Standardisation
from models.handcrafted import HandcraftedFeatures
from models.initialisation import stream
from study.design.arms import Arm
from study.training.batches import ImageBatches


@dataclass(frozen=True)
class StudyFeatures:
    """What the pretrained networks give a study; shared by all trials of a process, which only read it."""

    latents: Mapping[str, NDArray[np.float32]] = field(default_factory=dict)
    """Network (a folder below ``pretrain/``, such as ``cam16`` or ``cam16-random``) -> (N, L) of every whole image."""
    encoders: Mapping[str, Encoder | HandcraftedFeatures] = field(default_factory=dict)
    """Network -> the encoder itself, on the trials' device; only with live features."""
    classifiers: Mapping[str, ResidualClassifier] = field(default_factory=dict)
    """Network -> the classifier that arms with ``finetune`` start from."""
    weights: Mapping[str, Mapping[str, Tensor]] = field(default_factory=dict)
    """Network of torchvision -> given weights that its arms start from, without those of the head."""


class TrialLatents:
    """Latent vectors for the images and crops of one trial, by encoder.

    - Cached features: those of the whole image, for its crops too. Live ones: in training those of the very crop.
    - Control ``shuffled``: those of another image, always the same one, of any class. Images swap within their split, so that
      nothing of a validation or test image is seen in training.
    """

    def __init__(self, arm: Arm, seed: int, features: StudyFeatures, batches: ImageBatches, device: torch.device):
        """Choose what the arm sees.

        Args:
            arm: The trial's.
            seed: The trial's; the control ``shuffled`` draws another exchange of images for each.
            features: Of the study, with latents (and live encoders) of all the arm's networks.
            batches: Blood-cell images.
            device: Where to put the latent vectors.
        """
        self._seed, self._batches = seed, batches
        networks = arm.latent_folders
        self.partners = shuffled_rows(batches.arrays.splits, seed) if arm.control == "shuffled" else None
        order = slice(None) if self.partners is None else self.partners
        self.stored = {
            encoder: torch.from_numpy(np.array(features.latents[network][order])).to(device)
            for encoder, network in networks.items()
        }
        """Encoder -> (N, L) for every image of the arrays."""
        self._live = {
            encoder: features.encoders[network] for encoder, network in networks.items() if network in features.encoders
        }

    @property
    def sizes(self) -> dict[str, int]:
        """Length of the latent vector by encoder; empty for an arm that sees none."""
        return {encoder: latents.shape[1] for encoder, latents in self.stored.items()}

    def of_images(self, at: Tensor) -> dict[str, Tensor]:
        """Latents (B, L) of whole images at positions `at`, int64 (B,) on the device."""
        return {encoder: latents[at] for encoder, latents in self.stored.items()}

    def of_crops(self, rows: NDArray[np.int64], at: Tensor, crops: Tensor, step: int) -> dict[str, Tensor]:
        """Latents to train on.

        Args:
            rows: (B,) positions in the arrays.
            at: The same on the device.
            crops: (B, 3, H, W), what the classifier sees of them.
            step: Number of the gradient step since the trial began.
        """
        if not self._live:
            return self.of_images(at)
        if self.partners is not None:
            crops = self._batches.crops(self.partners[rows], stream(self._seed, "shuffled", "crops", step))
        return {encoder: network(crops) for encoder, network in self._live.items()}


def shuffled_rows(splits: NDArray[np.str_], seed: int) -> NDArray[np.int64]:
    """For every image the one whose features stand in for its own: a permutation inside each split, blind to classes.

    Args:
        splits: (N,) of every image.
        seed: Of the trial.

    Returns:
        int64 (N,).
    """
    partners = np.arange(len(splits))
    for split in np.unique(splits):
        members = np.flatnonzero(splits == split)
        order = torch.randperm(len(members), generator=stream(seed, "shuffled", str(split)))
        partners[members] = members[order.numpy()]
    return partners


class PublishedNoise:
    """What the published code added to the logits in training and left out when it scored.

    The features of one fixed batch, whatever images are trained on, pass for each encoder through a linear head that is
    newly random at every gradient step; their sum is added to the classifier's logits. So nothing in it depends on the image, and
    nothing in it learns: it is noise, with a standard deviation of about 0.6 for each encoder.
    """

    def __init__(self, arm: Arm, seed: int, features: StudyFeatures, train: NDArray[np.int64], batch_size: int):
        """Choose the fixed batch.

        Args:
            arm: The control.
            seed: Of the trial; batch and heads follow from it.
            features: Of the study.
            train: Positions of the labelled subset, whose images the batch is drawn from.
            batch_size: Of the training.
        """
        self._seed = seed
        batch = torch.randperm(len(train), generator=stream(seed, "published", "batch"))[:batch_size].numpy()
        self._latents = {}
        for encoder, network in arm.encoder_folders.items():
            latents = torch.from_numpy(np.array(features.latents[network][train]))
            # Standardised, as everywhere: raw ones of a wide range would drown the classifier.
            standardisation = Standardisation(latents.shape[1])
            standardisation.fit(latents)
            self._latents[encoder] = standardisation(latents[batch])

    def logits(self, step: int, count: int, classes: int) -> Tensor:
        """What is added to the logits of a step's images.

        Args:
            step: Number of the gradient step since the trial began.
            count: Images of the step; where they are more than the fixed batch, it repeats.
            classes: Number of logits.

        Returns:
            float32 (count, classes) on the CPU.
        """
        added = torch.zeros(count, classes)
        for encoder, latents in self._latents.items():
            generator = stream(self._seed, "published", "head", encoder, step)
            # torch's default for a linear layer, as the published code built one at every call.
            bound = 1 / math.sqrt(latents.shape[1])
            weight, bias = (
                bound * (2 * torch.rand(n, classes, generator=generator) - 1) for n in (latents.shape[1], 1)
            )
            added += (latents @ weight + bias)[torch.arange(count) % len(latents)]
        return added
