"""Words for the settings of arms."""

from __future__ import annotations

import pandas as pd

from analysis.arms import OFF
from analysis.records.schema import MASKS_SUFFIX, Fusion


def setting_title(setting: str) -> str:
    """Words for a setting: "without", "with (sum)" or, where encoders are named, "with (sum, prcc)"; "+ masks" after it.

    A setting with another classifier is "network resnet18".
    """
    pretraining = setting.removesuffix(MASKS_SUFFIX)
    fusion, _, encoders = pretraining.rstrip(")").partition("(")
    if fusion not in list(Fusion):
        return f"network {setting}"
    title = "without" if pretraining == OFF else f"with ({fusion}{', ' if encoders else ''}{encoders})"
    return title + (" + masks" if pretraining != setting else "")


def setting_titles(rows: pd.DataFrame) -> list[str]:
    """`setting_title` of every row of a table with the columns setting and control; a control keeps its name."""
    return [
        setting if control else setting_title(setting)
        for setting, control in zip(rows["setting"], rows["control"], strict=True)
    ]
