"""Calibration of probabilities: temperature scaling, expected calibration error and reliability.

A network can predict the right class and still be too confident. The logits are divided by a temperature that is fitted on the
validation predictions (Guo et al. 2017, "On Calibration of Modern Neural Networks", section 4.2). The predicted classes stay the
same, only the confidence changes. Probabilities of several seeds are averaged first and calibrated afterwards: the mean of
calibrated probabilities would not be calibrated (Rahaman and Thiery 2021, "Uncertainty Quantification and Deep Ensembles").
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray

from analysis.arms import arm_order, setting_of
from analysis.statistics.confusion import shown_split

if TYPE_CHECKING:
    from analysis.records.study import Study

Floats = NDArray[np.float64]

BINS = 15
"""Bins of equal width of the expected calibration error, as in Guo et al. 2017."""

DRAWN_BINS = 10
"""Bins of the reliability diagram: with a few hundred images, more bins would show noise."""

COLDEST, HOTTEST = 0.05, 20.0
"""Range of the fitted temperature; at the low end nearly all predictions are certain, at the high end none is."""

_TINY = float(np.finfo(np.float32).tiny)
"""Smallest positive float32. Probabilities are stored as float32, and one that was rounded to zero counts as this."""

ENSEMBLE, SINGLE = "ensemble", "single run"
"""What is calibrated: the mean of an arm's confirmed seeds, or each of them by itself."""


def temper(probabilities: ArrayLike, temperature: float) -> Floats:
    """Divide the logits of probabilities by a temperature.

    Args:
        probabilities: (N, C), rows sum to 1.
        temperature: Above 1 lowers the confidence, below 1 raises it; 1 changes nothing.

    Returns:
        float64 (N, C), rows sum to 1.
    """
    logits = np.log(np.maximum(np.asarray(probabilities, dtype=np.float64), _TINY)) / temperature
    shares = np.exp(logits - logits.max(axis=-1, keepdims=True))
    result: Floats = shares / shares.sum(axis=-1, keepdims=True)
    return result


def fit_temperature(labels: ArrayLike, probabilities: ArrayLike) -> float:
    """Fit the temperature with the lowest cross-entropy.

    A share of 1 / (N + 2) of each target is spread over all classes, as in Platt (1999, "Probabilistic Outputs for Support
    Vector Machines", section 2.2). Without it the best temperature would be zero wherever all predictions are right, as a few
    dozen may be, and every later prediction would be certain.

    Args:
        labels: True classes, int (N,), at least one.
        probabilities: (N, C).

    Returns:
        A temperature between `COLDEST` and `HOTTEST`.

    Raises:
        ValueError: There is no image to fit on.
    """
    from scipy.optimize import minimize_scalar

    label = np.asarray(labels, dtype=np.int64)
    if not len(label):
        raise ValueError("found no image to fit a temperature on, expected at least one.")
    logits = np.log(np.maximum(np.asarray(probabilities, dtype=np.float64), _TINY))
    smoothing = 1 / (len(label) + 2)
    target = np.full(logits.shape, smoothing / logits.shape[1])
    target[np.arange(len(label)), label] += 1 - smoothing

    def cross_entropy(log_temperature: float) -> float:
        scaled = logits * np.exp(-log_temperature)
        highest = scaled.max(axis=1, keepdims=True)
        log_sum = highest[:, 0] + np.log(np.exp(scaled - highest).sum(axis=1))
        return float((log_sum - (target * scaled).sum(axis=1)).mean())

    best = minimize_scalar(cross_entropy, bounds=(np.log(COLDEST), np.log(HOTTEST)), method="bounded")
    return float(np.exp(best.x))


def reliability(labels: ArrayLike, probabilities: ArrayLike, bins: int = BINS) -> pd.DataFrame:
    """Share of right predictions in each bin of confidence.

    Args:
        labels: True classes, int (N,).
        probabilities: (N, C); the highest value of a row is the confidence of its prediction.
        bins: Number of bins of equal width over (0, 1]; a confidence on a border belongs to the lower bin.

    Returns:
        One row per bin: low, high (its borders), answers (number of predictions), confidence (their mean) and accuracy (share
        of right ones); the last two are missing for an empty bin.
    """
    shares = np.asarray(probabilities, dtype=np.float64)
    confidence = shares.max(axis=1)
    right = (shares.argmax(axis=1) == np.asarray(labels)).astype(np.float64)
    place = np.clip(np.ceil(confidence * bins).astype(np.int64) - 1, 0, bins - 1)
    answers = np.bincount(place, minlength=bins)
    some = np.where(answers > 0, answers, np.nan)
    edges = np.linspace(0, 1, bins + 1)
    return pd.DataFrame(
        {
            "low": edges[:-1],
            "high": edges[1:],
            "answers": answers.astype(np.int64),
            "confidence": np.bincount(place, weights=confidence, minlength=bins) / some,
            "accuracy": np.bincount(place, weights=right, minlength=bins) / some,
        }
    )


def calibration_error(labels: ArrayLike, probabilities: ArrayLike, bins: int = BINS) -> float:
    """Expected calibration error: the mean gap between confidence and accuracy over bins, weighted by their predictions.

    Guo et al. 2017, equation 3. With few images it is above zero even for perfect probabilities.
    """
    table = reliability(labels, probabilities, bins)
    gaps = (table["confidence"] - table["accuracy"]).abs().fillna(0.0)
    return float((gaps * table["answers"]).sum() / max(1, table["answers"].sum()))


def run_probabilities(study: Study, split: str) -> dict[str, tuple[NDArray[np.int64], Floats]]:
    """Labels (N,) and probabilities (N, C) of each confirmed run on a split; images in the same order in all of them."""
    predictions = study.predictions
    chosen = predictions["trial_id"].isin(study.confirmed["trial_id"]) & (predictions["split"] == split)
    rows = predictions[chosen].sort_values(["trial_id", "image", "path"], kind="stable")
    columns = [f"p_{name.lower()}" for name in study.classes]
    return {
        str(trial): (run["label"].to_numpy(dtype=np.int64), run[columns].to_numpy(dtype=np.float64))
        for trial, run in rows.groupby("trial_id", sort=False)
    }


def ensemble_temperature(study: Study, trial_ids: Sequence[str]) -> float:
    """Fit the temperature of the mean probabilities of some confirmed runs, on the validation images.

    Args:
        study: A study with predictions of these runs.
        trial_ids: Runs of one arm; a single run is calibrated by itself.

    Raises:
        ValueError: A run has no validation predictions.
    """
    found = run_probabilities(study, "val")
    missing = [trial for trial in trial_ids if trial not in found]
    if missing:
        raise ValueError(f"{study.path}: trials {', '.join(missing)} have no validation predictions to calibrate with.")
    return fit_temperature(found[trial_ids[0]][0], np.mean([found[trial][1] for trial in trial_ids], axis=0))


_COLUMNS = ["arm", "fraction", "subset", "setting", "control", "split", "kind", "runs", "images", "temperature"]
_MEASURES = ["ece", "ece_tempered", "loss", "loss_tempered"]


def calibration(study: Study) -> pd.DataFrame:
    """Calibration of every arm's probabilities, as trained and with a fitted temperature.

    Temperatures are fitted on validation images and measured on test images. Without a test split they are measured on
    validation images, which is optimistic.

    Returns:
        Two rows per arm, `SINGLE` (means over its confirmed runs) and `ENSEMBLE` (the mean of their probabilities): arm,
        fraction, subset, setting, control, split, kind, runs, images, temperature, ece, ece_tempered, loss, loss_tempered
        (cross-entropy, natural logarithm). Ordered as arms are listed. Empty without confirmed runs.
    """
    rows = []
    for arm, runs in _arms_with_probabilities(study):
        measured = [_measure(fitting, judged) for fitting, judged in runs.values()]
        for kind, each in ((SINGLE, measured), (ENSEMBLE, [_measure(*_pool(list(runs.values())))])):
            numbers = {name: float(np.mean([values[name] for values in each])) for name in ("temperature", *_MEASURES)}
            rows.append(
                {**arm, "kind": kind, "runs": len(runs), "images": len(next(iter(runs.values()))[1][0])} | numbers
            )
    return pd.DataFrame(rows, columns=[*_COLUMNS, *_MEASURES])


def reliability_table(study: Study) -> pd.DataFrame:
    """Rows of the reliability diagram: confidence against accuracy, predictions of all confirmed runs of an arm together.

    Returns:
        One row per arm, ``scale`` ("as trained" or "calibrated": each run with its own temperature) and bin that is not
        empty: arm, fraction, subset, setting, control, split, runs, scale, low, high, answers, confidence, accuracy.
    """
    parts = []
    for arm, runs in _arms_with_probabilities(study):
        labels = np.concatenate([judged[0] for _, judged in runs.values()])
        plain = np.concatenate([judged[1] for _, judged in runs.values()])
        tempered = np.concatenate([temper(judged[1], fit_temperature(*fitting)) for fitting, judged in runs.values()])
        for scale, shares in (("as trained", plain), ("calibrated", tempered)):
            bins = reliability(labels, shares, DRAWN_BINS)
            parts.append(bins[bins["answers"] > 0].assign(**arm, runs=len(runs), scale=scale))
    columns = ["arm", "fraction", "subset", "setting", "control", "split", "runs", "scale"]
    columns += ["low", "high", "answers", "confidence", "accuracy"]
    return pd.concat(parts, ignore_index=True)[columns] if parts else pd.DataFrame(columns=columns)


_Labelled = tuple[NDArray[np.int64], Floats]


def _arms_with_probabilities(study: Study) -> list[tuple[dict[str, Any], dict[str, tuple[_Labelled, _Labelled]]]]:
    """Every arm with its runs: labels and probabilities to fit a temperature on, and those to measure it on."""
    confirmed = study.confirmed
    split = shown_split(study)
    fitting = run_probabilities(study, "val")
    judged = fitting if split == "val" else run_probabilities(study, split)
    found = []
    for name in arm_order(study):
        rows = confirmed[confirmed["arm"] == name]
        runs = {
            trial: (fitting[trial], judged[trial]) for trial in rows["trial_id"] if trial in fitting and trial in judged
        }
        if runs:
            first = rows.iloc[0]
            keys: dict[str, Any] = {key: first[key] for key in ("fraction", "subset", "control")}
            found.append(({"arm": name, "setting": setting_of(name), "split": split, **keys}, runs))
    return found


def _pool(runs: list[tuple[_Labelled, _Labelled]]) -> tuple[_Labelled, _Labelled]:
    """Mean probabilities of runs that scored the same images."""
    pooled = [(runs[0][part][0], np.mean([run[part][1] for run in runs], axis=0)) for part in (0, 1)]
    return pooled[0], pooled[1]


def _measure(fitting: _Labelled, judged: _Labelled) -> dict[str, float]:
    temperature = fit_temperature(*fitting)
    labels, plain = judged
    tempered = temper(plain, temperature)
    return {
        "temperature": temperature,
        "ece": calibration_error(labels, plain),
        "ece_tempered": calibration_error(labels, tempered),
        "loss": _loss(labels, plain),
        "loss_tempered": _loss(labels, tempered),
    }


def _loss(labels: NDArray[np.int64], probabilities: Floats) -> float:
    return float(-np.log(np.maximum(probabilities[np.arange(len(labels)), labels], _TINY)).mean())
