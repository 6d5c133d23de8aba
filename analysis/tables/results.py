"""The tables of a study, in the form of the published report.

A `Table` holds numbers. How they look (percent, digits, mean ± SD) is said by its columns, so that the terminal, the
page, Markdown and LaTeX show the same and CSV keeps full precision.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import pandas as pd

from analysis.arms import (
    OFF,
    compare_means,
    compared_settings,
    comparison_columns,
    setting_of,
    setting_title,
    summarise,
)
from analysis.metrics import metric_title
from analysis.records.published import PUBLISHED_NOTE, published_results
from analysis.tables.table import Column, Table
from analysis.wording.captions import NO_EVIDENCE, OPTIMISTIC, floor_sentence, join_sentences, selection_rule
from analysis.wording.controls import describe_controls
from analysis.wording.formats import show_range, unit_of

if TYPE_CHECKING:
    from analysis.records.study import Study


_SIDE_BY_SIDE = 2
"""Settings with pretraining that a comparison shows in columns; more of them become rows."""


def comparison_table(study: Study, name: str, title: str, metric: str, form: str) -> Table:
    """One metric of every setting, side by side at each fraction."""
    frame = compare_means(study, metric).reset_index()
    if len(comparison_columns(study)) > _SIDE_BY_SIDE:
        return _stacked_comparison(study, name, title, metric, form, frame)
    columns = [Column("Subset", "subset"), Column("Train images", "train_images", form="count")]
    columns.append(Column(unit_of("Without", form), "without_mean", "without_sd", form))
    prefixes = comparison_columns(study)
    for setting, prefix in prefixes.items():
        label = setting_title(setting).capitalize() if setting in compared_settings(study) else "With"
        columns.append(Column(unit_of(label, form), f"{prefix}_mean", f"{prefix}_sd", form))
    for setting, prefix in prefixes.items():
        label = "Difference" if len(prefixes) == 1 else f"Difference ({setting})"
        signed = "points" if form == "percent" else "signed"
        columns.append(Column(label, prefix.replace("with", "difference", 1), form=signed))
    counts = frame[["without_n", *(f"{prefix}_n" for prefix in prefixes.values())]]
    if len(frame):
        frame["n"] = [show_range(row) for row in counts.to_numpy()]
    else:
        frame["n"] = pd.Series([], dtype="str")
    columns.append(Column("n", "n", form="count"))
    caption = [selection_rule(study), OPTIMISTIC, floor_sentence(study), NO_EVIDENCE]
    if form == "percent":
        caption.append("Difference in percentage points.")
    if frame[["published_without", "published_with"]].notna().any(axis=None):
        columns.append(Column("Published without", "published_without", form=form))
        columns.append(Column("Published with", "published_with", form=form))
        caption.append(PUBLISHED_NOTE)
    elif metric == "val_macro_f1":
        caption.append("Macro F1 was not published.")
    return Table(name, title, join_sentences(caption), frame, tuple(columns))


def _stacked_comparison(study: Study, name: str, title: str, metric: str, form: str, compared: pd.DataFrame) -> Table:
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
    word = {"val_accuracy": "Accuracy", "val_macro_f1": "Macro F1", "val_weighted_f1": "Weighted F1"}[metric]
    columns = (
        Column("Subset", "subset"),
        Column("Pretraining", "setting"),
        Column("Train images", "train_images", form="count"),
        Column(unit_of(word, form), "mean", "sd", form),
        Column("Difference", "difference", form="points" if form == "percent" else "signed"),
        Column("n", "n", form="count"),
    )
    caption = [
        selection_rule(study),
        OPTIMISTIC,
        floor_sentence(study),
        NO_EVIDENCE,
        "Difference: to the same subset without",
    ]
    caption[-1] += " pretraining, in percentage points." if form == "percent" else " pretraining."
    return Table(name, title, join_sentences(caption), frame, columns)


def class_recall_table(study: Study, split: str) -> Table | None:
    """Recall of every class beside the published figures; None without classes to show."""
    names = [f"{split}_recall_{name.lower()}" for name in study.classes]
    runs = study.selected()
    if split == "test" and not runs["test_accuracy"].notna().any():
        return None
    runs = runs[runs["control"] == ""]
    subsets = runs[["fraction", "subset"]].drop_duplicates().sort_values("fraction")["subset"]
    summaries = {name: summarise(runs, name) for name in names}
    published = published_results() if split == "val" else pd.DataFrame()
    rows: list[dict[str, object]] = []
    for subset in subsets:
        for setting in compared_settings(study):
            if (subset, setting) not in summaries[names[0]].index:
                continue
            row: dict[str, object] = {"subset": subset, "setting": setting_title(setting), "source": "study"}
            row["n"] = int(((runs["subset"] == subset) & (runs["arm"].map(setting_of) == setting)).sum())
            for name in names:
                row[name] = summaries[name].loc[(subset, setting), "mean"]
                row[f"{name}_sd"] = summaries[name].loc[(subset, setting), "sd"]
            rows.append(row)
        if len(published) and set(names) <= set(published):
            for run in published[published["subset"] == subset].to_dict("records"):
                row = {"subset": subset, "setting": f"published, {run['pretraining']}", "source": "published", "n": 1}
                rows.append(row | {name: run[name] for name in names})
    frame = pd.DataFrame(
        rows, columns=["subset", "setting", "source", "n", *(c for name in names for c in (name, f"{name}_sd"))]
    )
    columns = [Column("Subset", "subset"), Column("Pretraining", "setting")]
    columns += [
        Column(name, column, f"{column}_sd", "percent1") for name, column in zip(study.classes, names, strict=True)
    ]
    columns.append(Column("n", "n", form="count"))
    word = {"val": "Validation", "test": "Test"}[split]
    caption = [selection_rule(study), "Recall of each class in %; a dash: the split has no image of the class."]
    caption.append(OPTIMISTIC if split == "val" else "No choice was made on the test images.")
    if (frame["source"] == "published").any():
        caption.append(PUBLISHED_NOTE)
    return Table(f"{word.lower()}_recall", f"{word} recall by class", join_sentences(caption), frame, tuple(columns))


def held_out_table(study: Study) -> Table | None:
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
        "Nothing was chosen on the test images.",
        "The standard deviation is over seeds alone; that other test images would give other values is not in it.",
        floor_sentence(study, "test"),
        NO_EVIDENCE,
    ]
    return Table("test_metrics", "Test metrics", join_sentences(caption), frame, columns)


def calibration_table(study: Study) -> Table | None:
    """Calibration of the confirmed models; None without predictions."""
    from analysis.statistics.calibration import BINS, calibration

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
        f"Whether {'test' if split == 'test' else 'validation'} probabilities keep their word. ECE: expected calibration error, "
        f"the mean gap between confidence and accuracy over {BINS} bins; with few images it is above zero by chance alone. "
        "Loss: cross-entropy, natural logarithm. Calibrated: logits divided by the temperature that was fitted on the validation "
        "images; it changes no answer. Single run: mean over n runs; ensemble: of the mean probabilities of the n runs. "
        f"Winners and epochs by {metric_title(study.metric)}.",
        OPTIMISTIC if split == "val" else "",
    ]
    return Table(
        "calibration", "Calibration of the probabilities", join_sentences(caption), frame, columns, detail=True
    )


def controls_table(study: Study) -> Table | None:
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
    return Table("controls", "Controls", join_sentences(caption), frame, tuple(columns), notes=notes)


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
    frame["setting"] = [
        setting if control else setting_title(setting)
        for setting, control in zip(frame["setting"], frame["control"], strict=True)
    ]
    return frame
