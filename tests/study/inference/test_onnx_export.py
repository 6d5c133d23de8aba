"""An exported file answers as PyTorch does."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from data_utils.config import DataConfig
from models import torchvision_classifiers
from models.autoencoder import Autoencoder
from models.encoders import Encoder
from models.initialisation import stream
from study.config.study import StudyConfig
from study.design.arms import Arm
from study.errors import StudyFailed
from study.inference.confirmed_models import ConfirmedModel, ConfirmedModels
from study.inference.onnx_export import check_onnx, export_onnx
from study.training.networks import build_network
from tests.study.inference.noise import SIZES, noise, prepared

onnxruntime = pytest.importorskip("onnxruntime", reason="needs the extra export")


class Pooled(nn.Sequential):
    """Pools 5 x 5 maps into 3 x 2 bins, as older networks pool whatever they are given."""

    def __init__(self, classes: int) -> None:
        super().__init__(
            nn.Conv2d(3, 8, 5, stride=5), nn.AdaptiveAvgPool2d((3, 2)), nn.Flatten(), nn.Linear(48, classes)
        )


def test_pooling_that_the_exporter_does_not_know_is_exported(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(torchvision_classifiers.OWN, "pooled", Pooled)
    config, arm = StudyConfig.model_validate({"data": {"image_size": 25}}), Arm(1.0, "off", classifier="pooled")
    network = build_network(config, arm, 5, {}, lambda purpose: stream(1, purpose))
    models = ConfirmedModels([ConfirmedModel("a", arm, 1, network)], {}, "ABCDE")
    export_onnx(models, config.data, 1.0, tmp_path / "model.onnx", {})
    images = [noise(*size) for size in SIZES]
    with torch.no_grad():
        expected = np.concatenate([models(prepared(image, config.data)).numpy()[0] for image in images])
    assert check_onnx(tmp_path / "model.onnx", images, expected) < 1e-6


def models_of(arm: Arm) -> ConfirmedModels:
    """Two untrained networks of an arm; with an encoder, whose features count."""
    encoders = (
        {"prcc": Encoder.from_autoencoder(Autoencoder(8, stream(3, "prcc")), "prcc")} if arm.fuses_latents else {}
    )
    made = []
    for seed in (1, 2):
        sizes = {name: encoder.latent_size for name, encoder in encoders.items()}
        config = StudyConfig.model_validate({"model": {"width": 8}})
        network = build_network(config, arm, 5, sizes, lambda purpose, seed=seed: stream(seed, purpose)).eval()
        with torch.no_grad():
            for name, weight in network.named_parameters():
                if name.startswith("fusion"):
                    weight.normal_(0, 0.3, generator=stream(seed, name))
        made.append(ConfirmedModel(str(seed), arm, seed, network))
    return ConfirmedModels(made, encoders, ("a", "b", "c", "d", "e"))


@pytest.mark.parametrize(
    ("fusion", "size"),
    [("off", "original"), ("sum", "crop"), ("concat", "crop"), ("gated", "original"), ("finetune", "crop")],
)
def test_every_fusion_agrees_with_pytorch_encoders_included(tmp_path: Path, fusion: str, size: str) -> None:
    arm = Arm(1.0, fusion, () if fusion == "off" else ("cam16",) if fusion == "finetune" else ("prcc",))  # type: ignore[arg-type]  # one of the modes
    models = models_of(arm)
    data = DataConfig.model_validate({"image_size": 32, "validation_size": size})
    export_onnx(models, data, 2.0, tmp_path / "model.onnx", {"study": "tiny"})
    images = [noise(*each) for each in SIZES]
    with torch.no_grad():
        expected = np.stack([models(prepared(image, data)).mean(dim=0)[0].numpy() for image in images])
    assert check_onnx(tmp_path / "model.onnx", images, expected) < 1e-5
    assert expected.std(axis=0).max() > 1e-4  # it is the image that decides
    session = onnxruntime.InferenceSession(tmp_path / "model.onnx")
    probabilities, calibrated = session.run(None, {"image": images[0]})
    np.testing.assert_allclose(calibrated, probabilities**0.5 / (probabilities**0.5).sum(), rtol=1e-4)
    assert session.get_modelmeta().custom_metadata_map["classes"] == '["a", "b", "c", "d", "e"]'
    with pytest.raises(StudyFailed, match=r"differs from PyTorch by up to 0\.01"):
        check_onnx(tmp_path / "model.onnx", images, expected + 0.01)
