from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from models.nested_state import flatten_state, unflatten_state

DTYPES = (torch.float32, torch.float64, torch.float16, torch.bfloat16, torch.int64, torch.uint8, torch.bool)
TENSORS = st.builds(
    lambda dtype, shape, seed: torch.randint(0, 2, shape, generator=torch.Generator().manual_seed(seed)).to(dtype),
    st.sampled_from(DTYPES),
    st.lists(st.integers(0, 3), max_size=3).map(tuple),
    st.integers(0, 99),
)
KEYS = st.integers(-3, 3) | st.text(alphabet="ab01/'_", max_size=4) | st.just("__metadata__")
LEAVES = st.none() | st.booleans() | st.integers() | st.floats() | st.text() | TENSORS
STATES = st.dictionaries(
    KEYS,
    st.recursive(
        LEAVES,
        lambda inner: (
            st.lists(inner, max_size=3) | st.lists(inner, max_size=3).map(tuple) | st.dictionaries(KEYS, inner)
        ),
        max_leaves=12,
    ),
)


def assert_identical(found: Any, expected: Any) -> None:
    """Same types, same values, same bits, same order of keys."""
    assert type(found) is type(expected)
    if isinstance(expected, Tensor):
        assert (found.dtype, found.shape) == (expected.dtype, expected.shape)
        assert (
            found.contiguous().numpy(force=True).tobytes() == expected.numpy(force=True).tobytes()
            if (expected.dtype != torch.bfloat16)
            else torch.equal(found, expected)
        )
    elif isinstance(expected, dict):
        assert list(found) == list(expected)
        assert [type(key) for key in found] == [type(key) for key in expected]
        for key, value in expected.items():
            assert_identical(found[key], value)
    elif isinstance(expected, list | tuple):
        assert len(found) == len(expected)
        for one, other in zip(found, expected, strict=True):
            assert_identical(one, other)
    elif isinstance(expected, float) and math.isnan(expected):
        assert math.isnan(found)
    elif isinstance(expected, float):
        assert found == expected
        assert math.copysign(1, found) == math.copysign(1, expected)
    else:
        assert found == expected


@settings(deadline=None)
@given(state=STATES)
def test_any_state_comes_back_exactly(state: dict[Any, Any]) -> None:
    tensors, metadata = flatten_state(state)
    assert all(isinstance(text, str) for text in metadata.values())
    assert_identical(unflatten_state(tensors, metadata), state)


def test_tensors_are_named_by_their_path() -> None:
    tensors, metadata = flatten_state({"optimizer": {"state": {0: {"exp_avg": torch.ones(2)}}}, "x": [torch.zeros(1)]})
    assert list(tensors) == ["optimizer/state/0/exp_avg", "x/0"]
    assert list(metadata) == ["structure"]


def test_a_value_that_cannot_be_kept_exactly_is_refused_with_its_path() -> None:
    with pytest.raises(TypeError, match=r"a/1 is a set"):
        flatten_state({"a": [1, {2}]})
    with pytest.raises(TypeError, match=r"key 0\.5 of a"):
        flatten_state({"a": {0.5: 1}})
    with pytest.raises(TypeError, match=r"key True of the state"):
        flatten_state({True: 1})


@pytest.mark.parametrize(
    "structure",
    ["{", "3", "[]", '{"tensor": "a"}', '{"dict": [["x", {"tensor": "gone"}]]}', '{"new": 1}', '{"dict": 3}', "{}"],
)
def test_a_structure_that_does_not_fit_is_a_value_error(structure: str) -> None:
    with pytest.raises(ValueError):
        unflatten_state({"a": torch.zeros(1)}, {"structure": structure})


def test_metadata_without_a_structure_is_a_value_error() -> None:
    with pytest.raises(ValueError, match=r"no 'structure'.*other"):
        unflatten_state({}, {"other": "1"})
