"""Nested training state as flat tensors and text, and back, without losing a bit."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from typing import Any

from torch import Tensor

STRUCTURE = "structure"
"""Metadata key under which `flatten_state` keeps everything that is not a tensor."""


def flatten_state(state: Mapping[Any, Any]) -> tuple[dict[str, Tensor], dict[str, str]]:
    """Split a nested state into named tensors and JSON text.

    Made for state dicts of modules, optimizers (integer keys, tuples, None), learning-rate schedules (infinities) and
    random generators (uint8 tensors). JSON alone would turn integer keys into strings and tuples into lists, so both
    are tagged; floats survive because their shortest representation reads back as the same number.

    Args:
        state: Mappings, lists and tuples of tensors, str, int, float, bool and None; keys are str or int.

    Returns:
        Tensors named by their path (``"optimizer/state/0/exp_avg"``), and metadata with the one key ``structure``.

    Raises:
        TypeError: A value or key is of another type; the message gives its path.
    """
    tensors: dict[str, Tensor] = {}
    structure = _encode(state, "", tensors)
    return tensors, {STRUCTURE: json.dumps(structure, allow_nan=False)}


def unflatten_state(tensors: Mapping[str, Tensor], metadata: Mapping[str, str]) -> dict[Any, Any]:
    """Undo `flatten_state`; every mapping comes back as a dict in its old order.

    Args:
        tensors: As `flatten_state` returned them; used, not copied.
        metadata: As `flatten_state` returned it; other keys are ignored.

    Raises:
        ValueError: The metadata has no readable structure, or names a tensor that is not there.
    """
    if STRUCTURE not in metadata:
        raise ValueError(f"no {STRUCTURE!r} in the metadata, found {sorted(metadata)}: not a saved training state")
    try:
        state = _decode(json.loads(metadata[STRUCTURE]), tensors)
    except (json.JSONDecodeError, KeyError, TypeError) as error:
        raise ValueError(f"the structure of the saved state does not fit its tensors: {error!r}") from error
    if not isinstance(state, dict):
        raise ValueError(f"the saved state is a {type(state).__name__}, expected a mapping")
    return state


def _encode(value: Any, path: str, tensors: dict[str, Tensor]) -> Any:
    """JSON value: plain ones as they are, lists as lists, all others as an object with one tag."""
    if value is None or isinstance(value, bool | str):
        return value
    if isinstance(value, int):
        return int(value)
    if isinstance(value, float):
        return float(value) if math.isfinite(value) else {"float": str(float(value))}
    if isinstance(value, Tensor):
        name = path
        # The keys 0 and "0", or "a/b" and nested "a", "b", give one path; the other name is safetensors' own.
        while name in tensors or name == "__metadata__":
            name += "'"
        tensors[name] = value
        return {"tensor": name}
    if isinstance(value, list | tuple):
        items = [_encode(item, _join(path, i), tensors) for i, item in enumerate(value)]
        return items if isinstance(value, list) else {"tuple": items}
    if isinstance(value, Mapping):
        for key in value:
            if isinstance(key, bool) or not isinstance(key, str | int):
                raise TypeError(f"key {key!r} of {path or 'the state'} is a {type(key).__name__}, expected str or int")
        return {"dict": [[key, _encode(item, _join(path, key), tensors)] for key, item in value.items()]}
    raise TypeError(
        f"{path} is a {type(value).__name__}; expected a tensor, str, int, float, bool, None, list, tuple or mapping"
    )


def _decode(value: Any, tensors: Mapping[str, Tensor]) -> Any:
    if isinstance(value, list):
        return [_decode(item, tensors) for item in value]
    if not isinstance(value, dict):
        return value
    ((tag, content),) = value.items()
    if tag == "float":
        return float(content)
    if tag == "tensor":
        return tensors[content]
    if tag == "tuple":
        return tuple(_decode(item, tensors) for item in content)
    if tag == "dict":
        return {key: _decode(item, tensors) for key, item in content}
    raise ValueError(f"unknown tag {tag!r} in the structure of the saved state: written by a newer version?")


def _join(path: str, key: str | int) -> str:
    return f"{path}/{key}" if path else str(key)
