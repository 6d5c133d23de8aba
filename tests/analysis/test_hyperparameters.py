"""Searched hyperparameters."""

from __future__ import annotations

import pandas as pd
import pytest

from analysis.hyperparameters import hyperparameter_columns, hyperparameter_title, is_logarithmic, positive_positions


def test_further_settings_come_after_the_two() -> None:
    trials = pd.DataFrame(
        columns=["training.sampling", "weight_decay", "arm", "training.loss_weights", "learning_rate"]
    )
    names = hyperparameter_columns(trials)
    assert names == ["learning_rate", "weight_decay", "training.loss_weights", "training.sampling"]
    assert hyperparameter_title(names[2]) == "loss weights"


def test_zero_stands_a_decade_below_the_lowest_positive_value_of_a_logarithmic_setting() -> None:
    assert is_logarithmic("weight_decay")
    assert not is_logarithmic("training.segmentation_weight")
    assert positive_positions(pd.Series([0.0, 1e-4, 1e-2])).tolist() == pytest.approx([1e-5, 1e-4, 1e-2])
    assert positive_positions(pd.Series([0.0])).tolist() == [1e-12]
