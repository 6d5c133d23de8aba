"""What the pretrained networks give to one trial: latent vectors of its images, those of other images, or noise made of them."""

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
    """What the pretrained networks give to a study. All trials of a process share it and only read it.

    An encoder id is the name of a folder below ``pretrain/``, such as ``cam16`` or ``cam16-random``.
    """

    latents: Mapping[str, NDArray[np.float32]] = field(default_factory=dict)
    """Encoder id -> float32 (N, L), latent vectors of all whole images."""
    encoders: Mapping[str, Encoder | HandcraftedFeatures] = field(default_factory=dict)
    """Encoder id -> the encoder itself, on the trials' device; empty unless features are live."""
    classifiers: Mapping[str, ResidualClassifier] = field(default_factory=dict)
    """Encoder id -> the classifier that arms with ``finetune`` start from."""
    weights: Mapping[str, Mapping[str, Tensor]] = field(default_factory=dict)
    """Classifier of torchvision -> name of a tensor -> given weights that its arms start from, without those of the head."""


class TrialLatents:
    """Latent vectors for the images and crops of one trial, by encoder.

    - Cached features: a crop has the latent vectors of its whole image. Live features: in training a crop has its own.
    - Control ``shuffled``: an image has the latent vectors of another one, always the same, of any class. Images are exchanged
      within their split, so that nothing of a validation or test image is seen in training.
    """

    def __init__(self, arm: Arm, seed: int, features: StudyFeatures, batches: ImageBatches, device: torch.device):
        """Choose what the arm sees.

        Args:
            arm: The trial's arm.
            seed: The trial's seed; the control ``shuffled`` draws another exchange of images for each.
            features: What the study has, with latent vectors (and live encoders) for all encoder ids of the arm.
            batches: Blood-cell images.
            device: Where to put the latent vectors.
        """
        self._seed, self._batches = seed, batches
        folders = arm.latent_folders
        self.partners = shuffled_rows(batches.arrays.splits, seed) if arm.control == "shuffled" else None
        order = slice(None) if self.partners is None else self.partners
        self.stored = {
            encoder: torch.from_numpy(np.array(features.latents[encoder_id][order])).to(device)
            for encoder, encoder_id in folders.items()
        }
        """Encoder -> float32 (N, L) for the N images of the arrays."""
        self._live = {
            encoder: features.encoders[encoder_id]
            for encoder, encoder_id in folders.items()
            if encoder_id in features.encoders
        }

    @property
    def sizes(self) -> dict[str, int]:
        """Encoder -> length of its latent vector; empty for an arm that takes none."""
        return {encoder: latents.shape[1] for encoder, latents in self.stored.items()}

    def of_images(self, at: Tensor) -> dict[str, Tensor]:
        """Encoder -> latent vectors (B, L) of the whole images at positions `at`, int64 (B,) on the device."""
        return {encoder: latents[at] for encoder, latents in self.stored.items()}

    def of_crops(self, rows: NDArray[np.int64], at: Tensor, crops: Tensor, step: int) -> dict[str, Tensor]:
        """Latent vectors to train on.

        Args:
            rows: int64 (B,), positions in the arrays.
            at: The same positions on the device.
            crops: (B, 3, H, W), the crops of these images that the classifier sees.
            step: Number of gradient steps since the trial began.

        Returns:
            Encoder -> (B, L).
        """
        if not self._live:
            return self.of_images(at)
        if self.partners is not None:
            crops = self._batches.crops(self.partners[rows], stream(self._seed, "shuffled", "crops", step))
        return {name: encoder(crops) for name, encoder in self._live.items()}


def shuffled_rows(splits: NDArray[np.str_], seed: int) -> NDArray[np.int64]:
    """Draw for every image the one whose features replace its own: a permutation inside each split, blind to classes.

    Args:
        splits: str (N,), split of every image.
        seed: The trial's seed.

    Returns:
        int64 (N,), position of the other image.
    """
    partners = np.arange(len(splits))
    for split in np.unique(splits):
        members = np.flatnonzero(splits == split)
        order = torch.randperm(len(members), generator=stream(seed, "shuffled", str(split)))
        partners[members] = members[order.numpy()]
    return partners


class PublishedNoise:
    """What the published code added to the logits in training and left out when it scored.

    The features of one fixed batch, whatever images are trained on, pass through a linear head for each encoder; the heads
    are newly drawn at every gradient step. The sum of what they give is added to the classifier's logits. Nothing in it depends
    on the image and nothing in it learns: it is noise, with a standard deviation of about 0.6 for each encoder.
    """

    def __init__(self, arm: Arm, seed: int, features: StudyFeatures, train: NDArray[np.int64], batch_size: int):
        """Choose the fixed batch.

        Args:
            arm: The control's arm.
            seed: The trial's seed, which decides batch and heads.
            features: What the study has.
            train: int64 (N,), positions of the labelled subset, whose images the batch is drawn from.
            batch_size: Number of images in a gradient step.
        """
        self._seed = seed
        batch = torch.randperm(len(train), generator=stream(seed, "published", "batch"))[:batch_size].numpy()
        self._latents = {}
        for encoder, encoder_id in arm.encoder_folders.items():
            latents = torch.from_numpy(np.array(features.latents[encoder_id][train]))
            # Standardised, as everywhere: raw vectors of a wide range would drown the classifier.
            standardisation = Standardisation(latents.shape[1])
            standardisation.fit(latents)
            self._latents[encoder] = standardisation(latents[batch])

    def logits(self, step: int, count: int, classes: int) -> Tensor:
        """What is added to the logits of a step's images.

        Args:
            step: Number of gradient steps since the trial began.
            count: Number of images in the step; where they are more than the fixed batch has, it repeats.
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
