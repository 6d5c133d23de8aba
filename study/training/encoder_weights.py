"""Weights of the encoders: drawn at random, given as files, or pretrained before."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

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


def draw_weights(config: StudyConfig, encoder: str) -> Autoencoder | ResidualClassifier:
    """A network as before its first gradient step, of the architecture and width of the study's pretrained one."""
    given = config.pretrain.of(encoder).weights
    width = config.model.width if given is None else load_given(given, encoder).width
    generator = stream(config.seed, "random encoder", encoder)
    if encoder == "prcc":
        return Autoencoder(width, generator)
    return ResidualClassifier(2, width, generator)


def find_weights(path: Path, encoder: str) -> Path:
    """The weights file that `pretrain.<encoder>.weights` means: a file, or that of an earlier study's run directory.

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
    """The network of an encoder from a weights file or an earlier study.

    Raises:
        WeightsError: not a file of this network, or a classifier of something else than two kinds of tissue.
    """
    path = find_weights(path, encoder)
    if encoder == "prcc":
        return load_published(path, "autoencoder")
    network = load_published(path, "classifier")
    if network.classes != 2:
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


def load_encoder(folder: Path, network: str) -> Encoder | HandcraftedFeatures:
    """A frozen encoder of a study: pretrained, with random weights, or none that anybody learned."""
    if network == HANDCRAFTED:
        return HandcraftedFeatures()
    if network.removesuffix(RANDOM_SUFFIX) == "prcc":
        return Encoder.from_autoencoder(load_published(folder / WEIGHTS, "autoencoder"), network)
    return Encoder.from_classifier(load_classifier(folder), network)


def load_classifier(folder: Path) -> ResidualClassifier:
    """The whole network of which the CAM16 encoder is the trunk."""
    return load_published(folder / WEIGHTS, "classifier")
