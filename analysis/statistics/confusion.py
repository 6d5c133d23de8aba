"""Confusion matrices of the selected runs, as long tables."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from analysis.arms import arm_order, setting_of
from analysis.metrics import count_confusion

if TYPE_CHECKING:
    from analysis.records.study import Study


def shown_split(study: Study) -> str:
    """Split whose images tables and figures show: "test" where the selected runs have test predictions, else "val"."""
    return "test" if study.selected()["test_accuracy"].notna().any() else "val"


def run_confusions(study: Study, trial_ids: pd.Series[str], split: str) -> NDArray[np.int64]:
    """Confusion matrices of runs at their best epochs.

    Args:
        study: The study.
        trial_ids: N trials.
        split: "val": from the epochs' records; "test": from the predictions.

    Returns:
        int64 (N, C, C), rows are true classes; zeros for a run without such images.
    """
    size = len(study.classes)
    ids = pd.Index(trial_ids)
    if split == "test":
        rows = study.predictions
        rows = rows[(rows["split"] == "test") & rows["trial_id"].isin(ids)]
        groups = ids.get_indexer(pd.Index(rows["trial_id"]))
        return count_confusion(rows["label"], rows["predicted"], size, groups, len(ids))
    best = study.trials.set_index("trial_id")["best_epoch"].reindex(ids)
    epochs = study.epochs[study.epochs["trial_id"].isin(ids)]
    chosen = epochs[epochs["epoch"] == epochs["trial_id"].map(best)]
    found = np.zeros((len(ids), size, size), dtype=np.int64)
    for trial_id, counts in zip(chosen["trial_id"], chosen["confusion"], strict=True):
        found[ids.get_loc(trial_id)] = np.asarray(counts, dtype=np.int64).reshape(size, size)
    return found


def arm_confusions(study: Study) -> pd.DataFrame:
    """Confusion matrices of the selected runs summed over the seeds of each arm.

    Returns:
        One row per arm and cell: fraction, subset, setting, arm, control, split, runs, actual, predicted (class names),
        count, images (of the actual class, over all runs) and share (count / images, NaN for a class without images).
        Ordered as arms are listed, then by class.
    """
    runs, split, names = study.selected(), shown_split(study), study.classes
    matrices = run_confusions(study, runs["trial_id"], split)
    parts = []
    for arm in arm_order(study):
        chosen = (runs["arm"] == arm).to_numpy()
        if not chosen.any():
            continue
        matrix = matrices[chosen].sum(axis=0)
        images = matrix.sum(axis=1)
        first = runs[chosen].iloc[0]
        shares = np.divide(matrix, images[:, None], out=np.full(matrix.shape, np.nan), where=images[:, None] > 0)
        parts.append(
            pd.DataFrame(
                {
                    "fraction": first["fraction"],
                    "subset": first["subset"],
                    "setting": setting_of(arm),
                    "arm": arm,
                    "control": first["control"],
                    "split": split,
                    "runs": int(chosen.sum()),
                    "actual": np.repeat(names, len(names)),
                    "predicted": np.tile(names, len(names)),
                    "count": matrix.ravel(),
                    "images": np.repeat(images, len(names)),
                    "share": shares.ravel(),
                }
            )
        )
    columns = ["fraction", "subset", "setting", "arm", "control", "split", "runs", "actual", "predicted", "count"]
    columns += ["images", "share"]
    return pd.concat(parts, ignore_index=True)[columns] if parts else pd.DataFrame(columns=columns)
