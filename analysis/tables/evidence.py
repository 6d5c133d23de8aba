"""Tables of the evidence: verdicts, mean differences, claims, intervals, what could have been detected, and single seeds."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import wraps
from typing import TYPE_CHECKING, Concatenate, ParamSpec

import numpy as np
import pandas as pd

from analysis.arms import setting_of
from analysis.metrics import METRIC_TITLES, SPLIT_TITLES, confusion_metrics, count_confusion, metric_title
from analysis.records.errors import StudyError
from analysis.records.schema import subset_name
from analysis.statistics.claims import check_claims
from analysis.statistics.estimates import arm_intervals
from analysis.statistics.pooled import mean_differences
from analysis.statistics.power import SEEDS, detectable
from analysis.statistics.predictions import Predictions, study_predictions
from analysis.statistics.scores import METRICS
from analysis.statistics.standard_tests import exact_mcnemar, wilson_interval
from analysis.statistics.verdicts import study_verdicts
from analysis.tables.table import Column, Content
from analysis.wording.captions import INTERVAL, OPTIMISTIC, TAKEN_AS_GIVEN, join_sentences, reason_in_words
from analysis.wording.formats import capitalised, show_difference, unit_of
from analysis.wording.settings import setting_titles
from analysis.wording.verdicts import ENOUGH_SEEDS, describe_groups

if TYPE_CHECKING:
    from analysis.records.study import Study


_Arguments = ParamSpec("_Arguments")


@dataclass(frozen=True)
class Evidence:
    """What the statistics say of a study's confirmed runs."""

    predictions: Predictions
    verdicts: pd.DataFrame
    """Rows of `analysis.statistics.verdicts.compare_arms`."""
    intervals: pd.DataFrame
    """Rows of `analysis.statistics.estimates.arm_intervals`."""


def _read_evidence(study: Study) -> Evidence | str:
    """The evidence, or why there is none: other tables of an unfinished or damaged study are still wanted."""
    try:
        predictions, verdicts = study_predictions(study), study_verdicts(study)
    except StudyError as error:
        return reason_in_words(study, error)
    return Evidence(predictions, verdicts, arm_intervals(predictions))


def _from_evidence(
    make: Callable[Concatenate[Evidence, _Arguments], Content],
) -> Callable[Concatenate[Study, _Arguments], Content | None]:
    """A table of the evidence as a function of the study; None where there is no evidence or nothing to show of it."""

    @wraps(make)
    def table(study: Study, /, *arguments: _Arguments.args, **more: _Arguments.kwargs) -> Content | None:
        evidence = study.remember(_read_evidence)
        if isinstance(evidence, str):
            return None
        content = make(evidence, *arguments, **more)
        if not len(content.frame):
            return None
        return replace(content, caption=f"{content.caption} Winners and epochs by {metric_title(study.metric)}.")

    return table


def accuracy_verdicts_table(study: Study) -> Content | None:
    """The verdicts on accuracy; where there can be none, a table without rows that says why."""
    evidence = study.remember(_read_evidence)
    if isinstance(evidence, str):
        return Content(evidence, pd.DataFrame(columns=_VERDICTS), _verdict_columns("points"))
    return verdicts_table(study, METRICS[0])


@_from_evidence
def verdicts_table(evidence: Evidence, metric: str) -> Content:
    """The verdicts on one metric."""
    return verdicts_content(evidence.verdicts, evidence.predictions, metric)


def verdicts_content(verdicts: pd.DataFrame, predictions: Predictions, metric: str) -> Content:
    """The verdicts of `analysis.statistics.verdicts.compare_arms` on one metric of these predictions."""
    frame = verdicts[verdicts["metric"] == metric].reset_index(drop=True)
    frame["baseline_setting"] = _baseline_titles(frame)
    unit = "Percentage points" if metric == METRICS[0] else "Differences"
    split, images = predictions.split, len(predictions.labels)
    caption = [
        f"{unit} of {SPLIT_TITLES[split]} {METRIC_TITLES[metric]}, runs paired by seed, n seeds, {images:,} images. {INTERVAL}",
        "p: two-sided, adjusted by Holm over all fractions and arms of one kind of comparison (fusion minus off, fusion minus "
        "random, controls minus off). Pretraining is called a gain only when it beats both off and random: the same fusion of "
        "the same encoders with random weights; above only one of them is no gain. A control called a gain is above off.",
        _groups(predictions),
        TAKEN_AS_GIVEN,
        OPTIMISTIC if split == "val" else "",
        _few_seeds(frame),
        "The sentence of each comparison is in the CSV.",
    ]
    form = "points" if metric == METRICS[0] else "signed"
    return Content(join_sentences(caption), frame, _verdict_columns(form))


_VERDICTS = ["subset", "setting", "baseline_setting", "difference", "low", "high", "p_holm", "seeds", "verdict"]


def _verdict_columns(form: str) -> tuple[Column, ...]:
    return (
        Column("Subset", "subset"),
        Column("Arm", "setting"),
        Column("Minus", "baseline_setting"),
        Column("Difference", "difference", form=form),
        Column("95 % interval", "low", "high", f"{form}_range"),
        Column("p (Holm)", "p_holm", form="p"),
        Column("n", "seeds", form="count"),
        Column("Verdict", "verdict"),
    )


def _few_seeds(frame: pd.DataFrame) -> str:
    enough = len(frame) and frame["seeds"].min() >= ENOUGH_SEEDS
    return "" if enough else f"With fewer than {ENOUGH_SEEDS} seeds the intervals are somewhat too short."


def _groups(predictions: Predictions) -> str:
    """What the groups of the images mean for the intervals."""
    return describe_groups(predictions.group_count, predictions.lone_group_classes)


@_from_evidence
def mean_differences_table(evidence: Evidence) -> Content:
    """Mean differences of every arm over the fractions."""
    predictions = evidence.predictions
    frame = mean_differences(predictions)
    rows = frame.to_dict("records")
    frame["title"] = [METRIC_TITLES[str(name)] for name in frame["metric"]]
    frame["shown"] = [show_difference(row["difference"], row["metric"]) for row in rows]
    frame["interval"] = [
        " to ".join(show_difference(row[end], row["metric"], unit=False) for end in ("low", "high")) for row in rows
    ]
    frame["baseline_setting"] = _baseline_titles(frame.assign(baseline=frame["baseline_setting"]))
    columns = (
        Column("Metric", "title"),
        Column("Arm", "setting"),
        Column("Minus", "baseline_setting"),
        Column("Difference", "shown"),
        Column("95 % interval", "interval"),
        Column("p", "p", form="p"),
        Column("Over", "subsets"),
        Column("n", "seeds", form="count"),
    )
    caption = [
        f"Mean difference in {SPLIT_TITLES[predictions.split]} metrics over the fractions that are named, each of which counts "
        f"alike; runs paired by the n seeds that all of them share, {len(predictions.labels):,} images. {INTERVAL}",
        "p: two-sided and not adjusted: where nothing differs, one in twenty is below 0.05. This asks whether an arm adds "
        "anything on the whole. There are more runs behind it than behind one fraction, but the same images and seeds, and the "
        "least certain fraction makes most of the interval. It is no verdict; a mean can hide that fractions differ.",
        _groups(predictions),
        TAKEN_AS_GIVEN,
        OPTIMISTIC if predictions.split == "val" else "",
        _few_seeds(frame),
    ]
    return Content(join_sentences(caption), frame, columns)


def _baseline_titles(verdicts: pd.DataFrame) -> list[str]:
    """What an arm is compared with, in a word: the random control has the arm's own fusion, encoders and masks."""
    return [
        kind if kind == "random" else setting_of(baseline)
        for kind, baseline in zip(verdicts["kind"], verdicts["baseline"], strict=True)
    ]


@_from_evidence
def claims_table(evidence: Evidence) -> Content:
    """What the published report inferred, and what this study's records say to it."""
    frame = check_claims(evidence.predictions)
    columns = (
        Column("Claim", "claim"),
        Column("Setting", "setting"),
        Column("What the records say", "sentence"),
        Column("Support", "support"),
    )
    caption = [
        "What the published report inferred from single runs, put to this study's records.",
        INTERVAL,
        _groups(evidence.predictions),
        "Not supported: the records do not bear it out, be it that they contradict it or that they are too few. Cannot be "
        "said: something that is needed is missing. The published figures are in the CSV.",
    ]
    return Content(join_sentences(caption), frame, columns)


@_from_evidence
def intervals_table(evidence: Evidence, metric: str) -> Content:
    """One metric of every arm with its interval."""
    predictions = evidence.predictions
    frame = evidence.intervals[evidence.intervals["metric"] == metric].reset_index(drop=True)
    frame["title"] = setting_titles(frame)
    form, word = "percent" if metric == METRICS[0] else "score", METRIC_TITLES[metric]
    columns = (
        Column("Subset", "subset"),
        Column("Pretraining", "title"),
        Column(unit_of(capitalised(word), form), "value", form=form),
        Column("95 % interval", "low", "high", f"{form}_range"),
        Column("SD over seeds", "seed_sd", form="percent_points" if form == "percent" else form),
        Column("n", "seeds", form="count"),
    )
    caption = [
        f"Mean {SPLIT_TITLES[predictions.split]} {METRIC_TITLES[metric]} over n seeds on "
        f"{len(predictions.labels):,} images. {INTERVAL}",
        "Two intervals that overlap may still belong to arms that differ: the verdicts compare paired runs.",
        _groups(predictions),
        TAKEN_AS_GIVEN,
        OPTIMISTIC if predictions.split == "val" else "",
    ]
    title = f"{SPLIT_TITLES[predictions.split].capitalize()} {METRIC_TITLES[metric]} with intervals"
    return Content(join_sentences(caption), frame, columns, title=title)


@_from_evidence
def detectable_table(evidence: Evidence) -> Content:
    """The smallest difference in accuracy that every comparison could have found."""
    verdicts = evidence.verdicts
    frame = detectable(verdicts[verdicts["metric"] == METRICS[0]])
    frame["setting"] = [setting_of(arm) for arm in frame["arm"]]
    frame["baseline_setting"] = _baseline_titles(frame)
    columns = (
        Column("Subset", "subset"),
        Column("Arm", "setting"),
        Column("Minus", "baseline_setting"),
        Column("SD over seeds", "seed_sd", form="percent_points"),
        Column("Detectable", "detectable", form="percent_points"),
        *(Column(f"Power, {number} seeds", f"power_{number}", form="share") for number in SEEDS),
    )
    caption = (
        "Percentage points of accuracy. Detectable: the smallest true difference that this design finds with 80 % probability. "
        "Power: probability to find a true difference of 5 points with that many seeds on these images, from the variances "
        "over seeds and images seen here, themselves uncertain. Both at the level of Holm's first step."
    )
    return Content(caption, frame, columns)


@_from_evidence
def seed_recalls_table(evidence: Evidence) -> Content:
    """Recall of each class in each run, with Wilson's interval: over images alone."""
    predictions = evidence.predictions
    rows = []
    for arm in predictions.arms:
        counts = [
            count_confusion(predictions.labels, predicted, len(predictions.classes))[0] for predicted in arm.predicted
        ]
        confusion = np.stack(counts)
        recall = confusion_metrics(confusion).recall
        right = np.diagonal(confusion, axis1=1, axis2=2)
        low, high = wilson_interval(right, confusion.sum(axis=2))
        for run, seed in enumerate(arm.seeds):
            for position, name in enumerate(predictions.classes):
                rows.append(
                    {
                        "arm": arm.arm,
                        "seed": int(seed),
                        "class": name,
                        "images": int(confusion[run, position].sum()),
                        "recall": recall[run, position],
                        "low": low[run, position],
                        "high": high[run, position],
                    }
                )
    columns = (
        Column("Arm", "arm"),
        Column("Seed", "seed", form="count"),
        Column("Class", "class"),
        Column("Images", "images", form="count"),
        Column("Recall %", "recall", form="percent1"),
        Column("95 % interval", "low", "high", "percent1_range"),
    )
    caption = (
        f"Each run by itself on the {SPLIT_TITLES[predictions.split]} images. Wilson's score interval: over images alone, "
        "for this one seed; it says nothing about other seeds."
    )
    return Content(caption, pd.DataFrame(rows), columns)


@_from_evidence
def seed_tests_table(evidence: Evidence) -> Content:
    """Exact McNemar of each seed: runs against ``off`` of the same fraction and seed."""
    predictions = evidence.predictions
    off = {
        (arm.fraction, arm.segmentation, int(seed)): predicted
        for arm in predictions.arms
        if arm.is_off
        for seed, predicted in zip(arm.seeds, arm.predicted, strict=True)
    }
    rows = []
    for arm in predictions.arms:
        for seed, predicted in zip(arm.seeds, arm.predicted, strict=True):
            baseline = off.get((arm.fraction, arm.segmentation, int(seed)))
            if baseline is None or baseline is predicted or arm.is_off:
                continue
            mine, other = predicted == predictions.labels, baseline == predictions.labels
            gained, lost = int((mine & ~other).sum()), int((other & ~mine).sum())
            rows.append(
                {
                    "subset": subset_name(arm.fraction),
                    "setting": setting_of(arm.arm),
                    "seed": int(seed),
                    "gained": gained,
                    "lost": lost,
                    "p": exact_mcnemar(gained, lost),
                }
            )
    columns = (
        Column("Subset", "subset"),
        Column("Arm", "setting"),
        Column("Seed", "seed", form="count"),
        Column("Right here only", "gained", form="count"),
        Column("Right in off only", "lost", form="count"),
        Column("p (McNemar)", "p", form="p"),
    )
    caption = (
        f"Single runs against the run without pretraining of the same seed: {SPLIT_TITLES[predictions.split]} images that "
        "only one of the two gets right, and McNemar's exact two-sided test. A description of these two runs, not adjusted "
        "and no evidence about other seeds."
    )
    frame = pd.DataFrame(rows, columns=["subset", "setting", "seed", "gained", "lost", "p"])
    return Content(caption, frame, columns)
