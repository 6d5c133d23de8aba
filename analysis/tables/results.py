"""The tables of a study, in the form of the published report.

A `Table` holds numbers. How they look (percent, digits, mean ± SD) is said by its columns, so that the terminal, the
page, Markdown and LaTeX show the same and CSV keeps full precision.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from analysis.arms import (
    OFF,
    compare,
    compared_settings,
    majority_floor,
    setting_of,
    setting_title,
    summarise,
    with_prefixes,
)
from analysis.metrics import metric_title
from analysis.records.published import PUBLISHED_NOTE, published_results
from analysis.records.schema import STATUSES
from analysis.wording.controls import describe_controls

if TYPE_CHECKING:
    from analysis.records.study import Study

MISSING = "\N{EN DASH}"
"""Shown for a value that does not exist (yet)."""


_SIDE_BY_SIDE = 2
"""Settings with pretraining that a comparison shows in columns; more of them become rows."""


@dataclass(frozen=True)
class Column:
    """How one or two columns of a table's frame are shown."""

    title: str
    value: str
    """Name of the frame's column."""
    spread: str = ""
    """Name of the column with the standard deviation, or with the upper bound where the form is a range; empty for none."""
    form: str = "text"
    """"text", "count", "percent" (share times 100, two digits), "points" (signed percent), "score" (three digits),
    "scientific", "number" (three significant digits), "seconds", "p", "share"; with "_range" behind it, from the value to the
    spread's column."""


@dataclass(frozen=True)
class Table:
    """One table.

    Attributes:
        name: Name of its files, e.g. ``validation_accuracy``.
        title: Short heading.
        caption: Selection rule, n, what the spread is, and what the values are not.
        frame: The numbers, in full precision; shares in [0, 1].
        columns: How they are shown.
        notes: Words of the table with what they mean: a list below the caption.
        detail: Whether the report and the files are enough: too long or too particular for a terminal.
    """

    name: str
    title: str
    caption: str
    frame: pd.DataFrame
    columns: tuple[Column, ...]
    detail: bool = False
    notes: tuple[tuple[str, str], ...] = ()

    def display(self) -> pd.DataFrame:
        """The table as strings: one column per entry of `columns`, missing values as a dash."""
        shown = {}
        for column in self.columns:
            spreads = list(self.frame[column.spread]) if column.spread else [None] * len(self.frame)
            shown[column.title] = [
                _show(value, spread, column.form)
                for value, spread in zip(self.frame[column.value], spreads, strict=True)
            ]
        return pd.DataFrame(shown, columns=[column.title for column in self.columns], dtype="str")

    @property
    def numeric(self) -> tuple[bool, ...]:
        """Which shown columns hold numbers and are set flush right."""
        return tuple(column.form != "text" for column in self.columns)


def tables(study: Study) -> list[Table]:
    """All tables of a study, in the order of the report; those without any content are left out.

    Args:
        study: Any study, also one that has only begun.
    """
    # The statistics are imported when they are asked for: they need this module's Table.
    from analysis.tables.evaluation import evaluation_tables
    from analysis.tables.evidence import evidence_tables, tuning_tables

    made = [
        *evidence_tables(study),
        _comparison(study, "validation_accuracy", "Validation accuracy", "val_accuracy", "percent"),
        _comparison(study, "validation_weighted_f1", "Validation weighted F1", "val_weighted_f1", "score"),
        _comparison(study, "validation_macro_f1", "Validation macro F1", "val_macro_f1", "score"),
        _class_recall(study, "val"),
        _test(study),
        _class_recall(study, "test"),
        _calibration(study),
        _controls(study),
        *evaluation_tables(study),
        _winners(study),
        *tuning_tables(study),
        _budget(study, "search"),
        _budget(study, "confirm"),
        _pretraining(study),
        _failures(study),
    ]
    return [table for table in made if table is not None]


def selection_rule(study: Study) -> str:
    """One or two sentences: which runs the values come from, n, and what the spread is."""
    metric = metric_title(study.metric)
    runs = study.selected()
    if not len(runs):
        return "No full-length run has ended yet."
    if runs["rule"].iloc[0] == "winner":
        return (
            f"No confirmed runs yet: each value is the single run (n = 1) that won its arm's search by {metric} at its "
            "best epoch; there is no spread."
        )
    counts = runs[runs["control"] == ""].groupby("arm")["seed"].count()
    counts = counts if len(counts) else runs.groupby("arm")["seed"].count()
    n = str(counts.min()) if counts.min() == counts.max() else f"{counts.min()} to {counts.max()}"
    return (
        f"Each arm's winner of the search (by {metric}) retrained over n = {n} seeds, each run at its best epoch by "
        f"{metric}; mean ± standard deviation over seeds (ddof 1; none for a single run)."
    )


OPTIMISTIC = "Settings and epochs were chosen on these very validation images: the values are optimistic."
NO_EVIDENCE = "A difference of means is shown without an interval and is no evidence of a gain."


def floor_sentence(study: Study, split: str = "val") -> str:
    """What always answering the majority class scores on this split; empty while the images are not known."""
    floor = majority_floor(study, split)
    if not floor:
        return ""
    name = {"val": "validation", "test": "test"}[split]
    return (
        f"Floor: always answering {floor['class']} scores {100 * float(floor['accuracy']):.2f} % accuracy, macro F1 "
        f"{float(floor['macro_f1']):.3f} and weighted F1 {float(floor['weighted_f1']):.3f} on the {floor['images']} "
        f"{name} images."
    )


def _comparison(study: Study, name: str, title: str, metric: str, form: str) -> Table:
    frame = compare(study, metric).reset_index()
    if len(with_prefixes(study)) > _SIDE_BY_SIDE:
        return _stacked_comparison(study, name, title, metric, form, frame)
    columns = [Column("Subset", "subset"), Column("Train images", "train_images", form="count")]
    columns.append(Column(_unit("Without", form), "without_mean", "without_sd", form))
    prefixes = with_prefixes(study)
    for setting, prefix in prefixes.items():
        label = setting_title(setting).capitalize() if setting in compared_settings(study) else "With"
        columns.append(Column(_unit(label, form), f"{prefix}_mean", f"{prefix}_sd", form))
    for setting, prefix in prefixes.items():
        label = "Difference" if len(prefixes) == 1 else f"Difference ({setting})"
        signed = "points" if form == "percent" else "signed"
        columns.append(Column(label, prefix.replace("with", "difference", 1), form=signed))
    counts = frame[["without_n", *(f"{prefix}_n" for prefix in prefixes.values())]]
    if len(frame):
        frame["n"] = [_range(row) for row in counts.to_numpy()]
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
    return Table(name, title, _sentences(caption), frame, tuple(columns))


def _stacked_comparison(study: Study, name: str, title: str, metric: str, form: str, compared: pd.DataFrame) -> Table:
    """One row for each subset and setting: many settings beside each other would not fit any page."""
    prefixes = {OFF: "without", **with_prefixes(study)}
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
        Column(_unit(word, form), "mean", "sd", form),
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
    return Table(name, title, _sentences(caption), frame, columns)


def _class_recall(study: Study, split: str) -> Table | None:
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
    return Table(f"{word.lower()}_recall", f"{word} recall by class", _sentences(caption), frame, tuple(columns))


def _test(study: Study) -> Table | None:
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
    return Table("test_metrics", "Test metrics", _sentences(caption), frame, columns)


def _calibration(study: Study) -> Table | None:
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
    return Table("calibration", "Calibration of the probabilities", _sentences(caption), frame, columns, detail=True)


def _controls(study: Study) -> Table | None:
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
    return Table("controls", "Controls", _sentences(caption), frame, tuple(columns), notes=notes)


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


def _winners(study: Study) -> Table:
    winners = study.winners()
    trials = study.trials[study.trials["phase"] == "search"]
    finished = trials[trials["status"] == "completed"].groupby("arm")["trial_id"].count()
    frame = winners[["arm", "trial_id", "learning_rate", "weight_decay", "best_epoch", "epochs"]].copy()
    for metric in ("val_accuracy", "val_macro_f1", "val_weighted_f1", "val_loss"):
        frame[metric] = winners[metric]
    frame["of_completed"] = [int(finished.get(arm, 0)) for arm in frame["arm"]]
    for name in study.searched_settings:
        frame[name] = winners[name]
    columns = (
        Column("Arm", "arm"),
        Column("Learning rate", "learning_rate", form="scientific"),
        Column("Weight decay", "weight_decay", form="scientific"),
        *(Column(setting_heading(name), name, form=_form_of(frame[name])) for name in study.searched_settings),
        Column("Best epoch", "best_epoch", form="count"),
        Column("Accuracy %", "val_accuracy", form="percent"),
        Column("Macro F1", "val_macro_f1", form="score"),
        Column("Loss", "val_loss", form="score"),
        Column("Best of", "of_completed", form="count"),
    )
    metric = metric_title(study.metric)
    caption = (
        f"The full-length trial of each arm with the best {metric} at its best epoch; ties go to the lower "
        "validation loss, then to the lower index. One run each (n = 1), the best of the number of completed trials in "
        "the last column: optimistic, and the more so the more trials there were. Loss: mean cross-entropy, natural "
        "logarithm."
    )
    return Table("winners", "Winning hyperparameters", caption, frame, columns)


def setting_heading(name: str) -> str:
    """Heading of a searched setting's column: ``training.loss_weights`` -> "Loss weights"."""
    return name.rpartition(".")[2].replace("_", " ").capitalize()


def _form_of(values: pd.Series[Any]) -> str:
    return "number" if pd.api.types.is_float_dtype(values) else "text"


def _budget(study: Study, phase: str) -> Table:
    trials = study.trials[study.trials["phase"] == phase].copy()
    trials["rank"] = [setting_of(arm) != OFF for arm in trials["arm"]]
    trials = trials.sort_values(["control", "fraction", "rank", "arm"], kind="stable")
    grouped = trials.groupby("arm", sort=False)
    frame = pd.DataFrame({"trials": grouped["trial_id"].count()})
    for status in STATUSES:
        frame[status] = (trials["status"] == status).groupby(trials["arm"], sort=False).sum().astype("int64")
    frame = frame.join(grouped[["epochs", "gradient_steps", "seconds"]].sum())
    frame = frame.rename_axis("arm").reset_index()
    if len(frame) > 1:
        total = frame.drop(columns="arm").sum().to_dict()
        frame = pd.concat([frame, pd.DataFrame([{"arm": "all arms", **total}])], ignore_index=True)
    counts = ["trials", *STATUSES, "epochs", "gradient_steps"]
    frame = frame.astype(dict.fromkeys(counts, "int64"))
    columns = [Column("Arm", "arm"), Column("Trials", "trials", form="count")]
    columns += [
        Column(status.capitalize(), status, form="count")
        for status in ("completed", "stopped", "diverged", "failed", "running")
        if status != "running" or frame["running"].any()
    ]
    columns += [
        Column("Epochs", "epochs", form="count"),
        Column("Gradient steps", "gradient_steps", form="count"),
        Column("Seconds", "seconds", form="seconds"),
    ]
    word = {"search": "search", "confirm": "confirmation"}[phase]
    caption = (
        f"What each arm spent in the {word}. Stopped: by the scheduler before the last epoch; diverged: the loss was "
        "not finite. Epochs count once even when they were computed twice; seconds: training and validation, summed "
        "over trials, not wall-clock time."
    )
    return Table(f"budget_{phase}", f"Budget spent in the {word}", caption, frame, tuple(columns))


def _pretraining(study: Study) -> Table | None:
    curves = study.curves
    if not len(curves):
        return None
    rows = []
    for encoder, curve in curves.groupby("encoder", sort=True):
        ordered = curve.sort_values("epoch")
        best = ordered.sort_values("val_loss", kind="stable").iloc[0]
        rows.append(
            {
                "encoder": str(encoder),
                "epochs": int(ordered["epoch"].max()),
                "train_loss": ordered["train_loss"].iloc[-1],
                "val_loss": ordered["val_loss"].iloc[-1],
                "lowest_val_loss": best["val_loss"],
                "lowest_epoch": int(best["epoch"]),
                "val_accuracy": ordered["val_accuracy"].max(),
                "seconds": ordered["seconds"].sum(),
            }
        )
    columns = (
        Column("Encoder", "encoder"),
        Column("Epochs", "epochs", form="count"),
        Column("Last train loss", "train_loss", form="loss"),
        Column("Last val. loss", "val_loss", form="loss"),
        Column("Lowest val. loss", "lowest_val_loss", form="loss"),
        Column("at epoch", "lowest_epoch", form="count"),
        Column("Best val. accuracy %", "val_accuracy", form="percent"),
        Column("Seconds", "seconds", form="seconds"),
    )
    caption = (
        "One pretraining run per encoder (n = 1). The loss is cross-entropy for a classifier and mean squared error "
        "for an autoencoder, which has no accuracy; the best accuracy is chosen on the validation images."
    )
    return Table("pretraining", "Pretraining", caption, pd.DataFrame(rows), columns)


def _failures(study: Study) -> Table | None:
    trials = study.trials
    failed = trials[trials["status"] == "failed"].sort_values(["phase", "fraction", "arm", "index"], kind="stable")
    if not len(failed):
        return None
    frame = failed[["trial_id", "phase", "arm", "index", "seed", "epochs", "error"]].reset_index(drop=True)
    frame["reason"] = [error.strip().splitlines()[-1] if error.strip() else "" for error in frame["error"]]
    columns = (
        Column("Trial", "trial_id"),
        Column("Arm", "arm"),
        Column("Phase", "phase"),
        Column("Epochs", "epochs", form="count"),
        Column("Reason", "reason"),
    )
    caption = "Trials that ended with an exception after all retries; the last line of each traceback (CSV has all)."
    return Table("failures", "Failed trials", caption, frame, columns)


def _sentences(parts: Sequence[str]) -> str:
    return " ".join(part for part in parts if part)


def _unit(title: str, form: str) -> str:
    return f"{title} %" if form == "percent" else title


def _range(counts: np.ndarray[tuple[int], np.dtype[np.int64]]) -> str:
    low, high = int(counts.min()), int(counts.max())
    return str(low) if low == high else f"{low}-{high}"


_FORMS = {
    "percent": (100.0, "{:.2f}"),
    "percent1": (100.0, "{:.1f}"),
    "points": (100.0, "{:+.2f}"),
    "score": (1.0, "{:.3f}"),
    "signed": (1.0, "{:+.3f}"),
    "scientific": (1.0, "{:.2e}"),
    "number": (1.0, "{:.3g}"),
    "loss": (1.0, "{:.5f}"),
    "seconds": (1.0, "{:,.0f}"),
    "percent_points": (100.0, "{:.2f}"),
    "share": (1.0, "{:.2f}"),
    "p": (1.0, "{:.3f}"),
}
_RANGE = "_range"
"""Ends the form of a column that shows two bounds, each in the form before it."""


def _show(value: object, spread: object, form: str) -> str:
    if value is None or value is pd.NA or (isinstance(value, float) and np.isnan(value)):
        return MISSING
    if form == "text" or isinstance(value, str):
        return str(value)
    if form == "count":
        return f"{value:,}"
    if form.endswith(_RANGE):
        return " to ".join(_show(bound, None, form.removesuffix(_RANGE)) for bound in (value, spread))
    scale, pattern = _FORMS[form]
    if form == "p" and float(value) < 0.001:  # type: ignore[arg-type]  # as below
        pattern = "< 0.001"
    # Differences that cancel leave -1e-17, which is no negative difference.
    number = round(scale * float(value), 12) + 0.0  # type: ignore[arg-type]  # a number: its column's form says so
    shown = pattern.format(number)
    if spread is None or np.isnan(float(spread)):  # type: ignore[arg-type]  # as above
        return shown
    return f"{shown} ± {pattern.format(scale * float(spread))}"  # type: ignore[arg-type]  # as above
