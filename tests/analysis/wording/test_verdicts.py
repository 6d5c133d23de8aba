"""Verdicts in words."""

from __future__ import annotations

from typing import Any

import pytest

from analysis.wording.verdicts import (
    ABOVE_OFF,
    ABOVE_OFF_NO_CONTROL,
    ENOUGH_GROUPS,
    FEW_GROUPS,
    GAIN,
    LOSS,
    NO_EVIDENCE,
    OPTIMISTIC_VERDICT,
    Beaten,
    describe_groups,
    verdict_sentence,
)

ROW: dict[str, Any] = {
    "arm": "WBC_10/sum",
    "baseline": "WBC_10/off",
    "kind": "transfer",
    "control": "",
    "metric": "accuracy",
    "split": "test",
    "difference": 0.032,
    "low": 0.011,
    "high": 0.053,
    "p_holm": 0.0004,
    "family": 4,
    "seeds": 5,
    "arm_seeds": 5,
    "baseline_seeds": 5,
    "images": 432,
    "groups": 0,
}
"""A comparison that nothing limits."""


def test_a_sentence_says_what_was_found_and_what_follows() -> None:
    assert verdict_sentence(ROW, GAIN, Beaten(off=True, random=True)) == (
        "WBC_10/sum minus WBC_10/off: +3.20 points of test accuracy (95 % interval +1.10 to +5.30, p < 0.001 after Holm over 4 "
        "tests; 5 seeds, 432 images). A gain: it beats both off and random encoders."
    )


@pytest.mark.parametrize(
    ("changed", "verdict", "beaten", "words"),
    [
        ({}, LOSS, (False, None), "A loss."),
        ({}, NO_EVIDENCE, (False, False), "No evidence of a gain."),
        ({}, ABOVE_OFF, (True, False), "it beats off, but not certainly random encoders."),
        ({}, ABOVE_OFF_NO_CONTROL, (True, None), "so the architecture alone may do it."),
        ({"kind": "control", "control": "twin"}, GAIN, (None, None), "The control twin is above off."),
        ({"kind": "masks"}, NO_EVIDENCE, (None, None), "No evidence that masks help."),
        ({"family": 1, "p_holm": 0.25}, NO_EVIDENCE, (False, False), "p 0.250; 5 seeds"),
        ({"metric": "macro_f1"}, GAIN, (True, True), "+0.032 of test macro F1"),
        ({"seeds": 3}, GAIN, (True, True), "Paired on the 3 seeds that both have; WBC_10/sum has 5, WBC_10/off 5."),
        ({"groups": ENOUGH_GROUPS - 1}, GAIN, (True, True), FEW_GROUPS),
        ({"groups": ENOUGH_GROUPS}, GAIN, (True, True), f"432 images of {ENOUGH_GROUPS} groups)."),
        ({"split": "val"}, GAIN, (True, True), OPTIMISTIC_VERDICT),
        ({"difference": float("nan"), "seeds": 1}, NO_EVIDENCE, (None, None), "share 1 seeds: too few"),
    ],
)
def test_a_sentence_says_what_limits_it(
    changed: dict[str, Any], verdict: str, beaten: tuple[bool | None, bool | None], words: str
) -> None:
    assert words in verdict_sentence(ROW | changed, verdict, Beaten(*beaten))


def test_groups_are_described_where_they_are_known() -> None:
    assert describe_groups(0, []) == ""
    assert describe_groups(ENOUGH_GROUPS, []).endswith("groups vary, not single images.")
    few = describe_groups(2, ["Basophil"])
    assert few.startswith("The images are of 2 groups") and few.endswith(FEW_GROUPS)
    assert "All images of Basophil are of one group" in few
