"""Verdicts in words: what each is called, and the sentence that says what was found, what follows and what limits it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from analysis.metrics import METRIC_TITLES, SPLIT_TITLES
from analysis.wording.formats import show_difference

GAIN, NO_EVIDENCE, LOSS = "gain", "no evidence of a gain", "loss"
"""Verdicts on any comparison."""
ABOVE_OFF, ABOVE_RANDOM = "above off only", "above random only"
ABOVE_OFF_NO_CONTROL, ABOVE_RANDOM_NO_OFF = "above off, no control", "above random, no off"
"""Verdicts on a fusion arm that is above one of its two baselines and not certainly above the other, or that has no other: none
of them is a gain.
"""

OPTIMISTIC_VERDICT = "Optimistic: these validation images also chose the settings and epochs."
"""Goes with every verdict of a study without test images."""

ENOUGH_SEEDS = 5
"""Intervals over fewer common seeds are too short: simulated ones cover about 90 % with 2 and 92 % with 3 seeds."""

ENOUGH_GROUPS = 12
"""Fewer patients say too little of how patients differ: with six, intervals of differences cover 99 % (`make calibrate`)."""

FEW_GROUPS = f"With fewer than {ENOUGH_GROUPS} groups intervals are rough."
"""Goes with every interval over images of few patients."""


class Beaten(NamedTuple):
    """Which of its two baselines a fusion arm is certainly above; None where the study cannot say, for lack of a baseline."""

    off: bool | None
    random: bool | None


def verdict_sentence(row: Mapping[str, Any], verdict: str, beaten: Beaten) -> str:
    """What one comparison found, what follows from it, and what limits it.

    Args:
        row: A row of `analysis.statistics.verdicts.compare_arms`, without verdict and sentence.
        verdict: One of the verdicts above.
        beaten: What the row's arm is above; counts for the comparisons of a fusion arm only.
    """
    if np.isnan(row["difference"]):
        metric = METRIC_TITLES[row["metric"]]
        finding = f"{row['arm']} and {row['baseline']} share {row['seeds']} seeds: too few to compare their {metric}."
        return f"{finding} No evidence of a gain."
    parts = (_finding(row), _conclusion(row, verdict, beaten), _reservation(row))
    return " ".join(part for part in parts if part)


def describe_groups(groups: int, lone: Sequence[str]) -> str:
    """What the groups of images mean for the intervals, for captions; empty where no groups are known.

    Args:
        groups: Number of groups (patients, smears); 0 where none are known.
        lone: Classes whose images are all of one group.
    """
    if not groups:
        return ""
    parts = [f"The images are of {groups:,} groups (patient, smear), and groups vary, not single images."]
    if lone:
        parts.append(
            f"All images of {', '.join(lone)} are of one group: how other groups would do is unknown, and they count as "
            "independent."
        )
    if groups < ENOUGH_GROUPS:
        parts.append(FEW_GROUPS)
    return " ".join(parts)


def _finding(row: Mapping[str, Any]) -> str:
    metric = row["metric"]
    name = f"{SPLIT_TITLES[row['split']]} {METRIC_TITLES[metric]}"
    low, high = (show_difference(row[bound], metric, unit=False) for bound in ("low", "high"))
    groups = f" of {row['groups']} groups" if row["groups"] else ""
    tests = "" if row["family"] == 1 else f" after Holm over {row['family']} tests"
    return (
        f"{row['arm']} minus {row['baseline']}: {show_difference(row['difference'], metric)} of {name} (95 % interval "
        f"{low} to {high}, p {_show_p(row['p_holm'])}{tests}; {row['seeds']} seeds, {row['images']} images{groups})."
    )


_OTHER_KINDS = {
    "masks": ("A gain from masks.", "No evidence that masks help."),
    "network": ("A gain: this network beats off.", "No evidence that this network beats off."),
    "weights": ("A gain from its given weights.", "No evidence that its given weights help."),
}
"""Kind of comparison -> conclusion where it is a gain, and where it is none."""

_FUSION_CONCLUSIONS = {
    Beaten(off=True, random=True): "A gain: it beats both off and random encoders.",
    Beaten(off=True, random=False): "No evidence of a gain: it beats off, but not certainly random encoders.",
    Beaten(off=True, random=None): (
        "No gain is claimed: the control with random encoders is missing, so the architecture alone may do it."
    ),
    Beaten(off=False, random=True): "No evidence of a gain: it beats random encoders, but not certainly off.",
    Beaten(off=None, random=True): (
        "No gain is claimed: off is missing, so pretraining may only make up for what the fusion costs."
    ),
}


def _conclusion(row: Mapping[str, Any], verdict: str, beaten: Beaten) -> str:
    if verdict == LOSS:
        return "A loss."
    kind, gain = row["kind"], verdict == GAIN
    if kind == "control":
        return f"The control {row['control']} is above off." if gain else "No evidence that this control gains."
    if kind in _OTHER_KINDS:
        return _OTHER_KINDS[kind][0 if gain else 1]
    return _FUSION_CONCLUSIONS.get(beaten, "No evidence of a gain.")


def _reservation(row: Mapping[str, Any]) -> str:
    parts = []
    if not row["seeds"] == row["arm_seeds"] == row["baseline_seeds"]:
        parts.append(
            f"Paired on the {row['seeds']} seeds that both have; {row['arm']} has {row['arm_seeds']}, "
            f"{row['baseline']} {row['baseline_seeds']}."
        )
    if row["seeds"] < ENOUGH_SEEDS:
        parts.append(f"With fewer than {ENOUGH_SEEDS} seeds the interval is somewhat too short.")
    if 0 < row["groups"] < ENOUGH_GROUPS:
        parts.append(FEW_GROUPS)
    if row["split"] == "val":
        parts.append(OPTIMISTIC_VERDICT)
    return " ".join(parts)


def _show_p(p: float) -> str:
    return "< 0.001" if p < 0.001 else f"{p:.3f}"
