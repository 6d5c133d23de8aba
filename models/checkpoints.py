"""Weights and training states in files: safetensors of our own, and the published `.pth` files."""

from __future__ import annotations

import os
import pickle
import struct
import warnings
import zlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal, overload
from uuid import uuid4

import safetensors
import torch
from safetensors import SafetensorError, TensorSpec, safe_open
from torch import Tensor

from models.autoencoder import Autoencoder
from models.classifier import ResidualClassifier
from models.errors import WeightsError
from models.nested_state import STRUCTURE, flatten_state, unflatten_state

__all__ = [
    "flatten_state",
    "list_differences",
    "load_published",
    "load_state",
    "load_tensors",
    "read_tensors",
    "save_state",
    "save_tensors",
    "unflatten_state",
]

_DAMAGED_PICKLE = (
    pickle.UnpicklingError,
    ArithmeticError,
    AssertionError,
    AttributeError,
    EOFError,
    LookupError,
    MemoryError,
    OSError,
    RuntimeError,
    TypeError,
    ValueError,
    struct.error,
)
"""What torch's restricted unpickler raises on arbitrary bytes: it interprets them, so nearly anything can go wrong."""

_CHECKSUM = "crc32"
"""Metadata key of the checksum over all values."""

_SHOWN = 5
"""Number of names listed for each kind of difference; more would bury the message."""


def save_tensors(path: Path | str, tensors: Mapping[str, Tensor], metadata: Mapping[str, str] | None = None) -> None:
    """Write tensors to a safetensors file that is there completely or not at all.

    The content is written to a temporary file in the same folder, flushed to the disk and renamed: neither a reader nor a
    crash ever leaves or finds half a file. Missing parent folders are made.

    Args:
        path: Replaced where it exists.
        tensors: Any dtype that safetensors knows, any device; stored as contiguous copies, so they may share memory.
        metadata: Text kept beside the tensors.

    Raises:
        OSError: The folder cannot be written.
    """
    path = Path(path)
    plain = {name: tensor.detach().to("cpu", copy=True).contiguous() for name, tensor in tensors.items()}
    # Like safetensors.torch.save, but without its detour over numpy and its search for shared memory. They cost more than
    # everything else here: a checkpoint has hundreds of small tensors and is written after every epoch.
    specs = {
        name: TensorSpec(
            dtype=str(tensor.dtype).removeprefix("torch."),
            shape=tuple(tensor.shape),
            data_ptr=tensor.data_ptr(),
            data_len=tensor.nbytes,
        )
        for name, tensor in plain.items()
    }
    content: bytes = safetensors.serialize(specs, metadata={**(metadata or {}), _CHECKSUM: _checksum(plain)})
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{uuid4().hex}.tmp")
    try:
        with temporary.open("xb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)
    _sync_folder(path.parent)


def load_tensors(path: Path | str) -> tuple[dict[str, Tensor], dict[str, str]]:
    """Read a safetensors file.

    Returns:
        Tensors on the CPU, in memory of their own (the file may be replaced or deleted), and the metadata.

    Raises:
        WeightsError: The file is missing, cannot be read or is damaged, even where only values differ from those written.
    """
    path = _existing(path)
    try:
        with safe_open(path, framework="pt", device="cpu") as file:
            tensors = {name: file.get_tensor(name).clone() for name in file.keys()}  # noqa: SIM118 - not a mapping
            metadata = dict(file.metadata() or {})
    except (SafetensorError, OSError) as error:
        raise WeightsError(
            f"{path} is not a readable safetensors file ({error}). It is damaged or of another format; "
            "delete it, so that it is made again, or restore it from where it came from."
        ) from error
    expected = metadata.pop(_CHECKSUM, None)
    if expected is not None and expected != _checksum(tensors):
        raise WeightsError(
            f"{path} does not hold the values that were written to it (checksum). It is damaged; delete it, so that it is made "
            "again, or restore it from where it came from."
        )
    return tensors, metadata


def _checksum(tensors: Mapping[str, Tensor]) -> str:
    """CRC-32 over all values, in the order of the names, as eight hexadecimal digits; it finds a damaged file."""
    found = 0
    for name in sorted(tensors):
        found = zlib.crc32(tensors[name].reshape(-1).view(torch.uint8).numpy().data, found)
    return f"{found:08x}"


def save_state(path: Path | str, state: Mapping[Any, Any], metadata: Mapping[str, str] | None = None) -> None:
    """Write a nested training state (see `flatten_state`) as one safetensors file, atomically like `save_tensors`.

    Args:
        path: Replaced where it exists.
        state: For instance the state dicts of model, optimizer and schedule, generator states and counters.
        metadata: More text to keep beside it; the key ``structure`` is taken.

    Raises:
        TypeError: The state holds something that is neither a tensor nor plain.
        ValueError: The metadata uses the key ``structure``.
    """
    if metadata and STRUCTURE in metadata:
        raise ValueError(f"the metadata key {STRUCTURE!r} is taken by the state itself")
    tensors, structure = flatten_state(state)
    save_tensors(path, tensors, {**(metadata or {}), **structure})


def load_state(path: Path | str) -> tuple[dict[Any, Any], dict[str, str]]:
    """Read what `save_state` wrote.

    Returns:
        The state, equal to the saved one bit for bit with tensors on the CPU, and the metadata.

    Raises:
        WeightsError: The file is missing, damaged or holds no training state.
    """
    tensors, metadata = load_tensors(path)
    try:
        state = unflatten_state(tensors, metadata)
    except ValueError as error:
        raise WeightsError(
            f"{path} holds no training state: {error}. Delete it, so that it is made again, "
            "or give the path of a checkpoint."
        ) from error
    return state, {key: text for key, text in metadata.items() if key != STRUCTURE}


@overload
def load_published(path: Path | str, kind: Literal["classifier"]) -> ResidualClassifier: ...
@overload
def load_published(path: Path | str, kind: Literal["autoencoder"]) -> Autoencoder: ...
def load_published(path: Path | str, kind: Literal["classifier", "autoencoder"]) -> ResidualClassifier | Autoencoder:
    """Load one of the published networks, or one of ours of the same architecture.

    Number of classes and width are read off the shapes. A ``.pth`` file is unpickled with ``weights_only=True``:
    nothing in it is executed.

    Args:
        path: A state dict in a ``.safetensors`` file, or (any other suffix) saved by `torch.save`.
        kind: ``classifier`` for the white blood cell and CAM16 networks, ``autoencoder`` for the PRCC one.

    Returns:
        The network on the CPU in evaluation mode.

    Raises:
        WeightsError: The file is missing, damaged, not a plain state dict, of another architecture, or its values are
            not finite. For another architecture the message lists what is missing, unexpected and of another shape.
        ValueError: The kind is unknown.
    """
    if kind not in ("classifier", "autoencoder"):
        raise ValueError(f"unknown kind of network {kind!r}, expected 'classifier' or 'autoencoder'")
    path = Path(path)
    weights = read_tensors(path)
    network = _matching_classifier(weights) if kind == "classifier" else _matching_autoencoder(weights)
    differences = list_differences(network.state_dict(), weights)
    if differences:
        raise WeightsError(
            f"{path} does not hold the weights of the {kind}: {'; '.join(differences)}. "
            f"Give a state dict of models.{type(network).__name__}, such as the published one."
        )
    damaged = [name for name, value in weights.items() if not torch.isfinite(value).all()]
    if damaged:
        raise WeightsError(
            f"{path} has values that are not finite in {_listed(damaged)}; give a network that did not diverge."
        )
    network.load_state_dict(weights, strict=True)
    return network.eval()


def read_tensors(path: Path | str) -> dict[str, Tensor]:
    """Read a state dict on the CPU from a ``.safetensors`` file, or (any other suffix) one that `torch.save` wrote.

    Nothing in the file is executed.

    Raises:
        WeightsError: The file is missing, damaged, or not a plain state dict.
    """
    path = _existing(path)
    return load_tensors(path)[0] if path.suffix == ".safetensors" else _unpickle(path)


def _matching_classifier(weights: Mapping[str, Tensor]) -> ResidualClassifier:
    return ResidualClassifier(classes=_rows(weights, "fc.weight", 5), width=_rows(weights, "conv1.weight", 32))


def _matching_autoencoder(weights: Mapping[str, Tensor]) -> Autoencoder:
    return Autoencoder(width=_rows(weights, "encoder.0.weight", 32))


def _rows(weights: Mapping[str, Tensor], name: str, default: int) -> int:
    """First dimension of a tensor; the default where that says nothing, so that the differences can be listed."""
    shape = weights[name].shape if name in weights else torch.Size()
    # Wider than anything sensible: do not build a huge network only to say that it differs.
    return shape[0] if shape and 0 < shape[0] <= 1024 else default


def list_differences(expected: Mapping[str, Tensor], found: Mapping[str, Tensor]) -> list[str]:
    """Names of tensors that are missing, unexpected and of another shape, a few of each in words; empty where none differs."""
    missing = [name for name in expected if name not in found]
    unexpected = [name for name in found if name not in expected]
    shapes = [
        f"{name} {tuple(found[name].shape)} instead of {tuple(tensor.shape)}"
        for name, tensor in expected.items()
        if name in found and found[name].shape != tensor.shape
    ]
    named = (("missing", missing), ("unexpected", unexpected), ("of another shape", shapes))
    return [f"{len(names)} {what} ({_listed(names)})" for what, names in named if names]


def _listed(names: Sequence[str]) -> str:
    more = f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else ""
    return ", ".join(names[:_SHOWN]) + more


def _unpickle(path: Path) -> dict[str, Tensor]:
    """Read a state dict that `torch.save` wrote, without executing anything in it."""
    try:
        with warnings.catch_warnings():
            # For a file that is no state dict torch asks users to report a guessed protocol; the error below says what to do.
            warnings.filterwarnings("ignore", "Detected pickle protocol", UserWarning)
            loaded = torch.load(path, map_location="cpu", weights_only=True)
    except _DAMAGED_PICKLE as error:
        # The first sentence only: torch goes on to advise weights_only=False, which would run code from the file.
        reason = str(error).split(". ")[0].split("\n")[0] or type(error).__name__
        raise WeightsError(
            f"{path} is not a plain state dict that torch.load(weights_only=True) can read ({reason}). It is "
            "damaged, or whole objects were pickled; save the network with torch.save(model.state_dict(), path)."
        ) from error
    if not isinstance(loaded, Mapping):
        raise WeightsError(
            f"{path} holds a {type(loaded).__name__}, expected a plain state dict; "
            "save the network with torch.save(model.state_dict(), path)."
        )
    strange = [str(name) for name, value in loaded.items() if not (isinstance(name, str) and isinstance(value, Tensor))]
    if strange:
        raise WeightsError(
            f"{path} is not a plain state dict: {_listed(strange)} is no tensor. If the state dict is one of the "
            "entries, save that one alone with torch.save."
        )
    return dict(loaded)


def _existing(path: Path | str) -> Path:
    path = Path(path)
    if not path.is_file():
        found = "a folder" if path.is_dir() else "nothing"
        raise WeightsError(f"{path}: expected a weights file, found {found}. Check the path.")
    return path


def _sync_folder(folder: Path) -> None:
    """Make a rename durable, where the system lets a folder be opened (POSIX)."""
    if os.name != "posix":
        return
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
