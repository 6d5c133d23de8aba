"""What the search chooses for a trial, and how that stands in the records."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from study.design.points import Point, read_settings, write_settings

VALUES = st.one_of(st.booleans(), st.integers(), st.floats(allow_nan=False, allow_infinity=False), st.text())


@given(values=st.dictionaries(st.text(), VALUES))
def test_settings_are_read_as_they_were_written(values: dict[str, object]) -> None:
    assert read_settings(write_settings(values)) == values


def test_the_text_of_settings_does_not_depend_on_their_order() -> None:
    text = '{"training.effective_beta": 0.9, "training.sampling": "balanced"}'
    assert write_settings({"training.sampling": "balanced", "training.effective_beta": 0.9}) == text


def test_a_point_without_further_settings_is_that_of_a_record_from_before_them() -> None:
    assert Point(1e-3, 1e-4).settings == write_settings({}) == "{}"
    assert read_settings("") == read_settings("{}") == {}
