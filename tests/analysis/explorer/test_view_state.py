"""Addresses."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from analysis.explorer.view_state import METRICS, ViewState, read_address, write_address

texts = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=12)
numbers = st.floats(-1e6, 1e6, allow_nan=False)
ranges = st.lists(st.tuples(numbers, numbers).map(sorted).map(tuple), min_size=1, max_size=3, unique=True)
states = st.builds(
    ViewState,
    run=texts,
    metric=st.sampled_from(METRICS),
    arms=st.lists(texts, max_size=3, unique=True).map(tuple),
    trial=texts,
    selected=st.lists(texts, max_size=3, unique=True).map(tuple),
    ascending=st.booleans(),
    page=st.integers(0, 1000),
    picked=st.dictionaries(texts, ranges.map(sorted).map(tuple), max_size=3).map(lambda d: tuple(sorted(d.items()))),
)


@settings(deadline=None)
@given(states)
def test_an_address_says_the_whole_state(state: ViewState) -> None:
    assert read_address(write_address(state)) == state


def test_the_default_needs_no_parameters() -> None:
    assert write_address(ViewState()) == ""
    assert read_address(None) == read_address("") == ViewState()


@pytest.mark.parametrize(
    "address", ["?page=-1", "?page=x", "?metric=luck", "?pick.epochs=a..b", "?pick.epochs=nan..1", "?other=1", "?&&="]
)
def test_what_makes_no_sense_is_left_at_its_default(address: str) -> None:
    assert read_address(address) == ViewState()
