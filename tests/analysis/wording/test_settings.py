"""Words for settings."""

from __future__ import annotations

import pandas as pd

from analysis.wording.settings import setting_title, setting_titles


def test_titles_say_what_an_arm_learns_from() -> None:
    titles = {setting: setting_title(setting) for setting in ("off", "sum", "off+masks", "sum+masks", "resnet18")}
    assert titles == {
        "off": "without",
        "sum": "with (sum)",
        "off+masks": "without + masks",
        "sum+masks": "with (sum) + masks",
        "resnet18": "network resnet18",
    }


def test_a_control_keeps_its_name() -> None:
    rows = pd.DataFrame({"setting": ["off", "sum", "sum-random"], "control": ["", "", "random"]})
    assert setting_titles(rows) == ["without", "with (sum)", "sum-random"]
