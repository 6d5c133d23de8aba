"""Tables of what the confirmed runs do on other data sets."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from analysis.metrics import SPLIT_TITLES, confusion_metrics
from analysis.records.errors import StudyError
from analysis.statistics.estimates import arm_intervals
from analysis.statistics.evaluations import Evaluation, left_out, read_evaluations
from analysis.statistics.predictions import study_predictions
from analysis.statistics.scores import METRICS
from analysis.statistics.verdicts import compare_arms
from analysis.tables.evidence import verdicts_content
from analysis.tables.table import Column, Content, Table
from analysis.wording.captions import INTERVAL, TAKEN_AS_GIVEN, join_sentences
from analysis.wording.sections import Level, Section
from analysis.wording.settings import setting_titles

if TYPE_CHECKING:
    from analysis.records.study import Study

_PREFIX = "outside_"
"""Begins the names of these tables."""

_TITLE = "Out of domain"
"""Begins their titles."""


def evaluation_tables(study: Study) -> list[Table]:
    """For every other data set: each arm's metrics beside those on the study's own images, and the verdicts there.

    An evaluation that cannot be read is a table that says so: the study's own results are still wanted. The registry does not
    list these tables one by one: how many there are and what they are called depends on the study.
    """
    try:
        return _tables(study)
    except StudyError as error:
        reason = str(error).replace(f"{study.path}/", "")
        nothing = Content(reason, pd.DataFrame({"arm": []}, dtype="str"), (Column("Arm", "arm"),))
        return [nothing.as_table(f"{_PREFIX}unreadable", _TITLE, Section.OUTSIDE, Level.RESULTS)]


def _tables(study: Study) -> list[Table]:
    evaluations = read_evaluations(study)
    made: list[Table] = []
    for evaluation in evaluations:
        slug = re.sub(r"[^a-z0-9]+", "_", evaluation.name.lower()).strip("_") or "data"
        taken = {table.name for table in made}
        slug = next(name for number in range(len(evaluations)) if _PREFIX + (name := slug + "_" * number) not in taken)
        title = f"{_TITLE}: {evaluation.name}"
        metrics = _metrics(study, evaluation)
        made.append(metrics.as_table(f"{_PREFIX}{slug}", title, Section.OUTSIDE, Level.RESULTS))
        verdicts = compare_arms(evaluation.predictions)
        if len(verdicts):
            content = verdicts_content(verdicts, evaluation.predictions, METRICS[0])
            name, title = f"{_PREFIX}verdicts_{slug}", f"{title}, verdicts"
            made.append(content.as_table(name, title, Section.OUTSIDE, Level.APPENDIX))
    return made


def _metrics(study: Study, evaluation: Evaluation) -> Content:
    own = study_predictions(study)
    outside, inside = (_by_metric(arm_intervals(predictions)) for predictions in (evaluation.predictions, own))
    rows: list[dict[str, Any]] = []
    for arm, first in outside["accuracy"].items():
        row: dict[str, Any] = {key: first[key] for key in ("arm", "subset", "setting", "control", "seeds", "images")}
        for metric in METRICS:
            there = outside[metric][arm]
            row |= {metric: there["value"], f"{metric}_low": there["low"], f"{metric}_high": there["high"]}
            row[f"own_{metric}"] = inside[metric].get(arm, {}).get("value")
        rows.append(row)
    frame = pd.DataFrame(rows)
    if _classes_with(evaluation, 1):
        frame[["macro_f1_low", "macro_f1_high"]] = float("nan")
    frame["title"] = setting_titles(frame)
    word = SPLIT_TITLES[own.split].capitalize()
    columns = (
        Column("Subset", "subset"),
        Column("Pretraining", "title"),
        Column("Accuracy %", "accuracy", form="percent"),
        Column("95 % interval", "accuracy_low", "accuracy_high", "percent_range"),
        Column(f"{word} accuracy %", "own_accuracy", form="percent"),
        Column("Macro F1", "macro_f1", form="score"),
        Column("95 % interval ", "macro_f1_low", "macro_f1_high", "score_range"),
        Column(f"{word} macro F1", "own_macro_f1", form="score"),
        Column("n", "seeds", form="count"),
    )
    caption = [
        f"The confirmed runs on {len(evaluation.predictions.labels):,} images of another data set, beside the study's own "
        f"{SPLIT_TITLES[own.split]} images; mean over n seeds. {INTERVAL}",
        "Nothing was trained, tuned or chosen on that data set; the study's validation chose settings and epochs.",
        _floor(evaluation),
        _scarce_classes(evaluation),
        left_out(evaluation),
        TAKEN_AS_GIVEN,
    ]
    return Content(join_sentences(caption), frame, columns)


def _by_metric(intervals: pd.DataFrame) -> dict[str, dict[str, dict[str, Any]]]:
    """Metric -> arm -> row of `arm_intervals`."""
    rows = [{str(key): value for key, value in row.items()} for row in intervals.to_dict("records")]
    return {metric: {row["arm"]: row for row in rows if row["metric"] == metric} for metric in METRICS}


def _scarce_classes(evaluation: Evaluation) -> str:
    """Which classes macro F1 there cannot be told by; empty when none."""
    missing, single = _classes_with(evaluation, 0), _classes_with(evaluation, 1)
    sentences = []
    if missing:
        sentences.append(f"No image of {', '.join(missing)} there: macro F1 counts such a class as 0.")
    if single:
        sentences.append(
            f"A single image of {', '.join(single)} there: how others of its class would do is not known, and macro F1 has no"
            " interval."
        )
    return " ".join(sentences)


def _classes_with(evaluation: Evaluation, images: int) -> list[str]:
    """Names of the classes that the other data set has so many images of."""
    return [name for name, count in evaluation.images_by_class.items() if count == images]


def _floor(evaluation: Evaluation) -> str:
    """What always answering the most frequent class of the other data set scores there."""
    counts = np.array(list(evaluation.images_by_class.values()))
    confusion = np.zeros((len(counts), len(counts)))
    confusion[:, counts.argmax()] = counts
    metrics = confusion_metrics(confusion)
    return (
        f"Always answering {evaluation.predictions.classes[int(counts.argmax())]} scores "
        f"{100 * float(metrics.accuracy):.2f} % and a macro F1 of {float(metrics.macro_f1):.3f} there."
    )
