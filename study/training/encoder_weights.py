"""Weights of the encoders: drawn at random, given as files, or pretrained by the study."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch

from analysis.records.schema import Fusion
from models.autoencoder import Autoencoder
from models.checkpoints import load_published
from models.classifier import ResidualClassifier
from models.encoders import Encoder
from models.errors import WeightsError
from models.handcrafted import HandcraftedFeatures
from models.initialisation import stream
from study.config.study import StudyConfig
from study.design.arms import HANDCRAFTED, RANDOM_SUFFIX, Arm
from study.storage.run_directory import WEIGHTS

_TISSUES = 2
"""Number of classes of the CAM16 network: normal and tumor."""


def draw_weights(config: StudyConfig, encoder: str) -> Autoencoder | ResidualClassifier:
    """Build the network of an encoder as before its first gradient step, in the width of the study's pretrained one."""
    given = config.pretrain.of(encoder).weights
    width = config.model.width if given is None else load_given(given, encoder).width
    return _ARCHITECTURES[encoder].draw(width, stream(config.seed, "random encoder", encoder))


def find_weights(path: Path, encoder: str) -> Path:
    """The weights file that `pretrain.<encoder>.weights` means: a file, or the one in an earlier study's run directory.

    Raises:
        WeightsError: a folder without the weights of this encoder.
    """
    if not path.is_dir():
        return path
    file = path / "pretrain" / encoder / WEIGHTS
    if not file.is_file():
        raise WeightsError(
            f"pretrain.{encoder}.weights: {path} is a folder without pretrain/{encoder}/{WEIGHTS}. Give a weights file, or the"
            f" run directory of a study that pretrained {encoder}"
        )
    return file


def load_given(path: Path, encoder: str) -> Autoencoder | ResidualClassifier:
    """Load the network of an encoder from a weights file or an earlier study.

    Raises:
        WeightsError: not a file of this network, or a classifier of something else than two kinds of tissue.
    """
    path = find_weights(path, encoder)
    network = _ARCHITECTURES[encoder].load(path)
    if isinstance(network, ResidualClassifier) and network.classes != _TISSUES:
        raise WeightsError(
            f"pretrain.{encoder}.weights: {path} is a classifier of {network.classes} classes, expected 2 (normal, tumor). One of"
            " white blood cells would carry their labels into the features; give the weights of the tissue classifier"
        )
    return network


def check_given(config: StudyConfig, encoder: str, arms: Sequence[Arm]) -> None:
    """Check given weights before anything is written: readable, of the right network, and of the width that arms need.

    Raises:
        WeightsError: as `load_given`; or arms start from the CAM16 network and the classifier has another width.
    """
    given = config.pretrain.of(encoder).weights
    if given is None:
        return
    width = load_given(given, encoder).width
    tuned = [arm.name for arm in arms if arm.fusion == Fusion.FINETUNE and encoder in arm.encoders]
    if tuned and width != config.model.width:
        raise WeightsError(
            f"pretrain.{encoder}.weights: {given} has width {width}, but model.width is {config.model.width}, and {tuned[0]}"
            f" starts the classifier from these weights. Set model.width to {width}, or leave finetune out of arms.fusion"
        )


def load_encoder(folder: Path, encoder_id: str) -> Encoder | HandcraftedFeatures:
    """Load a frozen encoder of a study: pretrained, with random weights, or the handcrafted features that have none.

    Args:
        folder: The encoder's folder in the run directory.
        encoder_id: Name of that folder, such as ``cam16`` or ``cam16-random``.
    """
    if encoder_id == HANDCRAFTED:
        return HandcraftedFeatures()
    return _ARCHITECTURES[encoder_id.removesuffix(RANDOM_SUFFIX)].freeze(folder / WEIGHTS, encoder_id)


def load_classifier(folder: Path) -> ResidualClassifier:
    """Load the whole network whose trunk is the CAM16 encoder, from that encoder's folder."""
    return load_published(folder / WEIGHTS, "classifier")


@dataclass(frozen=True)
class _Architecture:
    """How the network of one encoder is built and read."""

    draw: Callable[[int, torch.Generator], Autoencoder | ResidualClassifier]
    """Width and generator -> the network with random weights."""
    load: Callable[[Path], Autoencoder | ResidualClassifier]
    """Weights file -> the network."""
    freeze: Callable[[Path, str], Encoder]
    """Weights file and encoder id -> the frozen encoder."""


_ARCHITECTURES = {
    "prcc": _Architecture(
        draw=Autoencoder,
        load=lambda file: load_published(file, "autoencoder"),
        freeze=lambda file, name: Encoder.from_autoencoder(load_published(file, "autoencoder"), name),
    ),
    "cam16": _Architecture(
        draw=lambda width, generator: ResidualClassifier(_TISSUES, width, generator),
        load=lambda file: load_published(file, "classifier"),
        freeze=lambda file, name: Encoder.from_classifier(load_published(file, "classifier"), name),
    ),
}
