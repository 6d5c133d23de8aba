"""Tables of what the selected runs reached: metrics, recalls, calibration, controls."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import pandas as pd

from analysis.arms import OFF, compare_means, compared_settings, comparison_columns, setting_of, summarise
from analysis.metrics import METRIC_TITLES, SPLIT_TITLES, metric_title
from analysis.records.published import PUBLISHED_NOTE, published_results
from analysis.statistics.calibration import BINS, calibration
from analysis.tables.table import Column, Content
from analysis.wording.captions import (
    NO_EVIDENCE,
    OPTIMISTIC,
    choice_sentence,
    floor_sentence,
    join_sentences,
    selection_rule,
)
from analysis.wording.controls import describe_controls
from analysis.wording.formats import capitalised, show_range, unit_of
from analysis.wording.settings import setting_title, setting_titles

if TYPE_CHECKING:
    from analysis.records.study import Study


_SIDE_BY_SIDE = 2
"""Settings with pretraining that a comparison shows in columns; more of them become rows."""


def comparison_table(study: Study, metric: str) -> Content:
    """One validation metric of every setting, side by side at each fraction.

    Args:
        study: Any study.
        metric: "val_accuracy", "val_macro_f1" or "val_weighted_f1".
    """
    form = "percent" if metric == "val_accuracy" else "score"
    frame = compare_means(study, metric).reset_index()
    prefixes = comparison_columns(study)
    if len(prefixes) > _SIDE_BY_SIDE:
        return _stacked_comparison(study, metric, form, frame)
    columns = [Column("Subset", "subset"), Column("Train images", "train_images", form="count")]
    columns.append(Column(unit_of("Without", form), "without_mean", "without_sd", form))
    for setting, prefix in prefixes.items():
        label = setting_title(setting).capitalize() if setting in compared_settings(study) else "With"
        columns.append(Column(unit_of(label, form), f"{prefix}_mean", f"{prefix}_sd", form))
    for setting, prefix in prefixes.items():
        label = "Difference" if len(prefixes) == 1 else f"Difference ({setting})"
        columns.append(Column(label, prefix.replace("with", "difference", 1), form=_signed(form)))
    counts = frame[["without_n", *(f"{prefix}_n" for prefix in prefixes.values())]]
    frame["n"] = pd.Series([show_range(row) for row in counts.to_numpy()], dtype="str")
    columns.append(Column("n", "n", form="count"))
    caption = [selection_rule(study), OPTIMISTIC, floor_sentence(study), NO_EVIDENCE]
    caption += ["Difference in percentage points."] if form == "percent" else []
    if frame[["published_without", "published_with"]].notna().any(axis=None):
        columns.append(Column("Published without", "published_without", form=form))
        columns.append(Column("Published with", "published_with", form=form))
        caption.append(PUBLISHED_NOTE)
    elif metric == "val_macro_f1":
        caption.append("Macro F1 was not published.")
    return Content(join_sentences(caption), frame, tuple(columns))


def _stacked_comparison(study: Study, metric: str, form: str, compared: pd.DataFrame) -> Content:
    """One row for each subset and setting: many settings beside each other would not fit any page."""
    prefixes = {OFF: "without", **comparison_columns(study)}
    rows: list[dict[str, object]] = []
    for wide in compared.to_dict("records"):
        for setting, prefix in prefixes.items():
            row: dict[str, object] = {"subset": wide["subset"], "setting": setting_title(setting)}
            row |= {"train_images": wide["train_images"], "mean": wide[f"{prefix}_mean"], "sd": wide[f"{prefix}_sd"]}
            row["difference"] = wide.get(prefix.replace("with", "difference", 1)) if setting != OFF else None
            rows.append(row | {"n": wide[f"{prefix}_n"]})
    frame = pd.DataFrame(rows, columns=["subset", "setting", "train_images", "mean", "sd", "difference", "n"])
    word = METRIC_TITLES[metric.removeprefix("val_")]
    columns = (
        Column("Subset", "subset"),
        Column("Pretraining", "setting"),
        Column("Train images", "train_images", form="count"),
        Column(unit_of(capitalised(word), form), "mean", "sd", form),
        Column("Difference", "difference", form=_signed(form)),
        Column("n", "n", form="count"),
    )
    points = ", in percentage points" if form == "percent" else ""
    difference = f"Difference: to the same subset without pretraining{points}."
    caption = [selection_rule(study), OPTIMISTIC, floor_sentence(study), NO_EVIDENCE, difference]
    return Content(join_sentences(caption), frame, columns)


def _signed(form: str) -> str:
    """Form of a difference of values in a form."""
    return "points" if form == "percent" else "signed"


def class_recall_table(study: Study, split: str) -> Content | None:
    """Recall of every class, on validation beside the published figures; None without test images for those of the test.

    Args:
        study: Any study.
        split: "val" or "test".
    """
    runs = study.selected()
    if split == "test" and not runs["test_accuracy"].notna().any():
        return None
    runs = runs[runs["control"] == ""]
    names = [f"{split}_recall_{name.lower()}" for name in study.classes]
    own, published = _own_recalls(study, runs, names), _published_recalls(names) if split == "val" else []
    subsets = runs[["fraction", "subset"]].drop_duplicates().sort_values("fraction")["subset"]
    rows = [row for subset in subsets for row in (*own, *published) if row["subset"] == subset]
    spreads = [f"{name}_sd" for name in names]
    values = [column for pair in zip(names, spreads, strict=True) for column in pair]
    frame = pd.DataFrame(rows, columns=["subset", "setting", "source", "n", *values])
    columns = (
        Column("Subset", "subset"),
        Column("Pretraining", "setting"),
        *(
            Column(title, name, spread, "percent1")
            for title, name, spread in zip(study.classes, names, spreads, strict=True)
        ),
        Column("n", "n", form="count"),
    )
    caption = [
        selection_rule(study),
        "Recall of each class in %; a dash: the split has no image of the class.",
        OPTIMISTIC if split == "val" else "No choice was made on the test images.",
        PUBLISHED_NOTE if (frame["source"] == "published").any() else "",
    ]
    return Content(join_sentences(caption), frame, columns)


def _own_recalls(study: Study, runs: pd.DataFrame, names: Sequence[str]) -> list[dict[str, object]]:
    """A row for each subset and compared setting that has runs: mean and standard deviation of every class."""
    summaries = {name: summarise(runs, name) for name in names}
    settings = runs["arm"].map(setting_of)
    rows: list[dict[str, object]] = []
    for subset in runs["subset"].unique():
        for setting in compared_settings(study):
            if (subset, setting) not in summaries[names[0]].index:
                continue
            row: dict[str, object] = {"subset": subset, "setting": setting_title(setting), "source": "study"}
            row["n"] = int(((runs["subset"] == subset) & (settings == setting)).sum())
            for name in names:
                row[name] = summaries[name].loc[(subset, setting), "mean"]
                row[f"{name}_sd"] = summaries[name].loc[(subset, setting), "sd"]
            rows.append(row)
    return rows


def _published_recalls(names: Sequence[str]) -> list[dict[str, object]]:
    """A row for each published run; none where the study has other classes."""
    published = published_results()
    if not set(names) <= set(published):
        return []
    return [
        {
            "subset": run["subset"],
            "setting": f"published, {run['pretraining']}",
            "source": "published",
            "n": 1,
            **{name: run[name] for name in names},
        }
        for run in published.to_dict("records")
    ]


def held_out_table(study: Study) -> Content | None:
    """Scores on the test images; None without any."""
    runs = study.selected()
    runs = runs[runs["control"] == ""]
    if not runs["test_accuracy"].notna().any():
        return None
    frame = _by_arm(runs, ["test_accuracy", "test_macro_f1", "test_weighted_f1"])
    columns = (
        Column("Subset", "subset"),
        Column("Pretraining", "setting"),
        Column("Accuracy %", "test_accuracy", "test_accuracy_sd", "percent"),
        Column("Macro F1", "test_macro_f1", "test_macro_f1_sd", "score"),
        Column("Weighted F1", "test_weighted_f1", "test_weighted_f1_sd", "score"),
        Column("n", "n", form="count"),
    )
    caption = [
        selection_rule(study),
        choice_sentence("test"),
        "The standard deviation is over seeds alone; that other test images would give other values is not in it.",
        floor_sentence(study, "test"),
        NO_EVIDENCE,
    ]
    return Content(join_sentences(caption), frame, columns)


def calibration_table(study: Study) -> Content | None:
    """Calibration of the confirmed models; None without predictions."""
    frame = calibration(study)
    if not len(frame):
        return None
    columns = (
        Column("Subset", "subset"),
        Column("Arm", "setting"),
        Column("Of", "kind"),
        Column("Temperature", "temperature", form="share"),
        Column("ECE %", "ece", form="percent"),
        Column("ECE % calibrated", "ece_tempered", form="percent"),
        Column("Loss", "loss", form="score"),
        Column("Loss calibrated", "loss_tempered", form="score"),
        Column("n", "runs", form="count"),
    )
    split = str(frame["split"].iloc[0])
    caption = [
        f"Whether {SPLIT_TITLES[split]} probabilities keep their word. ECE: expected calibration error, "
        f"the mean gap between confidence and accuracy over {BINS} bins; with few images it is above zero by chance alone. "
        "Loss: cross-entropy, natural logarithm. Calibrated: logits divided by the temperature that was fitted on the validation "
        "images; it changes no answer. Single run: mean over n runs; ensemble: of the mean probabilities of the n runs. "
        f"Winners and epochs by {metric_title(study.metric)}.",
        OPTIMISTIC if split == "val" else "",
    ]
    return Content(join_sentences(caption), frame, columns)


def controls_table(study: Study) -> Content | None:
    """Controls beside what they control; None without controls."""
    runs = study.selected()
    controls = runs[runs["control"] != ""]
    if not len(controls):
        return None
    metrics = ["val_accuracy", "val_macro_f1", "test_accuracy", "test_macro_f1"]
    frame = _by_arm(controls, metrics)
    columns = [
        Column("Subset", "subset"),
        Column("Control", "setting"),
        Column("Validation accuracy %", "val_accuracy", "val_accuracy_sd", "percent"),
        Column("Validation macro F1", "val_macro_f1", "val_macro_f1_sd", "score"),
    ]
    if frame["test_accuracy"].notna().any():
        columns.append(Column("Test accuracy %", "test_accuracy", "test_accuracy_sd", "percent"))
        columns.append(Column("Test macro F1", "test_macro_f1", "test_macro_f1_sd", "score"))
    columns.append(Column("n", "n", form="count"))
    caption = [
        "Control arms take no part in the comparison above.",
        selection_rule(study),
        OPTIMISTIC,
    ]
    notes = describe_controls(controls["control"])
    return Content(join_sentences(caption), frame, tuple(columns), notes)


def _by_arm(runs: pd.DataFrame, metrics: Sequence[str]) -> pd.DataFrame:
    """Mean and SD of the metrics, one row per arm, ordered by fraction, ``off`` first."""
    grouped = runs.groupby("arm", sort=False)
    frame = grouped[["fraction", "subset", "fusion", "encoders", "control"]].first()
    frame.insert(0, "setting", [setting_of(str(arm)) for arm in frame.index])
    frame["n"] = grouped["seed"].count()
    for metric in metrics:
        frame[metric] = grouped[metric].mean()
        frame[f"{metric}_sd"] = grouped[metric].std(ddof=1)
    frame["first"] = frame["setting"] != OFF
    frame = frame.sort_values(["fraction", "first", "setting"], kind="stable").drop(columns="first").reset_index()
    frame["setting"] = setting_titles(frame)
    return frame
