"""Which arms a configuration compares."""

from __future__ import annotations

import pytest

from study.arms import Arm, list_arms
from study.config import ArmsConfig


def test_the_default_study_compares_eight_arms_from_the_smallest_fraction_on() -> None:
    assert [arm.name for arm in list_arms(ArmsConfig())] == [
        "WBC_1/off",
        "WBC_1/sum",
        "WBC_10/off",
        "WBC_10/sum",
        "WBC_50/off",
        "WBC_50/sum",
        "WBC_100/off",
        "WBC_100/sum",
    ]


def test_only_arms_with_fusion_have_encoders() -> None:
    arms = list_arms(ArmsConfig(fractions=(0.5,), encoders=("cam16",)))
    assert [arm.encoders for arm in arms] == [(), ("cam16",)]


def test_fractions_are_sorted_and_modes_keep_their_order() -> None:
    arms = list_arms(ArmsConfig(fractions=(1.0, 0.125), fusion=("sum", "off")))
    assert [(arm.fraction, arm.fusion) for arm in arms] == [(0.125, "sum"), (0.125, "off"), (1.0, "sum"), (1.0, "off")]
    assert arms[0].name == "WBC_12.5/sum"


def test_a_control_is_another_arm_than_the_one_it_controls() -> None:
    assert Arm(0.1, "sum", ("prcc",), "random").name == "WBC_10/sum-random"


def test_arms_with_masks_stand_beside_those_without() -> None:
    arms = list_arms(ArmsConfig(fractions=(0.5,), segmentation=(False, True)))
    assert [arm.name for arm in arms] == ["WBC_50/off", "WBC_50/off+masks", "WBC_50/sum", "WBC_50/sum+masks"]
    assert [arm.segmentation for arm in arms] == [False, True, False, True]


def test_an_arm_cannot_be_changed() -> None:
    with pytest.raises(AttributeError):
        Arm(0.1, "off").fraction = 1.0  # type: ignore[misc]  # what the test is about
