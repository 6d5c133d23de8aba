"""Latent vectors of frozen encoders: computed once for every image, shared by all trials."""

from __future__ import annotations

import hashlib
import io
import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from data_utils.arrays import ImageArrays
from study.config.study import StudyConfig
from study.errors import StudyFailed
from study.storage.durable import write_durably
from study.storage.local_images import open_images
from study.training.batches import ImageBatches
from study.training.device import choose_device
from study.training.encoder_weights import load_encoder

LATENTS = "latents.npy"
"""File in an encoder's folder: float32 (N, L), one row for each image."""

_FINGERPRINT = "latents.json"
"""File beside it: fingerprint of the images, and SHA-256 of the vectors' file."""


def compute_latents(config: StudyConfig, encoder_id: str, folder: Path) -> None:
    """Encode every blood-cell image, un-augmented, at validation size, in fixed batches, and store the latent vectors.

    Does nothing where they are stored already: latent vectors of a study that is extended stay as they are.

    Args:
        config: The study's configuration.
        encoder_id: Name of the encoder's folder below ``pretrain/``.
        folder: That folder.
    """
    arrays = open_images(config.data, "wbc")
    if has_latents(folder, arrays):
        return
    torch.set_num_threads(config.resources.cpu)
    device = choose_device()
    encoder = load_encoder(folder, encoder_id).to(device)
    latents = np.empty((len(arrays), encoder.latent_size), dtype=np.float32)
    for chunk, images in ImageBatches(arrays, config.data, device).whole(np.arange(len(arrays))):
        latents[chunk] = encoder(images).cpu().numpy()
    folder.mkdir(parents=True, exist_ok=True)
    write_latents(folder, latents, arrays)


def write_latents(folder: Path, latents: NDArray[np.float32], arrays: ImageArrays) -> None:
    """Store the latent vectors of one encoder.

    Args:
        folder: The encoder's folder in the run directory.
        latents: float32 (N, L), latent vectors in the order of the images.
        arrays: The N images.
    """
    buffer = io.BytesIO()
    np.save(buffer, latents, allow_pickle=False)
    content = buffer.getvalue()
    write_durably(folder / LATENTS, content)
    fingerprint = {"images": arrays.fingerprint, "sha256": hashlib.sha256(content).hexdigest()}
    write_durably(folder / _FINGERPRINT, json.dumps(fingerprint).encode())


def has_latents(folder: Path, arrays: ImageArrays) -> bool:
    """Whether the latent vectors of exactly these images are stored."""
    try:
        stored = json.loads((folder / _FINGERPRINT).read_text())
    except (FileNotFoundError, ValueError):
        return False
    return bool(stored["images"] == arrays.fingerprint) and (folder / LATENTS).is_file()


def open_latents(run_folder: Path, encoders: Sequence[str], arrays: ImageArrays) -> dict[str, NDArray[np.float32]]:
    """Map the latent vectors of a study's encoders into memory.

    Args:
        run_folder: The run directory.
        encoders: Encoder ids: names of folders below ``pretrain/``.
        arrays: The N images that the vectors must belong to.

    Returns:
        Encoder id -> float32 (N, L).

    Raises:
        StudyFailed: the vectors were computed from other images than `arrays`, or are not what was written.
    """
    opened = {}
    for encoder_id in encoders:
        folder = run_folder / "pretrain" / encoder_id
        stored = json.loads((folder / _FINGERPRINT).read_text())
        if stored["images"] != arrays.fingerprint:
            raise StudyFailed(
                f"{folder / LATENTS} belongs to images with fingerprint {stored['images']}, but the images of this machine have"
                f" {arrays.fingerprint}. The data changed since the study began: restore it, or give the study another --name"
            )
        # Trials would learn from a damaged file without a sign of it. Studies from before this key was written have no checksum.
        found = hashlib.sha256((folder / LATENTS).read_bytes()).hexdigest()
        if found != stored.get("sha256", found):
            raise StudyFailed(
                f"{folder / LATENTS} does not hold what was written to it (checksum). Restore it from a copy, or give the study"
                " another --name"
            )
        opened[encoder_id] = np.load(folder / LATENTS, mmap_mode="r", allow_pickle=False)
    return opened
