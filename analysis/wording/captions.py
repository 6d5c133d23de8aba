"""Sentences that several captions share."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from analysis.arms import majority_floor
from analysis.metrics import SPLIT_TITLES, metric_title

if TYPE_CHECKING:
    from analysis.records.errors import StudyError
    from analysis.records.study import Study


OPTIMISTIC = "Settings and epochs were chosen on these very validation images: the values are optimistic."
"""Goes with every value of validation images."""

INTERVAL = "95 % intervals over seeds and images (both vary), each by itself."
"""Goes with every table of intervals."""

TAKEN_AS_GIVEN = "The settings that won each arm's search are taken as given."
"""Goes with every interval over confirmed runs: how another search would have ended is not in it."""

NO_EVIDENCE = "A difference of means is shown without an interval and is no evidence of a gain."
"""Goes with every difference that is shown without an interval."""


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


def choice_sentence(split: str) -> str:
    """Whether settings and epochs were chosen on the images of a split, "val" or "test"."""
    return "Nothing was chosen on the test images." if split == "test" else OPTIMISTIC


def floor_sentence(study: Study, split: str = "val") -> str:
    """What always answering the majority class scores on this split; empty while the images are not known."""
    floor = majority_floor(study, split)
    if not floor:
        return ""
    return (
        f"Floor: always answering {floor['class']} scores {100 * float(floor['accuracy']):.2f} % accuracy, macro F1 "
        f"{float(floor['macro_f1']):.3f} and weighted F1 {float(floor['weighted_f1']):.3f} on the {floor['images']} "
        f"{SPLIT_TITLES[split]} images."
    )


def reason_in_words(study: Study, error: StudyError) -> str:
    """Why something cannot be shown: the message of an error without the place of the study on this machine."""
    return str(error).removeprefix(f"{study.path}: ").replace(f"{study.path}/", "")


def join_sentences(parts: Sequence[str]) -> str:
    """The sentences that are not empty, as one text."""
    return " ".join(part for part in parts if part)
