"""What a reader is told about the control arms."""

from __future__ import annotations

from typing import get_args

from analysis.wording.controls import CONTROLS, describe_controls
from study.config.study import ControlName


def test_every_control_that_a_study_can_have_is_explained() -> None:
    assert set(CONTROLS) == set(get_args(ControlName))


def test_only_the_controls_that_are_there_are_described_each_once() -> None:
    told = describe_controls(["twin", "random", "twin"])
    assert told == (("random", CONTROLS["random"].purpose), ("twin", CONTROLS["twin"].purpose))
    assert describe_controls([]) == ()


def test_a_control_of_a_newer_version_is_named() -> None:
    assert describe_controls(["mirrored"]) == (("mirrored", "not known to this program."),)
