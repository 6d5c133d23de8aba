"""What all trials of a process share: images, and what the study's run directory has of encoders and given weights.

The driver imports this module; torch is imported only when the inputs are opened.
"""

from __future__ import annotations

import socket
from typing import TYPE_CHECKING

from analysis.records.schema import Fusion
from study.config.study import StudyConfig
from study.design.arms import HANDCRAFTED, encoder_ids, latent_encoder_ids, list_arms
from study.errors import StudyFailed
from study.storage.run_directory import WEIGHTS

if TYPE_CHECKING:
    from pathlib import Path

    import torch

    from study.training.batches import ImageBatches
    from study.training.trial_features import StudyFeatures


def open_inputs(
    config: StudyConfig, folder: Path, fingerprint: str
) -> tuple[ImageBatches, StudyFeatures, torch.device]:
    """Open the images, what the pretrained networks give, and the device.

    Builds the image cache on a node that has none yet; opens it where it exists.

    Args:
        config: The study's configuration.
        folder: The run directory or its working copy.
        fingerprint: Fingerprint of the blood-cell images that the study began with.

    Raises:
        StudyFailed: this machine has other images.
    """
    from models.checkpoints import load_tensors
    from study.storage.local_images import open_images
    from study.training.batches import ImageBatches
    from study.training.device import choose_device, image_memory_budget
    from study.training.encoder_weights import load_classifier, load_encoder
    from study.training.latents import open_latents
    from study.training.trial_features import StudyFeatures

    device = choose_device()
    arrays = open_images(config.data, "wbc")
    if arrays.fingerprint != fingerprint:
        raise StudyFailed(
            f"the images of {socket.gethostname()} have fingerprint {arrays.fingerprint}, but the study began with {fingerprint}."
            " Restore them; results on other images say nothing about the study's"
        )
    arms = list_arms(config)
    encoded, pretrained = latent_encoder_ids(arms), folder / "pretrain"
    # Live features are those of encoders; handcrafted ones are always of whole images.
    live = [encoder_id for encoder_id in encoded if encoder_id != HANDCRAFTED] if config.arms.features == "live" else []
    features = StudyFeatures(
        latents=open_latents(folder, encoded, arrays),
        encoders={encoder_id: load_encoder(pretrained / encoder_id, encoder_id).to(device) for encoder_id in live},
        classifiers={
            encoder_id: load_classifier(pretrained / encoder_id)
            for encoder_id in encoder_ids(arm for arm in arms if arm.fusion == Fusion.FINETUNE)
        },
        weights={
            classifier: load_tensors(pretrained / classifier / WEIGHTS)[0]
            for classifier in encoder_ids(arm for arm in arms if arm.classifier)
        },
    )
    share = config.resources.gpu if isinstance(config.resources.gpu, float) else 1.0
    return ImageBatches(arrays, config.data, device, image_memory_budget(device, share)), features, device
