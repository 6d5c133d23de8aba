"""Verdicts on gains: every arm against its baselines, over seeds and images, with one verdict and one sentence each.

Differences are paired: compared arms share the images, and for each seed the subset, order, crops and initial weights. The
settings of an arm are those that won its search. The intervals do not hold that another search would have ended otherwise; the
control ``twin`` shows how much that is.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from analysis.arms import setting_of
from analysis.records.errors import StudyError
from analysis.records.schema import subset_name
from analysis.statistics.comparisons import KINDS, Comparison, common_seeds, list_comparisons, take_seeds
from analysis.statistics.estimates import ESTIMATE_COLUMNS, estimate_all, score_arms
from analysis.statistics.intervals import CONFIDENCE
from analysis.statistics.predictions import Predictions, study_predictions
from analysis.statistics.scores import METRICS, Scores
from analysis.statistics.standard_tests import adjust_holm
from analysis.wording.verdicts import (
    ABOVE_OFF,
    ABOVE_OFF_NO_CONTROL,
    ABOVE_RANDOM,
    ABOVE_RANDOM_NO_OFF,
    GAIN,
    LOSS,
    NO_EVIDENCE,
    Beaten,
    verdict_sentence,
)

if TYPE_CHECKING:
    from analysis.records.study import Study


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
    comparisons = sorted(
        list_comparisons(predictions), key=lambda each: (KINDS.index(each.kind), each.arm.fraction, each.arm.arm)
    )
    compared = [(metric, each) for metric in METRICS for each in comparisons]
    scores = score_arms(predictions)
    frame = pd.DataFrame([_describe(metric, each, predictions) for metric, each in compared], columns=_KEYS)
    differences = [_difference(scores, metric, each) for metric, each in compared]
    numbers = estimate_all(differences, predictions, "difference").rename(columns={"value": "difference"})
    return _add_verdicts(_adjust_families(pd.concat([frame, numbers], axis=1)))[_COLUMNS]


_KEYS = ["fraction", "subset", "kind", "arm", "setting", "control", "baseline", "metric", "split"]
_KEYS += ["seeds", "arm_seeds", "baseline_seeds", "images", "groups"]
_COLUMNS = [*_KEYS, "difference", "low", "high", "p", "p_holm", "family", "verdict", *ESTIMATE_COLUMNS[4:], "sentence"]


def _describe(metric: str, comparison: Comparison, predictions: Predictions) -> dict[str, Any]:
    """One row with the columns of `_KEYS`: what is compared."""
    arm, baseline = comparison.arm, comparison.baseline
    return {
        "fraction": arm.fraction,
        "subset": subset_name(arm.fraction),
        "kind": comparison.kind,
        "arm": arm.arm,
        "setting": setting_of(arm.arm),
        "control": arm.control,
        "baseline": baseline.arm,
        "metric": metric,
        "split": predictions.split,
        "seeds": len(common_seeds(comparison)),
        "arm_seeds": len(arm.seeds),
        "baseline_seeds": len(baseline.seeds),
        "images": len(predictions.labels),
        "groups": predictions.group_count,
    }


def _difference(scores: Mapping[str, Mapping[str, Scores]], metric: str, comparison: Comparison) -> Scores:
    """Scores of the arm minus those of its baseline, on the seeds that both have."""
    seeds = common_seeds(comparison)
    arm, baseline = (
        take_seeds(scores[each.arm][metric], each, seeds) for each in (comparison.arm, comparison.baseline)
    )
    return arm - baseline


def _adjust_families(frame: pd.DataFrame) -> pd.DataFrame:
    """The frame with ``p_holm`` and ``family``: each metric of one kind of comparison is a family of tests."""
    families = list(zip(frame["metric"], frame["kind"], strict=True))
    p = frame["p"].to_numpy()
    p_holm, family = np.full(len(frame), np.nan), np.zeros(len(frame), dtype=np.int64)
    for name in dict.fromkeys(families):
        members = np.array([each == name for each in families])
        p_holm[members] = adjust_holm(p[members])
        family[members] = np.count_nonzero(~np.isnan(p[members]))
    return frame.assign(p_holm=p_holm, family=family)


def _add_verdicts(frame: pd.DataFrame) -> pd.DataFrame:
    """The frame with ``verdict`` and ``sentence``."""
    certain = frame["p_holm"] < 1 - CONFIDENCE
    frame = frame.assign(above=certain & (frame["difference"] > 0), below=certain & (frame["difference"] < 0))
    rows = [{str(name): value for name, value in row.items()} for row in frame.to_dict("records")]
    off, random = _beaten_baselines(rows, "transfer"), _beaten_baselines(rows, "random")
    verdicts, sentences = [], []
    for row in rows:
        key = row["metric"], row["arm"]
        beaten = Beaten(off.get(key), random.get(key))
        verdict = _decide(row, beaten)
        verdicts.append(verdict)
        sentences.append(verdict_sentence(row, verdict, beaten))
    return frame.assign(verdict=pd.Series(verdicts, dtype="str"), sentence=pd.Series(sentences, dtype="str"))


def _beaten_baselines(rows: Sequence[Mapping[str, Any]], kind: str) -> dict[tuple[str, str], bool]:
    """(metric, arm) -> whether the arm is above all its baselines of the kind; absent where it shares seeds with none."""
    beaten: dict[tuple[str, str], bool] = {}
    for row in rows:
        if row["kind"] == kind and not np.isnan(row["p"]):
            key = row["metric"], row["arm"]
            beaten[key] = beaten.get(key, True) and row["above"]
    return beaten


def _decide(row: Mapping[str, Any], beaten: Beaten) -> str:
    """The verdict on one comparison."""
    if row["below"]:
        return LOSS
    if not row["above"]:
        return NO_EVIDENCE
    if row["kind"] not in ("transfer", "random") or (beaten.off and beaten.random):
        return GAIN
    return _ABOVE_ONE[beaten]


_ABOVE_ONE = {
    Beaten(off=True, random=False): ABOVE_OFF,
    Beaten(off=True, random=None): ABOVE_OFF_NO_CONTROL,
    Beaten(off=False, random=True): ABOVE_RANDOM,
    Beaten(off=None, random=True): ABOVE_RANDOM_NO_OFF,
}
"""The verdict on a fusion arm that beats one of its baselines."""
