"""A study in words: how far it is, what it asks, what it consists of and whether there is a gain."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from analysis.arms import compared_settings, control_settings, majority_floor
from analysis.records.errors import StudyError
from analysis.records.schema import Phase, TrialStatus
from analysis.statistics.verdicts import study_verdicts
from analysis.wording.captions import reason_in_words
from analysis.wording.controls import describe_controls
from analysis.wording.formats import MISSING, counted
from analysis.wording.settings import setting_title

if TYPE_CHECKING:
    from analysis.records.study import Study


def study_state(study: Study) -> str:
    """One sentence on how far the study is, from its records alone."""
    trials = study.trials
    counts = trials["status"].value_counts()
    confirmed = len(study.confirmed)
    parts = [f"{len(trials):,} trials so far"] if counts.get(TrialStatus.RUNNING, 0) else [f"{len(trials):,} trials"]
    parts += [f"{counts[status]:,} {status}" for status in counts.index.sort_values()]
    sentence = ", ".join(parts) + f"; {confirmed:,} confirmed runs"
    phases = study.manifest.get("phases")
    if isinstance(phases, Mapping):
        states = {name: phases[name] for name in Phase if name in phases}
        words = [
            f"{name} {value.get('state', MISSING) if isinstance(value, Mapping) else value}"
            for name, value in states.items()
        ]
        if words:
            sentence += f". Phases: {', '.join(words)}"
    return sentence + "."


def purpose(study: Study) -> str:
    """What its author says about a study, on one line; empty where nothing is said."""
    return " ".join(str(study.config.get("about", "")).split())


def summary(study: Study) -> list[str]:
    """The study in words, one paragraph each: question, data, arms, budget, what is shown and what is not."""
    said = purpose(study)
    return [
        "Question: how much do features pretrained on histology (PRCC, CAM16) help to classify white blood cells, at "
        "each amount of labelled data?",
        *([f"About this study: {said}"] if said else []),
        *([_data(study)] if len(study.images) else []),
        _arms(study),
        _budget(study),
        _what_is_shown(study),
    ]


def count_images(study: Study) -> dict[str, list[int]]:
    """Split -> number of images of each class, in the order of the labels; only splits that have images."""
    images = study.images
    counts = images.groupby(["split", "label"])["image"].count()
    return {
        split: [int(counts.get((split, label), 0)) for label in range(len(study.classes))]
        for split in ("train", "val", "test")
        if (images["split"] == split).any()
    }


def control_notes(study: Study) -> tuple[tuple[str, str], ...]:
    """The controls that the study has, each with what it is for."""
    trials = study.trials
    return describe_controls(trials.loc[trials["control"] != "", "control"].unique())


def verdict_sentences(study: Study) -> list[str]:
    """One sentence for each fraction and arm with pretraining: is there a gain in accuracy? Or one that says why not to ask.

    Returns:
        Sentences of the verdicts, in the order of the fractions; the reason why there are no verdicts yet.
    """
    try:
        verdicts = study_verdicts(study)
    except StudyError as error:
        return [f"No verdicts: {reason_in_words(study, error)}"]
    rows = verdicts[(verdicts["metric"] == "accuracy") & (verdicts["kind"] == "transfer")]
    return [str(sentence) for sentence in rows.sort_values("fraction", kind="stable")["sentence"]]


def _data(study: Study) -> str:
    images, data = study.images, study.config.get("data")
    source = str(data.get("wbc_source") or data.get("source", "")) if isinstance(data, Mapping) else ""
    counts = images["split"].value_counts()
    splits = [f"{counts[split]:,} {split}" for split in ("train", "val", "test") if split in counts]
    named = f", source {source!r}" if source else ""
    sentences = [f"Data: {len(images):,} images ({', '.join(splits)}) of {len(study.classes)} classes{named}."]
    if floor := majority_floor(study):
        sentences.append(
            f"Always answering {floor['class']} is right for {100 * float(floor['accuracy']):.2f} % of the validation "
            "images: the floor."
        )
    if "test" not in counts:
        sentences.append("There is no test split: every value is one of validation, and optimistic.")
    if absent := _classes_without_images(study):
        sentences.append(f"No image of {absent}: these classes have no recall there.")
    if source == "synthetic":
        sentences.append("The images are generated: results on them say that the program works, nothing about cells.")
    return " ".join(sentences)


def _arms(study: Study) -> str:
    trials = study.trials
    settings = [
        setting_title(setting).replace("without", "without pretraining").replace("with (", "with pretraining (")
        for setting in compared_settings(study)
    ]
    fractions = counted(trials["fraction"].nunique(), "fraction")
    named = f", namely {' and '.join(settings)} at {fractions} of the labelled images" if settings else ""
    controls = control_settings(study)
    beside = f"controls: {', '.join(controls)}" if controls else "no control arms"
    return f"Arms: {trials.loc[trials['control'] == '', 'arm'].nunique()}{named}; {beside}."


def _budget(study: Study) -> str:
    trials = study.trials
    return (
        f"Budget: {len(trials):,} trials, {int(trials['epochs'].sum()):,} epochs, "
        f"{int(trials['gradient_steps'].sum()):,} gradient steps, {trials['seconds'].sum() / 3600:,.2f} hours of "
        "training and validation summed over trials."
    )


def _classes_without_images(study: Study) -> str:
    return ", ".join(
        f"{name} in {split}"
        for split, counts in count_images(study).items()
        for name, count in zip(study.classes, counts, strict=True)
        if split != "train" and not count
    )


def _what_is_shown(study: Study) -> str:
    if not len(study.selected()):
        ended = study.trials["status"].value_counts()
        reasons = [
            f"{ended[status]:,} {status}"
            for status in (TrialStatus.STOPPED, TrialStatus.DIVERGED, TrialStatus.FAILED)
            if status in ended
        ]
        numbers = f" ({', '.join(reasons)})" if reasons else ""
        return (
            f"Shown: no results, since no full-length run has ended yet{numbers}. What there is is shown all the same."
        )
    shown = "results on validation and test images"
    if not study.confirmed["test_accuracy"].notna().any():
        shown = "results on validation images only, which are optimistic"
    return (
        f"Shown: {shown}, with their spread over seeds. A difference of means is no evidence of a gain until an interval and "
        "the controls say so."
    )
