"""Is there a gain? Every arm against its baselines, over seeds and images, with one verdict and one sentence each.

Differences are paired: compared arms share the subset, order, crops and initial weights of a seed, and the images. The
settings of an arm are those that won its search: how another search would have ended is not in the intervals. The control
``twin`` shows how much that is.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import pandas as pd

from analysis.arms import OFF, setting_of
from analysis.metrics import METRIC_TITLES, SPLIT_TITLES
from analysis.records.errors import StudyError
from analysis.records.schema import subset_name
from analysis.statistics.intervals import CONFIDENCE, crossed_interval
from analysis.statistics.predictions import ArmPredictions, Predictions, read_predictions, study_predictions
from analysis.statistics.scores import METRICS, Scores, score_runs, stack_scores
from analysis.statistics.tests import adjust_holm

if TYPE_CHECKING:
    from analysis.records.study import Study

GAIN, NO_EVIDENCE, LOSS = "gain", "no evidence of a gain", "loss"
ABOVE_OFF, ABOVE_RANDOM = "above off only", "above random only"
ABOVE_OFF_NO_CONTROL, ABOVE_RANDOM_NO_OFF = "above off, no control", "above random, no off"
"""The verdicts. Those after the first line are on a fusion arm that is above one of its two baselines and not certainly above
the other, or has no other: none of them is a gain.
"""

OPTIMISTIC_VERDICT = "Optimistic: these validation images also chose the settings and epochs."
"""Goes with every verdict of a study without test images."""


KINDS = ("transfer", "random", "control", "masks", "network", "weights")
"""Kinds of comparison, in the order of the tables; `Comparison.kind` says what each is."""

ENOUGH_SEEDS = 5
"""Intervals over fewer common seeds are too short: simulated ones cover about 90 % with 2 and 92 % with 3 seeds."""

ENOUGH_GROUPS = 12
"""Fewer patients say too little of how patients differ: with six, intervals of differences cover 99 % (`make calibrate`)."""

FEW_GROUPS = f"With fewer than {ENOUGH_GROUPS} groups intervals are rough."
"""Goes with every interval over images of few patients."""


@dataclass(frozen=True)
class Comparison:
    """Two arms at one fraction."""

    kind: str
    """``transfer`` (a fusion arm against off), ``random`` (a fusion arm against random encoders), ``control`` (a control
    against off), ``masks`` (off that learns from masks too against off), ``network`` (another classifier against off) or
    ``weights`` (another classifier that starts from given weights against the same with random ones)."""
    arm: ArmPredictions
    baseline: ArmPredictions


def list_comparisons(predictions: Predictions) -> list[Comparison]:
    """All comparisons of a study: by fraction, the fusion arms first.

    A fusion arm meets ``off``, and the random control with its own fusion and encoders; a control meets ``off``. All of them
    learn from masks, or none of them does. Another classifier meets ``off``, and itself with random initial weights.
    """
    made = []
    for fraction in sorted({arm.fraction for arm in predictions.arms}):
        arms = [arm for arm in predictions.arms if arm.fraction == fraction]
        off = {arm.segmentation: arm for arm in arms if arm.is_off}
        for arm in arms:
            baseline = off.get(arm.segmentation)
            if arm.control:
                made += [Comparison("control", arm, baseline)] if baseline else []
            elif arm.network:
                made += [Comparison("network", arm, baseline)] if baseline else []
                made += [Comparison("weights", arm, other) for other in arms if _is_random_counterpart(other, arm)]
            elif arm.fusion != OFF:
                made += [Comparison("transfer", arm, baseline)] if baseline else []
                made += [Comparison("random", arm, other) for other in arms if _is_random_counterpart(other, arm)]
            elif arm.segmentation and "" in off:
                made.append(Comparison("masks", arm, off[""]))
    return made


def _is_random_counterpart(other: ArmPredictions, arm: ArmPredictions) -> bool:
    same = (other.network, other.fusion, other.segmentation) == (arm.network, arm.fusion, arm.segmentation)
    # A network's own weights are all that it starts from: its counterpart has none.
    return other.control == "random" and same and (bool(arm.network) or other.encoders == arm.encoders)


def study_verdicts(study: Study) -> pd.DataFrame:
    """The verdicts on a study's confirmed runs, computed once for a study; see `compare_arms`.

    Raises:
        StudyError: No confirmed runs, fewer than two seeds, or predictions that do not pair.
    """
    return study.remember(_study_verdicts)


def _study_verdicts(study: Study) -> pd.DataFrame:
    predictions = study_predictions(study)
    comparisons = list_comparisons(predictions)
    if comparisons and not any(len(common_seeds(each)) >= 2 for each in comparisons):
        raise StudyError(
            f"{study.path}: no two compared arms share two confirmed seeds, and one seed says nothing about how runs vary. "
            "Set confirm.seeds to 2 or more (5 is the default) and run the study again: it is extended."
        )
    return compare_arms(predictions)


def compare_arms(predictions: Predictions) -> pd.DataFrame:
    """Compare all arms with their baselines.

    Tests are two-sided. Holm's adjustment runs over all fractions (and arms) of one kind of comparison and metric; all
    controls are of one kind, or one of many would be above ``off`` by chance too often. A fusion arm is called a gain
    only when it beats both ``off`` and random encoders after adjustment; without a random control at its fraction it
    never is, and the verdict on a difference that is certain by itself says what is lacking.

    Args:
        predictions: What the confirmed runs predicted for each image.

    Returns:
        One row per comparison and metric: fraction, subset, kind (of `KINDS`), arm, setting, control,
        baseline, metric ("accuracy", "macro_f1", "weighted_f1"), split, difference, low, high (95 %, of this comparison
        alone; inside [-1, 1]), p, p_holm, family (number of tests adjusted for), verdict, seeds (common to both), arm_seeds,
        baseline_seeds, images, groups (patients or smears of these images; 0 where none are known, and each image counts by
        itself), standard_error, degrees_of_freedom, seed_sd, seed_part, image_part, interaction_part, image_freedom (as
        `analysis.statistics.intervals.Estimate` says), sentence. Differences are shares: 0.05 is 5 points of accuracy.
        Comparisons with fewer than two common seeds have no numbers and no evidence. Ordered by metric, kind, fraction, arm.
    """
    scores = dict(zip(map(id, predictions.arms), score_arms(predictions), strict=True))
    comparisons = sorted(
        list_comparisons(predictions), key=lambda each: (KINDS.index(each.kind), each.arm.fraction, each.arm.arm)
    )
    rows: list[dict[str, Any]] = []
    differences = []
    for metric in METRICS:
        for each in comparisons:
            seeds = common_seeds(each)
            first = take_seeds(scores[id(each.arm)][metric], each.arm, seeds)
            second = take_seeds(scores[id(each.baseline)][metric], each.baseline, seeds)
            differences.append(first - second)
            rows.append(
                {
                    "fraction": each.arm.fraction,
                    "subset": subset_name(each.arm.fraction),
                    "kind": each.kind,
                    "arm": each.arm.arm,
                    "setting": setting_of(each.arm.arm),
                    "control": each.arm.control,
                    "baseline": each.baseline.arm,
                    "metric": metric,
                    "split": predictions.split,
                    "seeds": len(seeds),
                    "arm_seeds": len(each.arm.seeds),
                    "baseline_seeds": len(each.baseline.seeds),
                    "images": len(predictions.labels),
                    "groups": count_groups(predictions),
                }
            )
    numbers = estimate_all(differences, predictions, "difference").rename(columns={"value": "difference"})
    frame = pd.concat([pd.DataFrame(rows, columns=_KEYS), numbers], axis=1)
    families = list(zip(frame["metric"], frame["kind"], strict=True))
    p = frame["p"].to_numpy()
    p_holm, family = np.full(len(frame), np.nan), np.zeros(len(frame), dtype=np.int64)
    for name in dict.fromkeys(families):
        members = np.array([each == name for each in families])
        p_holm[members] = adjust_holm(p[members])
        family[members] = np.count_nonzero(~np.isnan(p[members]))
    frame = _add_verdicts(frame.assign(p_holm=p_holm, family=family))
    return frame[[*_KEYS, "difference", "low", "high", "p", "p_holm", "family", "verdict", *_ESTIMATES[4:], "sentence"]]


_KEYS = ["fraction", "subset", "kind", "arm", "setting", "control", "baseline", "metric", "split"]
_KEYS += ["seeds", "arm_seeds", "baseline_seeds", "images", "groups"]
_ESTIMATES = ["value", "low", "high", "p", "standard_error", "degrees_of_freedom"]
_ESTIMATES += ["seed_sd", "seed_part", "image_part", "interaction_part", "image_freedom"]


def count_groups(predictions: Predictions) -> int:
    """Number of groups (patients, smears) that the images are of; 0 where none are known."""
    return 0 if predictions.groups is None else len(np.unique(predictions.groups))


def describe_groups(predictions: Predictions) -> str:
    """What the groups of images mean for the intervals, for captions; empty where no groups are known."""
    if predictions.groups is None:
        return ""
    groups = count_groups(predictions)
    parts = [f"The images are of {groups:,} groups (patient, smear), and groups vary, not single images."]
    lone = [
        name
        for position, name in enumerate(predictions.classes)
        if (predictions.labels == position).sum() > 1
        and len(np.unique(predictions.groups[predictions.labels == position])) == 1
    ]
    if lone:
        parts.append(
            f"All images of {', '.join(lone)} are of one group: how other groups would do is unknown, and they count as "
            "independent."
        )
    if groups < ENOUGH_GROUPS:
        parts.append(FEW_GROUPS)
    return " ".join(parts)


def validation_intervals(study: Study) -> pd.DataFrame:
    """`arm_intervals` of a study's confirmed runs on the validation images, computed once for a study.

    Raises:
        StudyError: No confirmed runs, or predictions that do not pair.
    """
    return study.remember(_validation_intervals)


def _validation_intervals(study: Study) -> pd.DataFrame:
    return arm_intervals(read_predictions(study, "val"))


def arm_intervals(predictions: Predictions) -> pd.DataFrame:
    """Every arm's metrics with intervals over seeds and images.

    Returns:
        One row per arm and metric: fraction, subset, arm, setting, control, metric, split, value (mean over seeds), low,
        high (95 %, inside [0, 1]; missing for a single seed), seed_sd, seeds, images, standard_error, degrees_of_freedom (of
        the value, seeds and images both varying). Ordered by metric, fraction, arm.
    """
    scores = score_arms(predictions)
    rows = [
        {
            "fraction": arm.fraction,
            "subset": subset_name(arm.fraction),
            "arm": arm.arm,
            "setting": setting_of(arm.arm),
            "control": arm.control,
            "metric": metric,
            "split": predictions.split,
            "value": float(each[metric].per_seed.mean()),
            "seeds": len(arm.seeds),
            "images": len(predictions.labels),
        }
        for metric in METRICS
        for arm, each in zip(predictions.arms, scores, strict=True)
    ]
    columns = ["fraction", "subset", "arm", "setting", "control", "metric", "split", "value", "seeds", "images"]
    numbers = estimate_all([each[metric] for metric in METRICS for each in scores], predictions, "share")
    errors = ["standard_error", "degrees_of_freedom"]
    frame = pd.concat([pd.DataFrame(rows, columns=columns), numbers[["low", "high", "seed_sd", *errors]]], axis=1)
    return frame[[*columns[:8], "low", "high", "seed_sd", "seeds", "images", *errors]]


def score_arms(predictions: Predictions) -> list[dict[str, Scores]]:
    """Metric -> scores of each arm; arms with as many seeds are scored together, as simulations make many small studies."""
    found: list[dict[str, Scores]] = [{} for _ in predictions.arms]
    counts = np.array([len(arm.seeds) for arm in predictions.arms], dtype=np.int64)
    for count in np.unique(counts):
        members = np.flatnonzero(counts == count)
        predicted = np.stack([predictions.arms[row].predicted for row in members])
        for metric, scores in score_runs(predictions.labels, predicted, len(predictions.classes)).items():
            for position, row in enumerate(members):
                each = (scores.per_seed[position], scores.contributions[position], scores.unit_gain[position])
                found[row][metric] = Scores(*each)
    return found


def estimate_all(
    scores: Sequence[Scores], predictions: Predictions, scale: Literal["difference", "share"]
) -> pd.DataFrame:
    """One row of numbers for each of the scores; missing where there are fewer than two seeds.

    Returns:
        value, low, high, p and what else `analysis.statistics.intervals.Estimate` has. Bounds of a difference lie in [-1, 1].
    """
    table = np.full((len(scores), len(_ESTIMATES)), np.nan)
    counts = np.array([each.per_seed.shape[-1] for each in scores], dtype=np.int64)
    # Scores of as many seeds are computed together: a study has hundreds of intervals.
    for count in np.unique(counts[counts >= 2]):
        members = np.flatnonzero(counts == count)
        stacked = stack_scores([scores[int(row)] for row in members])
        estimate = crossed_interval(stacked, predictions.labels, scale, groups=predictions.groups)
        table[members] = np.stack([getattr(estimate, name) for name in _ESTIMATES], axis=1)
    found = pd.DataFrame(table, columns=_ESTIMATES)
    if scale == "difference":
        # No two shares differ by more than one; an interval over two seeds can be longer than that.
        found[["low", "high"]] = found[["low", "high"]].clip(-1, 1)
    return found


def common_seeds(comparison: Comparison) -> np.ndarray[tuple[int], np.dtype[np.int64]]:
    """The seeds that both arms have, ascending."""
    first, second = comparison.arm.seeds, comparison.baseline.seeds
    return first if np.array_equal(first, second) else np.intersect1d(first, second)


def take_seeds(scores: Scores, arm: ArmPredictions, seeds: np.ndarray[tuple[int], np.dtype[np.int64]]) -> Scores:
    """The scores of those runs of an arm that have these seeds, all of which it has."""
    if len(seeds) == len(arm.seeds):
        return scores
    rows = np.isin(arm.seeds, seeds)
    return Scores(scores.per_seed[rows], scores.contributions[rows], scores.unit_gain)


def _add_verdicts(frame: pd.DataFrame) -> pd.DataFrame:
    """The frame with verdict and sentence."""
    certain = frame["p_holm"] < 1 - CONFIDENCE
    above = (certain & (frame["difference"] > 0)).to_list()
    below = (certain & (frame["difference"] < 0)).to_list()
    names = [str(name) for name in frame]
    rows = [dict(zip(names, row, strict=True)) for row in zip(*(frame[name].to_list() for name in names), strict=True)]
    beats = {kind: _beats(rows, above, kind) for kind in ("transfer", "random")}
    found = []
    sentences = []
    for position, row in enumerate(rows):
        against = {kind: beats[kind].get((row["metric"], row["arm"])) for kind in beats}
        gains = above[position] and (row["kind"] not in beats or all(against.values()))
        if below[position]:
            verdict = LOSS
        elif gains or not above[position]:
            verdict = GAIN if gains else NO_EVIDENCE
        else:
            verdict = _ABOVE_ONE[against["transfer"], against["random"]]
        found.append(verdict)
        sentences.append(_sentence(row, verdict, against))
    return frame.assign(verdict=pd.Series(found, dtype="str"), sentence=pd.Series(sentences, dtype="str"))


_ABOVE_ONE = {
    (True, False): ABOVE_OFF,
    (True, None): ABOVE_OFF_NO_CONTROL,
    (False, True): ABOVE_RANDOM,
    (None, True): ABOVE_RANDOM_NO_OFF,
}
"""Whether an arm beats off and random encoders, None where there is no such baseline -> the verdict on what it does beat."""


def _beats(rows: Sequence[Mapping[str, Any]], above: Sequence[bool], kind: str) -> dict[tuple[str, str], bool]:
    """(metric, arm) -> whether the arm is above all its baselines of the kind; absent where it shares seeds with none."""
    beaten: dict[tuple[str, str], bool] = {}
    for row, up in zip(rows, above, strict=True):
        if row["kind"] == kind and not np.isnan(row["p"]):
            key = row["metric"], row["arm"]
            beaten[key] = beaten.get(key, True) and up
    return beaten


def _sentence(row: Mapping[str, Any], verdict: str, against: Mapping[str, bool | None]) -> str:
    if np.isnan(row["difference"]):
        metric = METRIC_TITLES[row["metric"]]
        finding = f"{row['arm']} and {row['baseline']} share {row['seeds']} seeds: too few to compare their {metric}."
        return f"{finding} No evidence of a gain."
    parts = (_finding(row), _conclusion(row, verdict, against), _reservation(row))
    return " ".join(part for part in parts if part)


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


def _conclusion(row: Mapping[str, Any], verdict: str, against: Mapping[str, bool | None]) -> str:
    if verdict == LOSS:
        return "A loss."
    if row["kind"] == "control":
        return (
            f"The control {row['control']} is above off." if verdict == GAIN else "No evidence that this control gains."
        )
    if row["kind"] == "masks":
        return "A gain from masks." if verdict == GAIN else "No evidence that masks help."
    if row["kind"] == "network":
        return "A gain: this network beats off." if verdict == GAIN else "No evidence that this network beats off."
    if row["kind"] == "weights":
        return "A gain from its given weights." if verdict == GAIN else "No evidence that its given weights help."
    return {
        (True, True): "A gain: it beats both off and random encoders.",
        (True, False): "No evidence of a gain: it beats off, but not certainly random encoders.",
        (
            True,
            None,
        ): "No gain is claimed: the control with random encoders is missing, so the architecture alone may do it.",
        (False, True): "No evidence of a gain: it beats random encoders, but not certainly off.",
        (None, True): "No gain is claimed: off is missing, so pretraining may only make up for what the fusion costs.",
    }.get((against["transfer"], against["random"]), "No evidence of a gain.")


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


def show_difference(value: float, metric: str, unit: bool = True) -> str:
    """A signed difference in words: "+3.20 points" of accuracy, "+0.032" of an F1."""
    if metric == "accuracy":
        return f"{100 * value:+.2f}{' points' if unit else ''}"
    return f"{value:+.3f}"


def _show_p(p: float) -> str:
    return "< 0.001" if p < 0.001 else f"{p:.3f}"
