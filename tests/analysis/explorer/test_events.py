"""Clicks, filters, other runs and brushes."""

from __future__ import annotations

import pytest

from analysis.explorer.events import apply_brush, apply_click, apply_filters, apply_run
from analysis.explorer.view_state import ViewState

AXES = ["setting", "fraction", "learning_rate", "weight_decay", "score"]


def test_an_arm_opens_and_closes_and_starts_at_the_first_page() -> None:
    state = apply_click(ViewState(page=3), "arm", "WBC_1/off")
    assert (state.arm, state.page) == ("WBC_1/off", 0)
    assert apply_click(state, "arm", "WBC_1/off").arm == ""


def test_another_trial_closes_the_cell_of_the_one_before() -> None:
    state = apply_click(apply_click(ViewState(), "trial", "a"), "cell", "test,0,1")
    assert apply_click(state, "trial", "b") == ViewState(trial="b")


def test_a_tick_selects_and_a_second_one_lets_go() -> None:
    state = apply_click(apply_click(ViewState(), "select", "a"), "select", "b")
    assert state.selected == ("a", "b")
    assert apply_click(state, "select", "a").selected == ("b",)
    assert apply_click(state, "clear", "selected").selected == ()


def test_a_column_is_sorted_and_then_turned_round() -> None:
    state = apply_click(ViewState(), "sort", "val_loss")
    assert (state.sort, state.ascending) == ("val_loss", True)
    assert not apply_click(state, "sort", "val_loss").ascending
    assert not apply_click(state, "sort", "score").ascending  # the best first


def test_an_unknown_button_is_an_error() -> None:
    with pytest.raises(ValueError, match="found 'luck'"):
        apply_click(ViewState(), "luck", 1)


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ([-3, -2], ((-3.0, -2.0),)),
        ([[-3, -2]], ((-3.0, -2.0),)),
        ([[-2, -3], [-5, -4]], ((-5.0, -4.0), (-3.0, -2.0))),
        ([[[-3, -2], [-5, -4]]], ((-5.0, -4.0), (-3.0, -2.0))),
    ],
)
def test_every_form_in_which_ranges_arrive_is_read(value: object, expected: object) -> None:
    state = apply_brush(ViewState(page=2), [{"dimensions[2].constraintrange": value}, [0]], AXES)
    assert state == ViewState(picked=(("learning_rate", expected),))


def test_a_range_that_is_let_go_is_forgotten_and_others_stay() -> None:
    state = ViewState(picked=(("learning_rate", ((-3.0, -2.0),)), ("score", ((0.5, 0.6),))))
    after = apply_brush(state, [{"dimensions[2].constraintrange": None}, [0]], AXES)
    assert after.picked == (("score", ((0.5, 0.6),)),)


def test_a_moved_axis_keeps_its_range() -> None:
    dimensions = [{"name": "score", "constraintrange": [0.5, 0.6]}, {"name": "fraction"}, {"name": "strange"}]
    assert apply_brush(ViewState(), [{"dimensions": [dimensions]}, [0]], AXES).picked == (("score", ((0.5, 0.6),)),)
    assert apply_brush(ViewState(), None, AXES) == ViewState()


def test_another_run_keeps_only_how_to_look() -> None:
    state = ViewState(metric="macro_f1", figure="rungs", arms=("WBC_1/off",), trial="a", page=2)
    assert apply_run(state, "b", shown="a", first="a") == ViewState(run="b", metric="macro_f1", figure="rungs")
    # The first run is the one that an address without a run shows.
    other = ViewState(run="b", metric="macro_f1")
    assert apply_run(other, "a", shown="b", first="a") == ViewState(metric="macro_f1")


def test_the_run_that_is_shown_changes_nothing_when_chosen_again() -> None:
    state = ViewState(run="b", arms=("WBC_1/off",))
    assert apply_run(state, "b", shown="b", first="a") == state


def test_a_filter_starts_at_the_first_page_and_keeps_what_is_open() -> None:
    state = ViewState(arm="WBC_1/off", trial="a", figure="rungs", page=3)
    changed = apply_filters(state, metric="macro_f1", statuses=["stopped"], arms=None, figure=None)
    assert changed == ViewState(
        arm="WBC_1/off", trial="a", figure="rungs", metric="macro_f1", statuses=("stopped",), page=0
    )
    assert apply_filters(changed, metric="accuracy", statuses=[], arms=["x"], figure="response") == ViewState(
        arm="WBC_1/off", trial="a", figure="response", arms=("x",)
    )
