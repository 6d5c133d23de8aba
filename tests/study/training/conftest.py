"""Configurations of the tiny study that share one cache of images, and trainings of its arms."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch

from data_utils.cache import prepare
from models.autoencoder import Autoencoder
from models.classifier import ResidualClassifier
from models.encoders import Encoder
from models.initialisation import stream
from models.torchvision_classifiers import TorchvisionClassifier
from study.config.study import StudyConfig
from study.design.arms import HANDCRAFTED, Arm
from study.design.trials import TrialSpec
from study.training.batches import ImageBatches
from study.training.run import TrainingRun
from study.training.trial_features import StudyFeatures
from tests.study.tiny import TINY, merged
from tests.study.training.trials import BOTH, NETWORK, OFF


@pytest.fixture(scope="module")
def cache(tmp_path_factory: pytest.TempPathFactory) -> str:
    return str(tmp_path_factory.mktemp("cache"))


@pytest.fixture(scope="module")
def configure(cache: str) -> Callable[..., StudyConfig]:
    """Makes the tiny study's configuration with some settings replaced."""

    def make(**changes: Any) -> StudyConfig:
        return StudyConfig.model_validate(merged(merged(TINY, {"data": {"cache_dir": cache}}), changes))

    return make


@pytest.fixture
def start(configure: Callable[..., StudyConfig]) -> Callable[..., TrainingRun]:
    """Makes a run: start(arm, seed=..., changes to the configuration)."""
    torch.set_num_threads(1)

    def make(
        arm: Arm = OFF,
        seed: int = 0,
        phase: str = "search",
        learning_rate: float = 1e-3,
        settings: str = "{}",
        **changes: Any,
    ) -> TrainingRun:
        if arm.segmentation:
            weight = {"segmentation_weight": 0.5} if "search" not in changes else {}
            changes = merged({"arms": {"segmentation": [False, True]}, "training": weight}, changes)
        config = configure(**changes)
        arrays = prepare(config.data, "wbc")
        rng = np.random.default_rng(5)
        networks = [f"{name}{kind}" for kind in ("", "-random") for name in BOTH]
        latents = {name: rng.normal(size=(len(arrays), 64)).astype(np.float32) for name in (*networks, HANDCRAFTED)}
        tissue = {name: ResidualClassifier(2, 8, stream(1, name)) for name in ("cam16", "cam16-random")}
        encoders = {name: Encoder.from_classifier(network, name) for name, network in tissue.items()}
        encoders |= {
            name: Encoder.from_autoencoder(Autoencoder(8, stream(1, name))) for name in ("prcc", "prcc-random")
        }
        live = config.arms.features == "live"
        batches = ImageBatches(arrays, config.data, torch.device("cpu"))
        if live:
            whole = torch.cat([images for _, images in batches.whole(np.arange(len(arrays)))])
            latents |= {name: encoder(whole).numpy() for name, encoder in encoders.items()}
        spec = TrialSpec(phase, arm, 0, seed, learning_rate, 1e-4, settings)
        given = TorchvisionClassifier(NETWORK.classifier, 5, stream(9, "given")).network.state_dict()
        given = {name: tensor for name, tensor in given.items() if not name.startswith("classifier.3.")}
        features = StudyFeatures(latents, encoders if live else {}, tissue, {NETWORK.classifier: given})
        return TrainingRun(config, spec, batches, features, torch.device("cpu"))

    return make
