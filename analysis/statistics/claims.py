"""Claims of the published report, which it made from single runs, checked against this study's records.

The report has eight runs, one for each fraction with and without fusion, no test images, and a fusion whose features did not
depend on the image. It claims that fusion helps at every amount of labelled data, that it helps more with less data, that it
makes monocytes worse and helps lymphocytes least, and that basophils are easy. Each claim is checked with repeated runs and an
interval over seeds and images.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import reduce

import numpy as np
import pandas as pd

from analysis.arms import OFF, setting_of
from analysis.metrics import SPLIT_TITLES
from analysis.records.published import published_results
from analysis.records.schema import Fusion, subset_name
from analysis.statistics.comparisons import take_seeds
from analysis.statistics.intervals import CONFIDENCE, crossed_interval
from analysis.statistics.predictions import ArmPredictions, Predictions
from analysis.statistics.scores import Scores, combine_scores, score_recall, score_runs
from analysis.statistics.verdicts import compare_arms
from analysis.wording.formats import show_difference
from analysis.wording.verdicts import GAIN, OPTIMISTIC_VERDICT

SUPPORTED, NOT_SUPPORTED, OPEN = "supported", "not supported", "cannot be said"
"""Support of a claim. Not supported: the records hold what is needed, but they contradict the claim or are too few; the sentence
says which. Cannot be said: something that is needed is missing."""

COLUMNS = [
    "claim",
    "setting",
    "published",
    "quantity",
    "value",
    "low",
    "high",
    "seeds",
    "images",
    "support",
    "sentence",
]

_Term = tuple[float, ArmPredictions, str]
"""(weight, arm, quantity): the quantity is "accuracy" or the name of the class whose recall is meant."""


@dataclass(frozen=True)
class _Finding:
    """Result of checking one claim; numbers are missing where the records say nothing."""

    support: str
    """`SUPPORTED`, `NOT_SUPPORTED` or `OPEN`."""
    sentence: str
    """The finding in words."""
    quantity: str = ""
    """Words for ``value``."""
    value: float = np.nan
    """A difference of shares, in [-1, 1]."""
    low: float = np.nan
    """Lower bound of its 95 % interval."""
    high: float = np.nan
    """Upper bound of its 95 % interval."""
    seeds: int = 0
    """Number of seeds that the compared arms share."""


def check_claims(predictions: Predictions) -> pd.DataFrame:
    """Check the five claims of the published report against the predictions of a study's confirmed runs.

    Args:
        predictions: What the confirmed runs predicted for each image.

    Returns:
        Five rows for each setting with pretraining that is no control (for ``sum`` where there is none): claim, setting,
        published (what the published runs showed), quantity (what `value` is), value, low, high (a share with its 95 %
        interval, each claim by itself; missing where there is nothing to say), seeds, images, support ("supported", "not
        supported", "cannot be said") and sentence.
    """
    settings = sorted({setting_of(arm.arm) for arm in predictions.arms if arm.fusion != OFF and not arm.control})
    rows = []
    for setting in settings or [Fusion.SUM.value]:
        pairs = _pairs(predictions, setting)
        findings = (
            ("Fusion helps at every fraction", "val_accuracy", _helps_everywhere(predictions, setting)),
            ("Fusion helps more with less data", "val_accuracy", _helps_more_with_less(predictions, pairs)),
            ("Fusion makes monocytes worse", "val_recall_monocyte", _makes_worse(predictions, pairs, "Monocyte")),
            ("Fusion helps lymphocytes least", "val_recall_lymphocyte", _helps_least(predictions, pairs, "Lymphocyte")),
            ("Basophils are easy", "val_recall_basophil", _is_easy(predictions, "Basophil")),
        )
        for claim, column, finding in findings:
            optimistic = f" {OPTIMISTIC_VERDICT}" if predictions.split == "val" and not np.isnan(finding.value) else ""
            rows.append(
                {
                    "claim": claim,
                    "setting": setting,
                    "published": _published(column, difference=claim != "Basophils are easy"),
                    "quantity": finding.quantity,
                    "value": finding.value,
                    "low": finding.low,
                    "high": finding.high,
                    "seeds": finding.seeds,
                    "images": len(predictions.labels),
                    "support": finding.support,
                    "sentence": finding.sentence + optimistic,
                }
            )
    return pd.DataFrame(rows, columns=COLUMNS)


def _published(column: str, difference: bool) -> str:
    """The published values without pretraining, or with minus without."""
    results = published_results().set_index("subset")
    without = results.loc[results["pretraining"] == "without", column]
    change = results.loc[results["pretraining"] == "with", column] - without
    if difference:
        return ", ".join(f"{subset} {100 * value:+.2f}" for subset, value in change.items())
    return ", ".join(f"{subset} {100 * value:.2f} %" for subset, value in without.items())


def _helps_everywhere(predictions: Predictions, setting: str) -> _Finding:
    verdicts = compare_arms(predictions)
    rows = verdicts[(verdicts["metric"] == "accuracy") & (verdicts["setting"] == setting)]
    off, random = (rows[rows["kind"] == kind] for kind in ("transfer", "random"))
    fractions = sorted({arm.fraction for arm in predictions.arms})
    lacking = [subset_name(each) for each in fractions if each not in set(off.dropna()["fraction"])]
    if lacking:
        return _Finding(OPEN, f"The records need off and {setting} with two common seeds at {', '.join(lacking)}.")
    least = off.sort_values("low", kind="stable").iloc[0]
    shown = [
        f"{row['subset']} {show_difference(row['difference'], 'accuracy', unit=False)} ({row['verdict']})"
        for row in off.to_dict("records")
    ]
    finding = _Finding(
        SUPPORTED,
        f"Points of {SPLIT_TITLES[predictions.split]} accuracy over off: {', '.join(shown)}.",
        f"gain in accuracy at {least['subset']}, the least certain one",
        float(least["difference"]),
        float(least["low"]),
        float(least["high"]),
        int(off["seeds"].min()),
    )
    if (off["verdict"] == GAIN).all():
        return replace(finding, sentence=f"{finding.sentence} Each is a gain over off and random encoders.")
    above = ((off["difference"] > 0) & (off["p_holm"] < 1 - CONFIDENCE)).all()
    missing = [subset_name(each) for each in fractions if each not in set(random.dropna()["fraction"])]
    if above and missing:
        why = f"All are above off, but the control with random encoders is missing at {', '.join(missing)}."
        return replace(finding, support=OPEN, sentence=f"{finding.sentence} {why}")
    return replace(finding, support=NOT_SUPPORTED, sentence=f"{finding.sentence} Not each is a gain.")


def _helps_more_with_less(predictions: Predictions, pairs: Sequence[tuple[ArmPredictions, ArmPredictions]]) -> _Finding:
    if len(pairs) < 2:
        return _Finding(OPEN, "The records need off and this setting at two fractions at least.")
    (few_off, few), (many_off, many) = pairs[0], pairs[-1]
    terms = [(1.0, few, "accuracy"), (-1.0, few_off, "accuracy"), (-1.0, many, "accuracy"), (1.0, many_off, "accuracy")]
    quantity = f"gain in accuracy at {subset_name(few.fraction)} minus gain at {subset_name(many.fraction)}"
    return _contrast(predictions, terms, quantity, above=True)


def _makes_worse(
    predictions: Predictions, pairs: Sequence[tuple[ArmPredictions, ArmPredictions]], name: str
) -> _Finding:
    if not pairs:
        return _Finding(OPEN, "The records need off and this setting at one fraction at least.")
    quantity = f"change of {name.lower()} recall, mean of {_count_fractions(len(pairs))}"
    return _contrast(predictions, _mean_change(pairs, name), quantity, above=False)


def _helps_least(
    predictions: Predictions, pairs: Sequence[tuple[ArmPredictions, ArmPredictions]], name: str
) -> _Finding:
    if not pairs:
        return _Finding(OPEN, "The records need off and this setting at one fraction at least.")
    findings = {}
    for other in predictions.classes:
        if other != name:
            terms = [
                *_mean_change(pairs, name),
                *((-weight, arm, of) for weight, arm, of in _mean_change(pairs, other)),
            ]
            quantity = f"change of {name.lower()} minus {other.lower()} recall, mean of {_count_fractions(len(pairs))}"
            findings[other] = _contrast(predictions, terms, quantity, above=False)
    unknown = [finding for finding in findings.values() if finding.support == OPEN]
    if unknown or not findings:
        return unknown[0] if unknown else _Finding(OPEN, "The records need images of another class.")
    # The claim must hold against every other class: the class with the least certain difference decides.
    decisive = max(findings.values(), key=lambda finding: finding.high)
    below = [other.lower() for other, finding in findings.items() if finding.support == SUPPORTED]
    count = f"Less than {len(below)} of the {len(findings)} other classes with certainty"
    return replace(decisive, sentence=f"{decisive.sentence} {count}{': ' if below else ''}{', '.join(below)}.")


def _is_easy(predictions: Predictions, name: str) -> _Finding:
    arms = [arm for arm in predictions.arms if arm.is_off and not arm.segmentation]
    if not arms or name not in predictions.classes or len(predictions.classes) < 2:
        return _Finding(OPEN, f"The records need off and images of {name}.")
    others = [other for other in predictions.classes if other != name]
    terms = [(1 / len(arms), arm, name) for arm in arms]
    terms += [(-1 / len(arms) / len(others), arm, other) for arm in arms for other in others]
    number = int((predictions.labels == predictions.classes.index(name)).sum())
    quantity = (
        f"{name.lower()} recall minus the mean of the other classes, without, mean of {_count_fractions(len(arms))}"
    )
    finding = _contrast(predictions, terms, quantity, above=True)
    if finding.support == OPEN:
        return finding
    seen = ", ".join(
        f"{subset_name(arm.fraction)} {100 * _score(predictions, arm, name).per_seed.mean():.1f} %" for arm in arms
    )
    return replace(finding, sentence=f"{finding.sentence} Their recall without: {seen}, of {number} images.")


def _contrast(predictions: Predictions, terms: Sequence[_Term], quantity: str, *, above: bool) -> _Finding:
    """Check the claim that a weighted sum of terms lies above 0, or below."""
    names = {name for _, _, name in terms if name != "accuracy"}
    empty = sorted(name for name in names if not _has_images(predictions, name))
    if empty:
        return _Finding(OPEN, f"There is no {SPLIT_TITLES[predictions.split]} image of {', '.join(empty)}.")
    seeds = reduce(np.intersect1d, [arm.seeds for _, arm, _ in terms])
    if len(seeds) < 2:
        return _Finding(OPEN, f"The arms share {len(seeds)} confirmed seeds; two at least are needed.")
    parts = []
    for weight, arm, name in terms:
        parts.append((weight, take_seeds(_score(predictions, arm, name), arm, seeds)))
    estimate = crossed_interval(combine_scores(parts), predictions.labels, groups=predictions.groups)
    value, low, high = float(estimate.value), float(estimate.low), float(estimate.high)
    sentence = (
        f"{quantity[0].upper()}{quantity[1:]}: {show_difference(value, 'accuracy')} (95 % interval {100 * low:+.2f} to "
        f"{100 * high:+.2f}; {len(seeds)} seeds, {len(predictions.labels)} images)."
    )
    if low > 0 or high < 0:
        support = SUPPORTED if above == (low > 0) else NOT_SUPPORTED
        sentence += " As claimed." if support == SUPPORTED else " The opposite of the claim."
    else:
        support = NOT_SUPPORTED
        sentence += " The interval holds 0: not borne out, not refuted."
    return _Finding(support, sentence, quantity, value, low, high, len(seeds))


def _score(predictions: Predictions, arm: ArmPredictions, quantity: str) -> Scores:
    if quantity == "accuracy":
        return score_runs(predictions.labels, arm.predicted, len(predictions.classes))[quantity]
    return score_recall(predictions.labels, arm.predicted, len(predictions.classes))[
        predictions.classes.index(quantity)
    ]


def _has_images(predictions: Predictions, name: str) -> bool:
    return name in predictions.classes and bool((predictions.labels == predictions.classes.index(name)).any())


def _pairs(predictions: Predictions, setting: str) -> list[tuple[ArmPredictions, ArmPredictions]]:
    """(off, arm) at every fraction that has both, ascending."""
    arms = [arm for arm in predictions.arms if setting_of(arm.arm) == setting and not arm.control]
    off = {(arm.fraction, arm.segmentation): arm for arm in predictions.arms if arm.is_off}
    found = [(off[key], arm) for arm in arms if (key := (arm.fraction, arm.segmentation)) in off]
    return sorted(found, key=lambda pair: pair[0].fraction)


def _mean_change(pairs: Sequence[tuple[ArmPredictions, ArmPredictions]], name: str) -> list[_Term]:
    weight = 1 / len(pairs)
    return [term for off, arm in pairs for term in ((weight, arm, name), (-weight, off, name))]


def _count_fractions(number: int) -> str:
    return "1 fraction" if number == 1 else f"{number} fractions"
