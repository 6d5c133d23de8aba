"""Is there a gain? Every arm against its baselines, over seeds and images, with one verdict and one sentence each.

Differences are paired: compared arms share the subset, order, crops and initial weights of a seed, and the images. The
settings of an arm are those that won its search: how another search would have ended is not in the intervals. The control
``twin`` shows how much that is.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from analysis.answers import Answers, ArmAnswers, read_answers
from analysis.comparison import OFF, setting_of
from analysis.errors import StudyError
from analysis.intervals import CONFIDENCE, METRICS, Estimate, Scores, adjust_holm, crossed_interval, score_runs
from analysis.schema import subset_name

if TYPE_CHECKING:
    from analysis.study import Study

GAIN, NO_EVIDENCE, LOSS = "gain", "no evidence of a gain", "loss"
"""The verdicts."""

METRIC_TITLES = {"accuracy": "accuracy", "macro_f1": "macro F1", "weighted_f1": "weighted F1"}
SPLIT_TITLES = {"test": "test", "val": "validation"}

OPTIMISTIC_VERDICT = "Optimistic: these validation images also chose the settings and epochs."
"""Goes with every verdict of a study without test images."""


@dataclass(frozen=True)
class Comparison:
    """Two arms at one fraction."""

    kind: str
    """``transfer`` (a fusion arm against off), ``random`` (a fusion arm against random encoders) or ``control`` (a control
    against off)."""
    arm: ArmAnswers
    baseline: ArmAnswers


def list_comparisons(answers: Answers) -> list[Comparison]:
    """All comparisons of a study: by fraction, the fusion arms first.

    A fusion arm meets the random control with its fusion and encoders; where there is none of them, the one with its
    fusion; failing that, every random control of the fraction.
    """
    made = []
    for fraction in sorted({arm.fraction for arm in answers.arms}):
        arms = [arm for arm in answers.arms if arm.fraction == fraction]
        off = next((arm for arm in arms if arm.fusion == OFF and not arm.control), None)
        transfer = [arm for arm in arms if arm.fusion != OFF and not arm.control]
        for arm in transfer:
            made += [Comparison("transfer", arm, off)] if off else []
            made += [Comparison("random", arm, control) for control in _random_controls(arm, arms)]
        made += [Comparison("control", arm, off) for arm in arms if arm.control and off]
    return made


def _random_controls(arm: ArmAnswers, arms: list[ArmAnswers]) -> list[ArmAnswers]:
    controls = [other for other in arms if other.control == "random"]
    same_fusion = [other for other in controls if other.fusion == arm.fusion]
    same_both = [other for other in same_fusion if other.encoders == arm.encoders]
    return same_both or same_fusion or controls


def verdicts(study: Study) -> pd.DataFrame:
    """The verdicts on a study's confirmed runs; see `judge`.

    Raises:
        StudyError: No confirmed runs, fewer than two seeds, or predictions that do not pair.
    """
    answers = read_answers(study)
    comparisons = list_comparisons(answers)
    if comparisons and not any(len(_common_seeds(each)) >= 2 for each in comparisons):
        raise StudyError(
            f"{study.path}: no two compared arms share two confirmed seeds, and one seed says nothing about how runs vary. "
            "Set confirm.seeds to 2 or more (5 is the default) and run the study again: it is extended."
        )
    return judge(answers)


def judge(answers: Answers) -> pd.DataFrame:
    """Compare all arms with their baselines.

    Tests are two-sided. Holm's adjustment runs over all fractions (and fusion arms) of one kind of comparison and metric;
    controls of one name are a family of their own. A fusion arm is called a gain only when it beats both ``off`` and
    random encoders after adjustment; without a random control at its fraction it never is.

    Args:
        answers: Of the confirmed runs.

    Returns:
        One row per comparison and metric: fraction, subset, kind ("transfer", "random", "control"), arm, setting, control,
        baseline, metric ("accuracy", "macro_f1", "weighted_f1"), split, difference, low, high (95 %, of this comparison
        alone), p, p_holm, family (number of tests adjusted for), verdict, seeds (common to both), images,
        standard_error, degrees_of_freedom, seed_sd, seed_part, image_part, interaction_part (as
        `analysis.intervals.Estimate` says), sentence. Differences are shares: 0.05 is 5 points of accuracy. Comparisons
        with fewer than two common seeds have no numbers and no evidence. Ordered by metric, kind, fraction, arm.
    """
    scores = {id(arm): score_runs(answers.labels, arm.predicted, len(answers.classes)) for arm in answers.arms}
    rows = []
    for each in list_comparisons(answers):
        seeds = _common_seeds(each)
        for metric in METRICS:
            row: dict[str, object] = {
                "fraction": each.arm.fraction,
                "subset": subset_name(each.arm.fraction),
                "kind": each.kind,
                "arm": each.arm.arm,
                "setting": setting_of(each.arm.arm),
                "control": each.arm.control,
                "baseline": each.baseline.arm,
                "metric": metric,
                "split": answers.split,
                "seeds": len(seeds),
                "arm_seeds": len(each.arm.seeds),
                "baseline_seeds": len(each.baseline.seeds),
                "images": len(answers.labels),
            }
            if len(seeds) >= 2:
                first = _take_seeds(scores[id(each.arm)][metric], each.arm, seeds)
                second = _take_seeds(scores[id(each.baseline)][metric], each.baseline, seeds)
                row |= _numbers(crossed_interval(first - second, answers.labels))
            rows.append(row)
    frame = pd.DataFrame(rows, columns=[*_KEYS, *_NUMBERS]).astype(dict.fromkeys(_NUMBERS, "float64"))
    frame["rank"] = frame["metric"].map({name: rank for rank, name in enumerate(METRICS)})
    frame["order"] = frame["kind"].map({"transfer": 0, "random": 1, "control": 2})
    frame = frame.sort_values(["rank", "order", "fraction", "arm"], kind="stable").drop(columns=["rank", "order"])
    frame = frame.reset_index(drop=True)
    family = frame.groupby(["metric", "kind", "control"], sort=False)["p"]
    frame["p_holm"] = family.transform(adjust_holm) if len(frame) else frame["p"]
    frame["family"] = family.transform("count").astype("int64")
    frame = _add_verdicts(frame)
    return frame[[*_KEYS, *_NUMBERS[:4], "p_holm", "family", "verdict", *_NUMBERS[4:], "sentence"]]


_KEYS = ["fraction", "subset", "kind", "arm", "setting", "control", "baseline", "metric", "split"]
_KEYS += ["seeds", "arm_seeds", "baseline_seeds", "images"]
_NUMBERS = ["difference", "low", "high", "p", "standard_error", "degrees_of_freedom"]
_NUMBERS += ["seed_sd", "seed_part", "image_part", "interaction_part"]


def arm_intervals(answers: Answers) -> pd.DataFrame:
    """Every arm's metrics with intervals over seeds and images.

    Returns:
        One row per arm and metric: fraction, subset, arm, setting, control, metric, split, value (mean over seeds), low,
        high (95 %, inside [0, 1]; missing for a single seed), seed_sd, seeds, images. Ordered by metric, fraction, arm.
    """
    rows = []
    for arm in answers.arms:
        scores = score_runs(answers.labels, arm.predicted, len(answers.classes))
        for rank, metric in enumerate(METRICS):
            row: dict[str, object] = {
                "rank": rank,
                "fraction": arm.fraction,
                "subset": subset_name(arm.fraction),
                "arm": arm.arm,
                "setting": setting_of(arm.arm),
                "control": arm.control,
                "metric": metric,
                "split": answers.split,
                "value": float(scores[metric].per_seed.mean()),
                "low": np.nan,
                "high": np.nan,
                "seed_sd": np.nan,
                "seeds": len(arm.seeds),
                "images": len(answers.labels),
            }
            if len(arm.seeds) >= 2:
                estimate = crossed_interval(scores[metric], answers.labels, scale="share")
                row |= {name: float(getattr(estimate, name)) for name in ("low", "high", "seed_sd")}
            rows.append(row)
    columns = ["rank", "fraction", "subset", "arm", "setting", "control", "metric", "split"]
    columns += ["value", "low", "high", "seed_sd", "seeds", "images"]
    frame = pd.DataFrame(rows, columns=columns).sort_values(["rank", "fraction", "arm"], kind="stable")
    return frame.drop(columns="rank").reset_index(drop=True)


def _common_seeds(comparison: Comparison) -> np.ndarray[tuple[int], np.dtype[np.int64]]:
    return np.intersect1d(comparison.arm.seeds, comparison.baseline.seeds)


def _take_seeds(scores: Scores, arm: ArmAnswers, seeds: np.ndarray[tuple[int], np.dtype[np.int64]]) -> Scores:
    rows = np.flatnonzero(np.isin(arm.seeds, seeds))
    if len(rows) == len(arm.seeds):
        return scores
    return Scores(scores.per_seed[rows], scores.contributions[rows], scores.worth)


def _numbers(estimate: Estimate) -> dict[str, float]:
    return {
        "difference": float(estimate.value),
        "low": float(estimate.low),
        "high": float(estimate.high),
        "p": float(estimate.p),
        "standard_error": float(estimate.standard_error),
        "degrees_of_freedom": float(estimate.degrees_of_freedom),
        "seed_sd": float(estimate.seed_sd),
        "seed_part": float(estimate.seed_part),
        "image_part": float(estimate.image_part),
        "interaction_part": float(estimate.interaction_part),
    }


def _add_verdicts(frame: pd.DataFrame) -> pd.DataFrame:
    """The frame with verdict and sentence."""
    certain = frame["p_holm"] < 1 - CONFIDENCE
    above = certain & (frame["difference"] > 0)
    below = certain & (frame["difference"] < 0)
    beats = {kind: _beats(frame, above, kind) for kind in ("transfer", "random")}
    found = []
    sentences = []
    for position, row in enumerate(_records(frame)):
        against = {kind: beats[kind].get((row["metric"], row["arm"])) for kind in beats}
        gains = above.iloc[position] and (row["kind"] == "control" or all(against.values()))
        verdict = LOSS if below.iloc[position] else GAIN if gains else NO_EVIDENCE
        found.append(verdict)
        sentences.append(_sentence(row, verdict, against))
    return frame.assign(verdict=pd.Series(found, dtype="str"), sentence=pd.Series(sentences, dtype="str"))


def _records(frame: pd.DataFrame) -> list[dict[str, Any]]:
    return [{str(name): value for name, value in row.items()} for row in frame.to_dict("records")]


def _beats(frame: pd.DataFrame, above: pd.Series[bool], kind: str) -> dict[tuple[str, str], bool]:
    """(metric, arm) -> whether the arm is above all its baselines of the kind; absent where it has none."""
    beaten: dict[tuple[str, str], bool] = {}
    of_kind = frame["kind"] == kind
    for row, up in zip(_records(frame[of_kind]), above[of_kind], strict=True):
        key = row["metric"], row["arm"]
        beaten[key] = beaten.get(key, True) and bool(up)
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
    tests = "" if row["family"] == 1 else f" after Holm over {row['family']} tests"
    return (
        f"{row['arm']} minus {row['baseline']}: {show_difference(row['difference'], metric)} of {name} (95 % interval "
        f"{low} to {high}, p {_show_p(row['p_holm'])}{tests}; {row['seeds']} seeds, {row['images']} images)."
    )


def _conclusion(row: Mapping[str, Any], verdict: str, against: Mapping[str, bool | None]) -> str:
    if verdict == LOSS:
        return "A loss."
    if row["kind"] == "control":
        return (
            f"The control {row['control']} is above off." if verdict == GAIN else "No evidence that this control gains."
        )
    return {
        (True, True): "A gain: it beats both off and random encoders.",
        (True, False): "No evidence of a gain: it beats off, but not random encoders.",
        (
            True,
            None,
        ): "No gain is claimed: the control with random encoders is missing, so the architecture alone may do it.",
        (False, True): "No evidence of a gain: it beats random encoders, but not off.",
    }.get((bool(against["transfer"]), against["random"]), "No evidence of a gain.")


def _reservation(row: Mapping[str, Any]) -> str:
    parts = []
    if not row["seeds"] == row["arm_seeds"] == row["baseline_seeds"]:
        parts.append(
            f"Paired on the {row['seeds']} seeds that both have; {row['arm']} has {row['arm_seeds']}, "
            f"{row['baseline']} {row['baseline_seeds']}."
        )
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
