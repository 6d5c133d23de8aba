"""Arms of a study: their settings and order, and means of metrics side by side."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from analysis.hyperparameters import hyperparameter_columns
from analysis.metrics import confusion_metrics
from analysis.records.published import published_values
from analysis.records.schema import Fusion, Phase

if TYPE_CHECKING:
    from analysis.records.study import Study


OFF = Fusion.OFF.value
"""The setting without pretraining."""


def setting_of(arm: str) -> str:
    """Setting of an arm, without its fraction: ``WBC_10/sum`` -> ``sum``, ``WBC_10/sum-random`` -> ``sum-random``."""
    return arm.partition("/")[2] or arm


def settings_of(arms: pd.Series[str]) -> pd.Series[str]:
    """Settings of a column of arms, as `setting_of` gives them."""
    settings = {arm: setting_of(arm) for arm in arms.unique()}
    return arms.map(settings).astype("str")


def compared_settings(study: Study) -> list[str]:
    """Settings of all arms that are no controls: ``off`` first, then by name."""
    trials = study.trials
    found = {setting_of(arm) for arm in trials.loc[trials["control"] == "", "arm"].unique()}
    return ([OFF] if OFF in found else []) + sorted(found - {OFF})


def control_settings(study: Study) -> list[str]:
    """Settings of the control arms, ordered by name."""
    trials = study.trials
    return sorted({setting_of(arm) for arm in trials.loc[trials["control"] != "", "arm"].unique()})


def arm_order(study: Study) -> list[str]:
    """All arms as tables and figures list them: compared ones before controls, by fraction, ``off`` first."""
    arms = study.trials[["arm", "fraction", "control"]].drop_duplicates("arm")
    keyed = [
        (arm["control"] != "", arm["fraction"], setting_of(arm["arm"]) != OFF, arm["arm"])
        for arm in arms.to_dict("records")
    ]
    return [str(key[-1]) for key in sorted(keyed)]


def fractions(study: Study) -> pd.Series[float]:
    """Fractions of the study's arms, ascending, indexed by subset name."""
    table = study.trials[["subset", "fraction"]].drop_duplicates().sort_values("fraction")
    return pd.Series(table["fraction"].to_numpy(), index=pd.Index(table["subset"], name="subset"), dtype="float64")


def summarise(runs: pd.DataFrame, metric: str) -> pd.DataFrame:
    """Mean, standard deviation and number of runs per subset and setting.

    Args:
        runs: Rows of `Study.selected`.
        metric: A value column of them, e.g. ``val_accuracy``.

    Returns:
        Indexed by (subset, setting), columns mean, sd (over seeds, ddof 1, missing for one run), n. Runs without a value of the
        metric do not count.
    """
    values = runs.assign(setting=[setting_of(arm) for arm in runs["arm"]])
    grouped = values.groupby(["subset", "setting"])[metric]
    return pd.DataFrame({"mean": grouped.mean(), "sd": grouped.std(ddof=1), "n": grouped.count()})


def compare_means(study: Study, metric: str) -> pd.DataFrame:
    """One metric without and with pretraining at each fraction.

    Args:
        study: Any study, also one that has only begun.
        metric: A value column of `Study.confirmed`, e.g. ``val_accuracy`` or ``test_macro_f1``.

    Returns:
        Indexed by subset, ascending fraction. Columns train_images; ``without_mean``, ``without_sd``, ``without_n``;
        ``with_mean``, ``with_sd``, ``with_n`` and ``difference`` (of the means) when there is one setting beside
        ``off``, else ``with_<setting>_mean`` ... and ``difference_<setting>`` for each; ``published_without``,
        ``published_with``. Values are shares in [0, 1], standard deviations are over seeds. Missing arms are NaN
        with n = 0. Controls are left out.
    """
    runs = study.selected()
    summary = summarise(runs[runs["control"] == ""], metric)
    order = fractions(study)
    table = pd.DataFrame(index=order.index)
    images = study.trials[study.trials["train_images"] > 0].groupby("subset")["train_images"].max()
    table["train_images"] = images.reindex(table.index).astype("Int64")
    prefixes = comparison_columns(study)
    for setting, prefix in {OFF: "without", **prefixes}.items():
        rows = pd.MultiIndex.from_product([table.index, [setting]])
        part = summary.reindex(rows)
        table[f"{prefix}_mean"] = part["mean"].to_numpy(dtype=float)
        table[f"{prefix}_sd"] = part["sd"].to_numpy(dtype=float)
        table[f"{prefix}_n"] = part["n"].fillna(0).to_numpy(dtype=np.int64)
    for prefix in prefixes.values():
        table[prefix.replace("with", "difference", 1)] = table[f"{prefix}_mean"] - table["without_mean"]
    published = published_values(metric).reindex(table.index)
    table["published_without"] = published["without"].to_numpy(dtype=float)
    table["published_with"] = published["with"].to_numpy(dtype=float)
    return table


def comparison_columns(study: Study) -> dict[str, str]:
    """Settings beside ``off`` (with fusion, or with another classifier) -> prefix of their columns in `compare_means`."""
    fused = [setting for setting in compared_settings(study) if setting != OFF]
    if len(fused) > 1:
        return {setting: f"with_{setting}" for setting in fused}
    return {(fused or [Fusion.SUM.value])[0]: "with"}


def run_points(study: Study, metrics: Sequence[str]) -> pd.DataFrame:
    """The compared runs in long form: one row per selected run and metric, with its group's mean and SD.

    Returns:
        The columns fraction, subset, setting, arm, seed, trial_id, the hyperparameters, best_epoch, rule, metric, value, mean,
        sd, n; ordered by metric (as given), fraction, setting, seed. Runs without a value are left out.
    """
    runs = study.selected()
    runs = runs[runs["control"] == ""]
    runs = runs.assign(setting=settings_of(runs["arm"]))
    columns = ["fraction", "subset", "setting", "arm", "seed", "trial_id"]
    columns += [*hyperparameter_columns(runs), "best_epoch", "rule"]
    parts = [runs[columns].assign(metric=metric, value=runs[metric]) for metric in metrics]
    points = pd.concat(parts, ignore_index=True).dropna(subset=["value"])
    grouped = points.groupby(["metric", "subset", "setting"])["value"]
    points = points.assign(mean=grouped.transform("mean"), sd=grouped.transform("std"), n=grouped.transform("count"))
    points["rank"] = points["metric"].map({metric: rank for rank, metric in enumerate(metrics)})
    points = points.sort_values(["rank", "fraction", "setting", "seed"], kind="stable")
    return points.drop(columns="rank").reset_index(drop=True)


def majority_floor(study: Study, split: str = "val") -> dict[str, float | str]:
    """Scores of a classifier that always predicts the most frequent class of a split.

    Returns:
        The keys ``class`` (its name), ``accuracy``, ``macro_f1``, ``weighted_f1`` (shares in [0, 1]) and ``images`` (number);
        empty when the images are not known yet.
    """
    labels = study.images.loc[study.images["split"] == split, "label"].to_numpy()
    counts = np.bincount(labels[labels >= 0], minlength=len(study.classes))
    if counts.sum() == 0 or len(counts) > len(study.classes):
        return {}
    confusion = np.zeros((len(counts), len(counts)))
    confusion[:, counts.argmax()] = counts
    metrics = confusion_metrics(confusion)
    return {
        "class": study.classes[int(counts.argmax())],
        "accuracy": float(metrics.accuracy),
        "macro_f1": float(metrics.macro_f1),
        "weighted_f1": float(metrics.weighted_f1),
        "images": int(counts.sum()),
    }


def scored_trials(study: Study) -> pd.DataFrame:
    """Trials of the search that have a value of the selection metric.

    Returns:
        Rows of `Study.trials` with the further columns setting and score (that value).
    """
    trials = study.trials
    trials = trials[(trials["phase"] == Phase.SEARCH) & trials[study.metric].notna()].copy()
    trials["setting"] = settings_of(trials["arm"])
    trials["score"] = trials[study.metric].astype("float64")
    return trials
