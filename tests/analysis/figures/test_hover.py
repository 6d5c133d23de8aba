"""What marks say."""

from __future__ import annotations

import pandas as pd

from analysis.figures.hover import run_hover, trial_hover


def test_a_trial_names_arm_seed_id_and_every_setting_without_markup() -> None:
    rows = pd.DataFrame(
        {
            "arm": ["WBC_1/<b>"],
            "seed": [3],
            "trial_id": ["<i>"],
            "status": ["stopped"],
            "learning_rate": [1e-3],
            "weight_decay": [0.0],
            "training.sampling": ["balanced"],
            "best_epoch": pd.array([None], dtype="Int64"),
        }
    )
    hover = "WBC_1/&lt;b&gt;, seed 3<br>trial &lt;i&gt;, stopped"
    hover += "<br>learning rate 1.00e-03, weight decay 0.00e+00, sampling balanced"
    assert trial_hover(rows).tolist() == [hover]
    assert trial_hover(rows, ["more"]).tolist() == [f"{hover}<br>more"]
    assert run_hover(rows).tolist() == [f"{hover}<br>best epoch <NA>"]
