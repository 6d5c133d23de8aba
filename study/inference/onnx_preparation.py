"""The preparation of an image as part of an exported file: what is done with validation images, as ONNX operators."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from study.errors import UsageError

if TYPE_CHECKING:
    from data_utils.config import DataConfig

OPSET = 20
"""Version of the operators; onnxruntime knows it since 1.17."""

INPUT, PREPARED = "image", "prepared"
"""Names of the preparation's input, uint8 (height, width, 3), and of its output, float32 (1, 3, height, width) in [0, 1]."""

_PRECISION = 2.0**22
"""Number of parts that Pillow rounds weights to when it resizes 8-bit images (Resample.c, PRECISION_BITS)."""

_TYPES = {"float": 1, "double": 11}
"""Type -> its number in the format."""


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
        data: The study's stored and validation sizes.

    Raises:
        UsageError: the extra ``export`` is not installed.
    """
    onnx = import_package("onnx")
    side = shown_side(data)
    lines = ["shape = Shape (image)", *_scalar("h0", "shape", 0), *_scalar("w0", "shape", 1)]
    if isinstance(data.stored_size, int):
        lines += _reduce(data.stored_size)
    else:
        lines += ["reduced = Identity (image)", "h1 = Identity (h0)", "w1 = Identity (w0)"]
    lines += _show(side)
    text = "\n".join(f"  {line}" for line in lines)
    shape = f"{side}, {side}" if side else "height, width"
    graph = f"prepare (uint8[image_height, image_width, 3] image) => (float[1, 3, {shape}] prepared) {{\n{text}\n}}"
    return onnx.parser.parse_model(f'<ir_version: 10, opset_import: ["" : {OPSET}]>\n{graph}')


def import_package(name: str) -> Any:
    """Import a package of the extra ``export``.

    Raises:
        UsageError: the extra is not installed.
    """
    try:
        return import_module(name)
    except ModuleNotFoundError as error:
        raise UsageError(f"{name} is not installed: pip install 'wbc-study[export]'") from error


def _reduce(shorter: int) -> list[str]:
    """``image`` with sides h0 and w0 to ``reduced`` with sides h1 and w1, of which the shorter one has at most `shorter` px."""
    lines: list[str] = []
    for name, value in (("half", 0.5), ("highest", 255.0), ("lowest", 0.0)):
        lines += _constant(name, "double", value)
    lines += ["rows0 = Cast <to = 11> (image)"]
    lines += _constant("shorter", "int64", shorter)
    lines += ["smaller = Min (h0, w0)", "stored = Min (shorter, smaller)"]
    lines += ["stored_d = Cast <to = 11> (stored)", "smaller_d = Cast <to = 11> (smaller)"]
    lines += ["factor = Div (stored_d, smaller_d)"]
    for axis in ("h", "w"):
        lines += _reduced_side(axis)
    # (H, W, 3) -> (H, w1, 3), and then (h1, w1 * 3).
    return [
        *lines,
        "narrow_sum = MatMul (filter_w, rows0)",
        *_round("narrow", "narrow_sum"),
        "columns_first = Transpose <perm = [1, 0, 2]> (narrow)",
        "reduced_sum = MatMul (filter_h, columns_first)",
        *_round("reduced_t", "reduced_sum"),
        "reduced = Transpose <perm = [1, 0, 2]> (reduced_t)",
    ]


def _reduced_side(axis: str) -> list[str]:
    """Length of a side after the reduction, and the filter along it with weights as Pillow rounds them."""
    return [
        f"{axis}0_d = Cast <to = 11> ({axis}0)",
        f"{axis}_scaled = Mul ({axis}0_d, factor)",
        f"{axis}_rounded = Round ({axis}_scaled)",
        f"{axis}_whole = Cast <to = 7> ({axis}_rounded)",
        f"{axis}1 = Max (stored, {axis}_whole)",
        *_filter(f"reduce_{axis}", f"{axis}0", f"{axis}1", "double"),
        *_constant(f"precision_{axis}", "double", _PRECISION),
        f"parts_{axis} = Mul (reduce_{axis}, precision_{axis})",
        f"more_{axis} = Add (parts_{axis}, half)",
        f"counted_{axis} = Floor (more_{axis})",
        f"filter_{axis} = Div (counted_{axis}, precision_{axis})",
    ]


def _show(side: int | None) -> list[str]:
    """``reduced`` with sides h1 and w1 to ``prepared``: in [0, 1], and square with `side` px where that is not None."""
    lines = ["pixels = Cast <to = 1> (reduced)", "planes = Transpose <perm = [2, 0, 1]> (pixels)"]
    lines += _constant("scale", "float", 255.0)
    if side:
        lines += _constant("side", "int64", side)
        lines += [*_filter("by_row", "h1", "side", "float"), *_filter("by_column", "w1", "side", "float")]
        lines += ["shares = Div (by_row, scale)", "lower = MatMul (shares, planes)"]
        lines += ["turned = Transpose <perm = [1, 0]> (by_column)", "shown = MatMul (lower, turned)"]
    else:
        lines += ["shown = Div (planes, scale)"]
    return [
        *lines,
        *_constant("zero_f", "float", 0.0),
        *_constant("one_f", "float", 1.0),
        "clipped = Clip (shown, zero_f, one_f)",
        "first_axis = Constant <value = int64[1] {0}> ()",
        "prepared = Unsqueeze (clipped, first_axis)",
    ]


def _filter(name: str, source: str, target: str, kind: str) -> list[str]:
    """Triangle filter (target, source) as `data_utils.augmentation` makes it for a whole image; sides are scalars."""
    number = _TYPES[kind]
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
