"""The preparation of images inside an exported file is that of validation images."""

from __future__ import annotations

import pytest
import torch

from data_utils.config import DataConfig
from study.errors import UsageError
from study.inference.onnx_preparation import preparation_model
from tests.study.inference.noise import SIZES, noise, prepared

onnxruntime = pytest.importorskip("onnxruntime", reason="needs the extra export")


@pytest.mark.parametrize(
    "settings",
    [
        {"image_size": 16},
        {"image_size": 32, "stored_size": 48},
        {"validation_size": 40, "stored_size": 20},
        {"validation_size": "original", "stored_size": 24},
        {"validation_size": "original"},
    ],
)
def test_images_of_any_size_are_prepared_as_validation_images(settings: dict[str, object]) -> None:
    data = DataConfig.model_validate(settings)
    session = onnxruntime.InferenceSession(preparation_model(data).SerializeToString())
    for size in SIZES:
        (found,) = session.run(None, {"image": noise(*size)})
        # A pixel that Pillow would have rounded otherwise differs by 4e-3.
        torch.testing.assert_close(torch.from_numpy(found), prepared(noise(*size), data), atol=1e-5, rtol=0)


def test_without_the_extra_it_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "onnx", None)
    with pytest.raises(UsageError, match=r"wbc-study\[export\]"):
        preparation_model(DataConfig())
