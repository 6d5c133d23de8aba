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

from study.errors import StudyFailed, UsageError
from study.inference.confirmed import ConfirmedModels

if TYPE_CHECKING:
    from data_utils.config import DataConfig

OPSET = 20
"""Of the operators; onnxruntime knows it since 1.17."""

INPUT, PROBABILITIES, CALIBRATED = "image", "probabilities", "calibrated"
"""Names of the model's input, uint8 (height, width, 3), and of its outputs, float32 (C,)."""

TOLERANCE = 1e-4
"""Largest difference between a probability of the file and one of PyTorch."""

_TINY = float(np.finfo(np.float32).tiny)
"""As in `analysis.statistics.calibration.temper`."""

_PRECISION = 2.0**22
"""Pillow resizes 8-bit images with weights that are rounded to so many parts (Resample.c, PRECISION_BITS)."""


class _Pool(nn.Module):
    """`nn.AdaptiveAvgPool2d` as two products of matrices: the exporter takes it only where sizes divide each other."""

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


class _Answer(nn.Module):
    """What the exported network computes of prepared images: mean probabilities, and the same calibrated."""

    def __init__(self, models: ConfirmedModels, temperature: float) -> None:
        super().__init__()
        self.models, self.temperature = copy.deepcopy(models), temperature
        for module in list(self.modules()):
            for name, child in module.named_children():
                if isinstance(child, nn.AdaptiveAvgPool2d) and child.output_size not in (1, (1, 1)):
                    setattr(module, name, _Pool(child.output_size))

    def forward(self, pixels: Tensor) -> tuple[Tensor, Tensor]:
        mean = self.models(pixels).mean(dim=0)[0]
        return mean, (mean.clamp(min=_TINY).log() / self.temperature).softmax(dim=0)


def export_onnx(
    models: ConfirmedModels, data: DataConfig, temperature: float, path: Path, about: Mapping[str, Any]
) -> None:
    """Write the models of one arm, with their encoders and the preparation of images, as one file.

    Args:
        models: Of one arm, on the CPU.
        data: Of the study: stored and validation sizes.
        temperature: Of the mean probabilities.
        path: The file, replaced where it exists.
        about: Values that are kept in the file's metadata as JSON, e.g. the study's name.

    Raises:
        UsageError: the extra ``export`` is not installed.
    """
    onnx = _import("onnx")
    from onnx import compose

    side = shown_side(data)
    example = torch.zeros((1, 3, side or 224, side or 192))
    with warnings.catch_warnings(), tempfile.TemporaryDirectory() as folder:
        # Checks of shapes become constants, as they should; and torch announces another exporter (see below).
        warnings.simplefilter("ignore")
        torch.onnx.export(
            _Answer(models, temperature).eval(),
            (example,),
            Path(folder) / "network.onnx",
            # By tracing. The exporter that decomposes an exported program takes minutes for an ensemble with encoders.
            dynamo=False,
            input_names=["pixels"],
            output_names=[PROBABILITIES, CALIBRATED],
            dynamic_axes=None if side else {"pixels": {2: "height", 3: "width"}},
            opset_version=OPSET,
        )
        network = onnx.load(Path(folder) / "network.onnx")
    preparation = preparation_model(data)
    # One version of the format for both.
    preparation.ir_version = network.ir_version
    model = compose.merge_models(preparation, network, io_map=[("prepared", "pixels")])
    model.producer_name = "wbc-study"
    metadata = {"classes": list(models.classes), "temperature": temperature, **about}
    for name, value in metadata.items():
        entry = model.metadata_props.add()
        entry.key, entry.value = name, value if isinstance(value, str) else json.dumps(value)
    onnx.checker.check_model(model, full_check=True)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(model.SerializeToString())


def shown_side(data: DataConfig) -> int | None:
    """Side at which a network looks at whole images, px; None for their own size."""
    if data.validation_size == "original":
        return None
    return data.image_size if data.validation_size == "crop" else int(data.validation_size)


def preparation_model(data: DataConfig) -> Any:
    """The preparation of an image as an ONNX model: ``image``, uint8 (H, W, 3), to ``prepared``, float32 (1, 3, h, w).

    First what `data_utils.decoding.reduce_image` does, bit for bit as Pillow: columns, then rows, each rounded to 8 bits. Then
    what `data_utils.augmentation.resample` does with a whole image.

    Args:
        data: Of the study.
    """
    onnx = _import("onnx")
    side = shown_side(data)
    shape = f"{side}, {side}" if side else "height, width"
    lines = ["shape = Shape (image)", *_scalar("h0", "shape", 0), *_scalar("w0", "shape", 1)]
    if isinstance(data.stored_size, int):
        for name, value in (("half", 0.5), ("highest", 255.0), ("lowest", 0.0)):
            lines += _constant(name, "double", value)
        lines += ["rows0 = Cast <to = 11> (image)"]
        lines += _constant("shorter", "int64", data.stored_size)
        lines += ["smaller = Min (h0, w0)", "stored = Min (shorter, smaller)"]
        lines += ["stored_d = Cast <to = 11> (stored)", "smaller_d = Cast <to = 11> (smaller)"]
        lines += ["factor = Div (stored_d, smaller_d)"]
        for axis in ("h", "w"):
            lines += [f"{axis}0_d = Cast <to = 11> ({axis}0)", f"{axis}_scaled = Mul ({axis}0_d, factor)"]
            lines += [f"{axis}_rounded = Round ({axis}_scaled)", f"{axis}_whole = Cast <to = 7> ({axis}_rounded)"]
            lines += [f"{axis}1 = Max (stored, {axis}_whole)"]
            lines += _filter(f"reduce_{axis}", f"{axis}0", f"{axis}1", "double")
            lines += [*_constant(f"precision_{axis}", "double", _PRECISION)]
            lines += [
                f"parts_{axis} = Mul (reduce_{axis}, precision_{axis})",
                f"more_{axis} = Add (parts_{axis}, half)",
            ]
            lines += [
                f"counted_{axis} = Floor (more_{axis})",
                f"filter_{axis} = Div (counted_{axis}, precision_{axis})",
            ]
        # (H, W, 3) -> (H, w1, 3), and then (h1, w1 * 3).
        lines += ["narrow_sum = MatMul (filter_w, rows0)", *_round("narrow", "narrow_sum")]
        lines += ["columns_first = Transpose <perm = [1, 0, 2]> (narrow)"]
        lines += ["reduced_sum = MatMul (filter_h, columns_first)", *_round("reduced_t", "reduced_sum")]
        lines += ["reduced = Transpose <perm = [1, 0, 2]> (reduced_t)"]
    else:
        lines += ["reduced = Identity (image)", "h1 = Identity (h0)", "w1 = Identity (w0)"]
    lines += ["pixels = Cast <to = 1> (reduced)", "planes = Transpose <perm = [2, 0, 1]> (pixels)"]
    lines += _constant("scale", "float", 255.0)
    if side:
        lines += _constant("side", "int64", side)
        lines += [*_filter("by_row", "h1", "side", "float"), *_filter("by_column", "w1", "side", "float")]
        lines += ["shares = Div (by_row, scale)", "lower = MatMul (shares, planes)"]
        lines += ["turned = Transpose <perm = [1, 0]> (by_column)", "shown = MatMul (lower, turned)"]
    else:
        lines += ["shown = Div (planes, scale)"]
    lines += [
        *_constant("zero_f", "float", 0.0),
        *_constant("one_f", "float", 1.0),
        "clipped = Clip (shown, zero_f, one_f)",
    ]
    lines += ["first_axis = Constant <value = int64[1] {0}> ()", "prepared = Unsqueeze (clipped, first_axis)"]
    text = "\n".join(f"  {line}" for line in lines)
    graph = f"prepare (uint8[image_height, image_width, 3] image) => (float[1, 3, {shape}] prepared) {{\n{text}\n}}"
    return onnx.parser.parse_model(f'<ir_version: 10, opset_import: ["" : {OPSET}]>\n{graph}')


def check_onnx(
    path: Path,
    images: Sequence[NDArray[np.uint8]],
    expected: NDArray[np.floating[Any]],
    calibrated: NDArray[np.floating[Any]] | None = None,
) -> float:
    """Compare an exported file with PyTorch.

    Args:
        path: The file.
        images: uint8 (height, width, 3) of any size, at least one.
        expected: (N, C), probabilities of the same models in PyTorch.
        calibrated: (N, C), the calibrated ones; not compared when None.

    Returns:
        The largest absolute difference of a probability.

    Raises:
        UsageError: onnxruntime is not installed.
        StudyFailed: it is above `TOLERANCE`.
    """
    runtime = _import("onnxruntime")
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


def _filter(name: str, source: str, target: str, kind: str) -> list[str]:
    """Triangle filter (target, source) as `data_utils.augmentation` makes it for a whole image; sides are scalars."""
    number = {"float": 1, "double": 11}[kind]
    p = f"{name}_"
    constants = [*_constant(f"{p}half", kind, 0.5), *_constant(f"{p}one", kind, 1.0), *_constant(f"{p}zero", kind, 0.0)]
    return [
        *constants,
        f"{p}source = Cast <to = {number}> ({source})",
        f"{p}target = Cast <to = {number}> ({target})",
        f"{p}step = Div ({p}source, {p}target)",
        f"{p}numbers = Range ({p}zero, {p}target, {p}one)",
        f"{p}middles = Add ({p}numbers, {p}half)",
        f"{p}centres_flat = Mul ({p}step, {p}middles)",
        f"{p}axis_one = Constant <value = int64[1] {{1}}> ()",
        f"{p}centres = Unsqueeze ({p}centres_flat, {p}axis_one)",
        f"{p}places = Range ({p}zero, {p}source, {p}one)",
        f"{p}positions = Add ({p}places, {p}half)",
        f"{p}apart = Sub ({p}positions, {p}centres)",
        f"{p}distance = Abs ({p}apart)",
        f"{p}reach = Max ({p}step, {p}one)",
        f"{p}near = Div ({p}distance, {p}reach)",
        f"{p}height = Sub ({p}one, {p}near)",
        f"{p}weights = Max ({p}height, {p}zero)",
        f"{p}sums = ReduceSum ({p}weights, {p}axis_one)",
        f"{name} = Div ({p}weights, {p}sums)",
    ]


def _round(name: str, value: str) -> list[str]:
    """To the nearest 8-bit number, halves up."""
    return [
        f"{name}_up = Add ({value}, half)",
        f"{name}_down = Floor ({name}_up)",
        f"{name} = Clip ({name}_down, lowest, highest)",
    ]


def _scalar(name: str, vector: str, position: int) -> list[str]:
    return [*_constant(f"{name}_at", "int64", position), f"{name} = Gather <axis = 0> ({vector}, {name}_at)"]


def _constant(name: str, kind: str, value: float) -> list[str]:
    return [f"{name} = Constant <value = {kind} {{{value!r}}}> ()"]


def _import(name: str) -> Any:
    from importlib import import_module

    try:
        return import_module(name)
    except ModuleNotFoundError as error:
        raise UsageError(f"{name} is not installed: pip install 'wbc-study[export]'") from error
