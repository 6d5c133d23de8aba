"""Tables of the search: winners, budgets, pretraining, lost trials, tuning."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pandas as pd

from analysis.arms import OFF, setting_of
from analysis.hyperparameters import hyperparameter_title
from analysis.metrics import metric_title
from analysis.records.schema import Phase, TrialStatus
from analysis.statistics.tuning import tuning_curves, why_no_tuning_curves, winners_at_edges
from analysis.tables.table import Column, Content

if TYPE_CHECKING:
    from analysis.records.study import Study


def winners_table(study: Study) -> Content:
    """The settings that won each arm's search."""
    winners = study.winners()
    trials = study.trials[study.trials["phase"] == Phase.SEARCH]
    finished = trials[trials["status"] == TrialStatus.COMPLETED].groupby("arm")["trial_id"].count()
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
        *(
            Column(hyperparameter_title(name).capitalize(), name, form=_form_of(frame[name]))
            for name in study.searched_settings
        ),
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
    return Content(caption, frame, columns)


def budget_table(study: Study, phase: str) -> Content:
    """Trials, epochs and time of each arm in one phase, `search` or `confirm`."""
    trials = study.trials[study.trials["phase"] == phase].copy()
    trials["rank"] = [setting_of(arm) != OFF for arm in trials["arm"]]
    trials = trials.sort_values(["control", "fraction", "rank", "arm"], kind="stable")
    grouped = trials.groupby("arm", sort=False)
    frame = pd.DataFrame({"trials": grouped["trial_id"].count()})
    statuses = [status.value for status in TrialStatus]
    for status in statuses:
        frame[status] = (trials["status"] == status).groupby(trials["arm"], sort=False).sum().astype("int64")
    frame = frame.join(grouped[["epochs", "gradient_steps", "seconds"]].sum())
    frame = frame.rename_axis("arm").reset_index()
    if len(frame) > 1:
        total = frame.drop(columns="arm").sum().to_dict()
        frame = pd.concat([frame, pd.DataFrame([{"arm": "all arms", **total}])], ignore_index=True)
    counts = ["trials", *statuses, "epochs", "gradient_steps"]
    frame = frame.astype(dict.fromkeys(counts, "int64"))
    columns = [Column("Arm", "arm"), Column("Trials", "trials", form="count")]
    columns += [
        Column(status.capitalize(), status, form="count")
        for status in sorted(statuses, key=lambda status: status == TrialStatus.RUNNING)
        if status != TrialStatus.RUNNING or frame[status].any()
    ]
    columns += [
        Column("Epochs", "epochs", form="count"),
        Column("Gradient steps", "gradient_steps", form="count"),
        Column("Seconds", "seconds", form="seconds"),
    ]
    word = "confirmation" if phase == Phase.CONFIRM else "search"
    caption = (
        f"What each arm spent in the {word}. Stopped: by the scheduler before the last epoch; diverged: the loss was "
        "not finite. Epochs count once even when they were computed twice; seconds: training and validation, summed "
        "over trials, not wall-clock time."
    )
    return Content(caption, frame, tuple(columns))


def pretraining_table(study: Study) -> Content | None:
    """How each encoder was pretrained; None without pretraining."""
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
    return Content(caption, pd.DataFrame(rows), columns)


def failures_table(study: Study) -> Content | None:
    """Trials that failed, with the reason; None where none did."""
    trials = study.trials
    failed = trials[trials["status"] == TrialStatus.FAILED].sort_values(
        ["phase", "fraction", "arm", "index"], kind="stable"
    )
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
    return Content(caption, frame, columns)


def edges_table(study: Study) -> Content | None:
    """Winners at the edge of what was searched; None where none is."""
    frame = winners_at_edges(study)
    if not len(frame):
        return None
    frame["name"] = [hyperparameter_title(name) for name in frame["hyperparameter"]]
    columns = (
        Column("Arm", "arm"),
        Column("Setting", "name"),
        Column("Winner", "value", form="number"),
        Column("Searched", "low", "high", "number_range"),
        Column("Edge", "side"),
    )
    caption = (
        "Warning: these winners lie at the end of what was searched (the outer value of a list, or the outer 5 % of a range on "
        "the scale that it is searched on). A better value may lie beyond: widen the range and search again."
    )
    return Content(caption, frame, columns)


def tuning_curves_table(study: Study) -> Content | None:
    """Best of so many random trials; None where the search does not allow such curves."""
    if why_no_tuning_curves(study):
        return None
    frame = tuning_curves(study)
    if not len(frame):
        return None
    metric = metric_title(study.metric)
    form = "percent" if study.metric == "val_accuracy" else "score"
    columns = (
        Column("Arm", "arm"),
        Column("Trials", "trials", form="count"),
        Column(f"Best {metric}{' %' if form == 'percent' else ''}", "value", form=form),
        Column("95 % band", "low", "high", f"{form}_range"),
    )
    caption = (
        f"Median of the best {metric} of that many random trials. The band holds the whole curve of an arm at "
        "once with at least 95 % probability. Validation chose the epochs: optimistic."
    )
    return Content(caption, frame, columns)


def _form_of(values: pd.Series[Any]) -> str:
    return "number" if pd.api.types.is_float_dtype(values) else "text"
