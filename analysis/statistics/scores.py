"""Metrics of runs, with the contribution of each image and the unit gain of each class."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from analysis.metrics import confusion_metrics, count_confusion

Floats = NDArray[np.float64]

METRICS = ("accuracy", "macro_f1", "weighted_f1")
"""Metrics that are compared, the primary one first."""


@dataclass(frozen=True)
class Scores:
    """One metric of several runs on the same images. ``...`` are any leading axes, e.g. simulated studies."""

    per_seed: Floats
    """(..., S): value of the metric for each seed."""
    contributions: Floats
    """(..., S, N): contribution of each image, up to a constant of its class."""
    unit_gain: Floats
    """(..., C): how much a right prediction in place of a wrong one adds to the metric, mean over seeds."""

    def __sub__(self, other: Scores) -> Scores:
        """Differences of runs that share images and, in the same order, seeds; as `combine_scores` makes them."""
        return Scores(
            self.per_seed - other.per_seed,
            self.contributions - other.contributions,
            np.maximum(self.unit_gain, other.unit_gain),
        )


def combine_scores(parts: Sequence[tuple[float, Scores]]) -> Scores:
    """Weighted sum of scores of runs that share images and, in the same order, seeds; e.g. a difference of differences.

    Args:
        parts: Pairs of weight and scores, at least one.
    """
    up = sum((weight * scores.unit_gain for weight, scores in parts if weight > 0), np.float64(0.0))
    down = sum((-weight * scores.unit_gain for weight, scores in parts if weight < 0), np.float64(0.0))
    return Scores(
        np.sum([weight * scores.per_seed for weight, scores in parts], axis=0),
        np.sum([weight * scores.contributions for weight, scores in parts], axis=0),
        # Where two predictions of an image differ, one of them is right at most: only one side gains.
        np.maximum(up, down),
    )


def stack_scores(scores: Sequence[Scores]) -> Scores:
    """Several scores of equally many seeds and images as one, along a new first axis."""
    return Scores(
        np.stack([each.per_seed for each in scores]),
        np.stack([each.contributions for each in scores]),
        np.stack([each.unit_gain for each in scores]),
    )


def score_runs(labels: ArrayLike, predicted: ArrayLike, classes: int) -> dict[str, Scores]:
    """Accuracy, macro F1 and weighted F1 of runs on the same images, with each image's contribution.

    Args:
        labels: True classes, int (N,), in [0, classes).
        predicted: Predicted classes, int (..., S, N), in [0, classes).
        classes: Number of classes C.

    Returns:
        `METRICS` -> scores.

    Notes:
        F1 of class k is 2 TP / (n + P), where n images are of class k and P images are predicted as k. An image that is
        predicted as p adds 1 to P of p, and 2 to the numerator of p when p is its class. Its contribution to the F1 of p is
        therefore (2 [right] - F1) / (n + P); to the F1 of other classes it contributes nothing.
    """
    label = np.asarray(labels, dtype=np.int64)
    chosen = np.asarray(predicted, dtype=np.int64)
    runs, number = chosen.shape[:-1], label.size
    count = int(np.prod(runs))
    groups = np.repeat(np.arange(count), number)
    confusion = count_confusion(np.tile(label, count), chosen.reshape(-1), classes, groups, count)
    confusion = confusion.reshape(*runs, classes, classes)
    metrics = confusion_metrics(confusion)
    actual = np.bincount(label, minlength=classes).astype(np.float64)
    predicted_as = confusion.sum(axis=-2)
    # A class without images and predictions has F1 0 by definition and no image that could contribute.
    denominator = np.maximum(actual + predicted_as, 1.0)
    f1 = 2 * np.diagonal(confusion, axis1=-2, axis2=-1) / denominator
    right = chosen == label
    scores = {
        "accuracy": Scores(metrics.accuracy, right / number, np.full((*runs[:-1], classes), 1 / number)),
    }
    for name, values, share in (
        ("macro_f1", metrics.macro_f1, np.full(classes, 1 / classes)),
        ("weighted_f1", metrics.weighted_f1, actual / number),
    ):
        gain = share * (2 - f1) / denominator
        loss = -share * f1 / denominator
        contributions = np.where(
            right, np.take_along_axis(gain, chosen, axis=-1), np.take_along_axis(loss, chosen, axis=-1)
        )
        scores[name] = Scores(values, contributions, gain.mean(axis=-2))
    return scores


def score_recall(labels: ArrayLike, predicted: ArrayLike, classes: int) -> dict[int, Scores]:
    """Recall of every class that has images, as `score_runs` gives the other metrics.

    Args:
        labels: True classes, int (N,), in [0, classes).
        predicted: Predicted classes, int (..., S, N), in [0, classes).
        classes: Number of classes C.

    Returns:
        Number of the class -> scores.
    """
    label = np.asarray(labels, dtype=np.int64)
    chosen = np.asarray(predicted, dtype=np.int64)
    scores = {}
    for position in np.unique(label).tolist():
        members = label == position
        right = ((chosen == label) & members) / members.sum()
        unit_gain = np.zeros((*chosen.shape[:-2], classes))
        unit_gain[..., position] = 1 / members.sum()
        scores[int(position)] = Scores(right.sum(axis=-1), right, unit_gain)
    return scores


def quotient(numerator: Floats, denominator: Floats) -> Floats:
    """Quotient of two arrays; infinite where the denominator is 0, i.e. where nothing varies."""
    shape = np.broadcast_shapes(numerator.shape, denominator.shape)
    quotient: Floats = np.divide(numerator, denominator, out=np.full(shape, np.inf), where=denominator > 0)
    return quotient
