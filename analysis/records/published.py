"""Results of the published study, which tables and figures show beside those of a study.

Source: the coursework's public repository; ``published/results.csv`` holds one row per published run. Each is a single
run of 25 epochs without a seed and without a test split. F1 is the reported weighted F1; macro F1 was not published.

The reported recalls imply the reported accuracy in five of the eight runs. They imply 84.90 % where 84 % was reported
(WBC_10 with), 90.80 % for 90 % (WBC_50 without) and 91.32 % for 93.04 % (WBC_100 with pretraining).
"""

from __future__ import annotations

from functools import cache
from pathlib import Path

import pandas as pd

PUBLISHED_NOTE = (
    "Published: one run each, other images, no test split, values at the end of 25 epochs; with pretraining its code "
    "adds features that do not depend on the image, so its differences are no evidence of transfer."
)
"""Warning about the published results; stands beneath every table and figure that shows them."""

CLASSES = ("Basophil", "Eosinophil", "Lymphocyte", "Monocyte", "Neutrophil")
"""Classes of the published study, in the order of its labels."""


@cache
def _read() -> pd.DataFrame:
    """The file of results as shares in [0, 1]; read once."""
    raw = pd.read_csv(Path(__file__).parent / "published" / "results.csv")
    results = pd.DataFrame(
        {
            "subset": raw["model"],
            "fraction": raw["model"].str.removeprefix("WBC_").astype(float) / 100,
            "pretraining": raw["fusion"].map({"off": "without", "on": "with"}),
            "val_accuracy": raw["val_accuracy_pct"] / 100,
            "val_weighted_f1": raw["weighted_f1_reported"],
            "epochs": raw["epochs"],
        }
    )
    for name in CLASSES:
        results[f"val_recall_{name.lower()}"] = raw[f"recall_{name.lower()}_pct"] / 100
    return results


def published_results() -> pd.DataFrame:
    """One row per published run.

    Returns:
        Columns subset, fraction, pretraining ("without" or "with"), val_accuracy, val_weighted_f1, epochs and
        val_recall_<class>; shares in [0, 1].
    """
    return _read().copy()


def published_values(metric: str) -> pd.DataFrame:
    """Published values of one metric, e.g. ``val_accuracy``.

    Returns:
        Indexed by subset, columns "without" and "with"; all missing for a metric that was not published.
    """
    results = published_results()
    if metric not in results:
        results[metric] = float("nan")
    return results.set_index(["subset", "pretraining"])[metric].unstack()[["without", "with"]]  # noqa: PD010 - nothing to aggregate
