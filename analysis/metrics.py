"""Accuracy, F1, recall and precision from confusion matrices, and words for metrics and splits."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

METRIC_TITLES = {"accuracy": "accuracy", "macro_f1": "macro F1", "weighted_f1": "weighted F1"}
"""Words for the metrics that are compared."""

SPLIT_TITLES = {"test": "test", "val": "validation", "outside": "out-of-domain"}
"""Words for the images that a value is of; ``outside`` is another data set, see `analysis.statistics.evaluations`."""


@dataclass(frozen=True)
class Metrics:
    """Metrics of one or many confusion matrices; shapes are those of the leading axes ``...``, values in [0, 1]."""

    accuracy: NDArray[np.float64]
    """(...): share of the images on the diagonal."""
    macro_f1: NDArray[np.float64]
    """(...): plain mean of the F1 of all C classes; ``f1_score(labels=all, average="macro", zero_division=0)``."""
    weighted_f1: NDArray[np.float64]
    """(...): mean of the classes' F1 weighted by their images; ``f1_score(average="weighted", zero_division=0)``."""
    recall: NDArray[np.float64]
    """(..., C): NaN for a class without images."""
    precision: NDArray[np.float64]
    """(..., C): 0 for a class that was never predicted, as in scikit-learn with ``zero_division=0``."""


def confusion_metrics(confusion: ArrayLike) -> Metrics:
    """Metrics of confusion matrices.

    Args:
        confusion: Counts, shape (..., C, C); rows are true classes, columns predictions.

    Returns:
        Everything in `Metrics`. A matrix without any image has no metrics: NaN throughout.

    Raises:
        ValueError: The last two axes are not square.
    """
    counts = np.asarray(confusion, dtype=np.float64)
    if counts.ndim < 2 or counts.shape[-1] != counts.shape[-2]:
        raise ValueError(f"confusion: found shape {counts.shape}, expected (..., C, C).")
    correct = np.diagonal(counts, axis1=-2, axis2=-1)
    actual = counts.sum(axis=-1)
    predicted = counts.sum(axis=-2)
    total = actual.sum(axis=-1)
    # F1 = 2 TP / (2 TP + FP + FN); its denominator is 0 only for a class that neither occurs nor is predicted.
    f1 = _ratio(2 * correct, actual + predicted, otherwise=0.0)
    return Metrics(
        accuracy=_ratio(correct.sum(axis=-1), total, otherwise=np.nan),
        macro_f1=np.where(total > 0, f1.mean(axis=-1), np.nan),
        weighted_f1=_ratio((f1 * actual).sum(axis=-1), total, otherwise=np.nan),
        recall=_ratio(correct, actual, otherwise=np.nan),
        precision=np.where(total[..., None] > 0, _ratio(correct, predicted, otherwise=0.0), np.nan),
    )


def count_confusion(
    labels: ArrayLike, predicted: ArrayLike, classes: int, groups: ArrayLike | None = None, group_count: int = 1
) -> NDArray[np.int64]:
    """Confusion matrices from labels and predictions.

    Args:
        labels: True classes, int (N,), in [0, classes).
        predicted: Predicted classes, int (N,), in [0, classes).
        classes: Number of classes C.
        groups: Which of the matrices each row counts for, int (N,), in [0, group_count); all in the first when None.
        group_count: Number of matrices G.

    Returns:
        int64 (G, C, C); rows are true classes.
    """
    label = np.asarray(labels, dtype=np.int64)
    group = np.zeros_like(label) if groups is None else np.asarray(groups, dtype=np.int64)
    cells = (group * classes + label) * classes + np.asarray(predicted, dtype=np.int64)
    counts = np.bincount(cells, minlength=group_count * classes * classes)
    return counts.astype(np.int64).reshape(group_count, classes, classes)


def _ratio(numerator: NDArray[np.float64], denominator: NDArray[np.float64], otherwise: float) -> NDArray[np.float64]:
    result = np.full(np.broadcast_shapes(numerator.shape, denominator.shape), otherwise)
    np.divide(numerator, denominator, out=result, where=denominator > 0)
    return result


def metric_title(metric: str) -> str:
    """``val_macro_f1`` -> "validation macro F1"."""
    split, _, name = metric.partition("_")
    return f"{SPLIT_TITLES[split]} {METRIC_TITLES[name]}"
