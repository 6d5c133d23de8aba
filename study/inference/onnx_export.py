"""Confirmed models as one ONNX file: an image of any size in, probabilities out, nothing of this package needed."""

from __future__ import annotations

import copy
import json
import tempfile
import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from study.errors import StudyFailed
from study.inference.confirmed_models import ConfirmedModels
from study.inference.onnx_preparation import INPUT, OPSET, PREPARED, import_package, preparation_model, shown_side

if TYPE_CHECKING:
    from data_utils.config import DataConfig

PROBABILITIES, CALIBRATED = "probabilities", "calibrated"
"""Names of the model's outputs, float32 (C,); its input is that of the preparation."""

TOLERANCE = 1e-4
"""Largest difference between a probability of the file and one of PyTorch."""

_PIXELS = "pixels"
"""Name of the networks' own input, float32 (1, 3, height, width): what the preparation gives."""

_TINY = float(np.finfo(np.float32).tiny)
"""Smallest probability before its logarithm is taken, as in `analysis.statistics.calibration.temper`."""


def export_onnx(
    models: ConfirmedModels, data: DataConfig, temperature: float, path: Path, about: Mapping[str, Any]
) -> None:
    """Write the models of one arm, with their encoders and the preparation of images, as one file.

    Args:
        models: Confirmed models of one arm, on the CPU.
        data: The study's stored and validation sizes.
        temperature: Temperature of the mean probabilities.
        path: The file, replaced where it exists.
        about: Values that are kept in the file's metadata as JSON, e.g. the study's name.

    Raises:
        UsageError: the extra ``export`` is not installed.
    """
    onnx, compose = import_package("onnx"), import_package("onnx.compose")
    networks = _trace_networks(models, temperature, shown_side(data))
    preparation = preparation_model(data)
    # One version of the format for both.
    preparation.ir_version = networks.ir_version
    model = compose.merge_models(preparation, networks, io_map=[(PREPARED, _PIXELS)])
    model.producer_name = "wbc-study"
    metadata = {"classes": list(models.classes), "temperature": temperature, **about}
    for name, value in metadata.items():
        entry = model.metadata_props.add()
        entry.key, entry.value = name, value if isinstance(value, str) else json.dumps(value)
    onnx.checker.check_model(model, full_check=True)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(model.SerializeToString())


def check_onnx(
    path: Path,
    images: Sequence[NDArray[np.uint8]],
    expected: NDArray[np.floating[Any]],
    calibrated: NDArray[np.floating[Any]] | None = None,
) -> float:
    """Compare an exported file with PyTorch.

    Args:
        path: The file.
        images: N images, uint8 (height, width, 3) of any size, at least one.
        expected: (N, C), mean probabilities of the same models in PyTorch.
        calibrated: (N, C), the same calibrated; not compared when None.

    Returns:
        Largest absolute difference of a probability.

    Raises:
        UsageError: onnxruntime is not installed.
        StudyFailed: the difference is above `TOLERANCE`.
    """
    runtime = import_package("onnxruntime")
    session = runtime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    found = np.stack([session.run([PROBABILITIES, CALIBRATED], {INPUT: image}) for image in images])
    largest = float(np.abs(found[:, 0] - expected).max())
    if calibrated is not None:
        largest = max(largest, float(np.abs(found[:, 1] - calibrated).max()))
    if not largest <= TOLERANCE:
        raise StudyFailed(
            f"{path}: differs from PyTorch by up to {largest:.2g} in a probability, more than {TOLERANCE:g} allows, on"
            f" {len(images)} images. Do not use the file"
        )
    return largest


def _trace_networks(models: ConfirmedModels, temperature: float, side: int | None) -> Any:
    """Networks and encoders as an ONNX model, from prepared images of `side` px, or of any size, to both probabilities."""
    example = torch.zeros((1, 3, side or 224, side or 192))
    with warnings.catch_warnings(), tempfile.TemporaryDirectory() as folder:
        # Checks of shapes become constants, as they should; and torch announces another exporter (see below).
        warnings.simplefilter("ignore")
        torch.onnx.export(
            _CalibratedMean(models, temperature).eval(),
            (example,),
            Path(folder) / "network.onnx",
            # By tracing. The exporter that decomposes an exported program takes minutes for an ensemble with encoders.
            dynamo=False,
            input_names=[_PIXELS],
            output_names=[PROBABILITIES, CALIBRATED],
            dynamic_axes=None if side else {_PIXELS: {2: "height", 3: "width"}},
            opset_version=OPSET,
        )
        return import_package("onnx").load(Path(folder) / "network.onnx")


class _CalibratedMean(nn.Module):
    """What the exported networks compute for one prepared image: mean probabilities, and the same calibrated."""

    def __init__(self, models: ConfirmedModels, temperature: float) -> None:
        super().__init__()
        self.models, self.temperature = copy.deepcopy(models), temperature
        for module in list(self.modules()):
            for name, child in module.named_children():
                if isinstance(child, nn.AdaptiveAvgPool2d) and child.output_size not in (1, (1, 1)):
                    setattr(module, name, _MatrixPool(child.output_size))

    def forward(self, pixels: Tensor) -> tuple[Tensor, Tensor]:
        mean = self.models(pixels).mean(dim=0)[0]
        return mean, (mean.clamp(min=_TINY).log() / self.temperature).softmax(dim=0)


class _MatrixPool(nn.Module):
    """`nn.AdaptiveAvgPool2d` as two products of matrices, because the exporter takes it only where sizes divide each other."""

    def __init__(self, size: int | tuple[int | None, int | None] | None) -> None:
        super().__init__()
        self.size = size if isinstance(size, tuple) else (size, size)

    def forward(self, maps: Tensor) -> Tensor:
        # None keeps a side as it is.
        sides = [(int(source), target or int(source)) for source, target in zip(maps.shape[2:], self.size, strict=True)]
        by_row, by_column = (_bins(*each) for each in sides)
        return by_row @ maps @ by_column.T


def _bins(source: int, target: int) -> Tensor:
    """Share (target, source) of each position in each of the bins, which may overlap."""
    bins = torch.zeros(target, source)
    for position in range(target):
        start, end = position * source // target, -(-(position + 1) * source // target)
        bins[position, start:end] = 1 / (end - start)
    return bins
