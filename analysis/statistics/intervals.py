"""Intervals for what a study measures: seeds and images are crossed sources of variance.

Every run of an arm (a seed) scores the same test images. The mean over runs therefore varies for two reasons at once:
other seeds would have drawn other subsets, initial weights and orders, and other images would have been harder or easier.
An interval over seeds alone treats the images as all there are. An interval over images alone treats the seeds so. Here both
count, as in a two-way random effects analysis of variance. With d[s, i] the contribution of image i under seed s,

    var(mean) = seeds / S + images / N + interaction / (S N),

estimated from mean squares, with Satterthwaite's degrees of freedom (Satterthwaite 1946; Searle, Casella and McCulloch
1992, chapter 4). Images are drawn within their classes, because a split is stratified and its class sizes are given. The
interval is one of the expected metric on such images, over all seeds.

Where it is known which images are of one group (patient, smear), groups take the place of images: other patients would have
been harder or easier.

F1 is no mean over images. Its contributions are its influence function at the counts that were seen (the infinitesimal
jackknife, Efron 1982). For accuracy this function is the plain indicator of a correct prediction.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from analysis.statistics.scores import Floats, Scores, quotient

CONFIDENCE = 0.95
"""Nominal coverage of every interval."""

PSEUDO_IMAGE = 0.15
"""Weight of the two pseudo images that each class gets when its variance is estimated.

Nine basophils that all runs get right look as if they had no variance. As in the intervals of Agresti and Coull (1998) and
Agresti and Min (2005), each class gets one image above its mean and one below it, each by this share of the unit gain. With a
hundred images of a class this changes nearly nothing; with nine images it keeps the coverage (`make calibrate`).
"""

SEED_VARIANCE_FLOOR = 0.5
"""Least variance between seeds, as a share of the variance that the interaction alone makes.

With five seeds the variance between seeds can be near zero by chance, while the interaction is known from hundreds of images.
At 1 the intervals of runs that differ by chance alone cover 98 %, at 0 they may collapse (`make calibrate`).
"""


@dataclass(frozen=True)
class Estimate:
    """A mean over seeds with its uncertainty; arrays have the leading axes of the scores."""

    value: Floats
    """Mean over seeds."""
    standard_error: Floats
    """Standard error of that mean, over other seeds and other images."""
    degrees_of_freedom: Floats
    """Degrees of freedom of Student's t, by Satterthwaite's approximation; infinite when nothing varies."""
    low: Floats
    """Lower bound of the two-sided interval."""
    high: Floats
    """Upper bound of the two-sided interval."""
    p: Floats
    """Two-sided p-value of the hypothesis that the true mean is 0."""
    seed_sd: Floats
    """Standard deviation over the S seeds (ddof 1), as seen on these images."""
    seed_part: Floats
    """Variance of the mean, at this S, because seeds are better or worse on all images alike; at least 0."""
    image_part: Floats
    """Variance of the mean because images are easier or harder under all seeds alike; more seeds do not lower it."""
    interaction_part: Floats
    """Variance of the mean, at this S, because an image is answered differently under each seed."""
    image_freedom: Floats
    """Degrees of freedom of what is known of the images' part; infinite when no image varies."""


def crossed_interval(
    scores: Scores,
    labels: ArrayLike,
    scale: Literal["difference", "share"] = "difference",
    confidence: float = CONFIDENCE,
    groups: ArrayLike | None = None,
) -> Estimate:
    """Mean over seeds, with an interval in which seeds and images vary.

    Args:
        scores: Scores of one arm, or the difference of two arms that share seeds and images.
        labels: True classes, int (N,).
        scale: ``difference`` makes a symmetric interval. ``share`` makes an interval of the log odds and transforms it back: it
            stays inside (0, 1) and is longer on the side where there is room.
        confidence: Nominal coverage, in (0, 1).
        groups: Group of each image (patient, smear), int (N,), at least 0: images of one group are drawn together. When None
            every image is drawn by itself.

    Returns:
        Arrays with the leading axes of the scores.

    Raises:
        ValueError: Fewer than two seeds.
    """
    # The same numbers as scipy.stats.t gives, without its checks: calibration makes a hundred thousand intervals.
    from scipy.special import stdtr, stdtrit

    per_seed, contributions = scores.per_seed, scores.contributions
    seeds = per_seed.shape[-1]
    if seeds < 2:
        raise ValueError(f"found {seeds} seed, expected at least 2: one run says nothing about how runs vary.")
    label = np.asarray(labels)
    mean = per_seed.mean(axis=-1)
    between_seeds = per_seed.var(axis=-1, ddof=1) / seeds
    squares = (
        _image_squares(contributions, scores.unit_gain, label)
        if groups is None
        else _group_squares(contributions, scores.unit_gain, label, np.asarray(groups))
    )
    # Both mean squares hold the interaction, which may count once only.
    image_part = np.maximum(squares.images - squares.interaction, 0.0)
    variance = np.maximum(between_seeds, SEED_VARIANCE_FLOOR * squares.interaction) + image_part
    # Sums of the squared parts over their degrees of freedom: what Satterthwaite's formula divides by.
    spread = np.square(between_seeds) / (seeds - 1) + squares.images_spread + squares.interaction_spread
    error = np.sqrt(variance)
    freedom_of_t = quotient(np.square(variance), spread)
    t = np.where(mean == 0, 0.0, np.copysign(quotient(np.abs(mean), error), mean))
    margin = stdtrit(freedom_of_t, (1 + confidence) / 2) * error
    low, high = mean - margin, mean + margin
    if scale == "share":
        low, high = _share_bounds(mean, margin)
    return Estimate(
        value=mean,
        standard_error=error,
        degrees_of_freedom=freedom_of_t,
        low=low,
        high=high,
        p=2 * stdtr(freedom_of_t, -np.abs(t)),
        seed_sd=per_seed.std(axis=-1, ddof=1),
        seed_part=np.maximum(between_seeds - squares.interaction, 0.0),
        image_part=image_part,
        interaction_part=squares.interaction,
        image_freedom=quotient(np.square(squares.images), squares.images_spread),
    )


@dataclass(frozen=True)
class _Squares:
    """Mean squares as parts of the variance of the mean, with what each adds to the divisor of Satterthwaite's formula."""

    images: Floats
    """Mean square of the images' means over seeds; holds the images' part and the interaction."""
    images_spread: Floats
    """Square of ``images`` over its degrees of freedom."""
    interaction: Floats
    """Mean square of what neither the image nor the seed explains."""
    interaction_spread: Floats


def _image_squares(contributions: Floats, unit_gain: Floats, label: NDArray[np.int64]) -> _Squares:
    """Mean squares of images that are drawn independently within their classes; the classes' parts add up."""
    seeds = contributions.shape[-2]
    zero = np.zeros(contributions.shape[:-2])
    squares = _Squares(zero, zero, zero, zero)
    for position in np.unique(label):
        answered = contributions[..., label == position]
        number = answered.shape[-1]
        image_mean = answered.mean(axis=-2)
        residual = answered - image_mean[..., None, :]
        residual = residual - residual.mean(axis=-1, keepdims=True)
        # One image shows no variance but that of its pseudo images.
        freedom = max(number - 1, 1)
        images = image_mean.var(axis=-1) * number + _pseudo_squares(unit_gain[..., position])
        images = images * number / freedom
        interaction = np.square(residual).sum(axis=(-1, -2)) * number / freedom / (seeds - 1) / seeds
        squares = _Squares(
            squares.images + images,
            squares.images_spread + np.square(images) / freedom,
            squares.interaction + interaction,
            squares.interaction_spread + np.square(interaction) / freedom / (seeds - 1),
        )
    return squares


def _group_squares(
    contributions: Floats, unit_gain: Floats, label: NDArray[np.int64], groups: NDArray[np.int64]
) -> _Squares:
    """Mean squares where whole groups (patients) are drawn: what the images of a group have in common counts.

    The squares are those of sums over a group's images, across classes, of what is left after the class's mean: with the
    seeds' part, the two-way clustered variance of Cameron, Gelbach and Miller (2011). A group that is a share h of a class
    pulls that mean towards itself; as in a jackknife over groups its part is divided by 1 - h, the mean of the class without
    it (MacKinnon, Nielsen and Webb 2023). With one image a group the mean squares are those of `_image_squares`.
    """
    seeds, classes = contributions.shape[-2], unit_gain.shape[-1]
    unit = _split_lone_groups(label, groups)
    units, unit = np.unique(unit, return_inverse=True)
    sizes = np.zeros((classes, len(units)))
    np.add.at(sizes, (label, unit), 1)
    number = sizes.sum(axis=-1)
    share = sizes / np.maximum(number, 1)[:, None]
    # A class of one image has no residual, and its share of 1 no inverse.
    many = np.maximum(np.count_nonzero(sizes, axis=-1), 2)[:, None]
    scale = np.sqrt(1 - 1 / many) / np.where(share < 1, 1 - share, 1.0)
    centred = contributions.copy()
    for position in np.flatnonzero(number):
        members = label == position
        centred[..., members] -= centred[..., members].mean(axis=-1, keepdims=True)
    centred *= scale[label, unit]
    order = np.argsort(unit, kind="stable")
    starts = np.searchsorted(unit[order], np.arange(len(units)))
    sums = np.add.reduceat(centred[..., order], starts, axis=-1)
    unit_mean = sums.mean(axis=-2)
    pseudo = (_pseudo_squares(unit_gain) * number / np.maximum(number - 1, 1) * (number > 0)).sum(axis=-1)
    images = np.square(unit_mean).sum(axis=-1) + pseudo
    residual = sums - unit_mean[..., None, :]
    interaction = np.square(residual).sum(axis=(-1, -2)) / (seeds - 1) / seeds
    # As many groups of one size as would be as uncertain (Kish's effective number, weighted by the unit gain of their images).
    weight = unit_gain @ sizes
    effective = np.square(weight.sum(axis=-1)) / np.square(weight).sum(axis=-1)
    freedom = np.maximum(effective - 1, 1.0)
    return _Squares(
        images,
        np.square(images) / freedom,
        interaction,
        np.square(interaction) / freedom / (seeds - 1),
    )


def _pseudo_squares(unit_gain: Floats) -> Floats:
    """What the two pseudo images of a class add to its sum of squares."""
    return 2 * np.square(PSEUDO_IMAGE * unit_gain)


def _split_lone_groups(label: NDArray[np.int64], groups: NDArray[np.int64]) -> NDArray[np.int64]:
    """Groups; but the images of a class that one group alone has say nothing of other groups and stand for themselves."""
    unit = groups.copy()
    following = int(groups.max()) + 1
    for position in np.unique(label):
        members = np.flatnonzero(label == position)
        if len(np.unique(groups[members])) == 1:
            unit[members] = following + np.arange(len(members))
            following += len(members)
    return unit


def _share_bounds(mean: Floats, margin: Floats) -> tuple[Floats, Floats]:
    """Bounds of a share by the delta method on its log odds; a share of 0 or 1 has none and keeps the plain bounds."""
    from scipy.special import expit, logit

    inside = (mean > 0) & (mean < 1)
    share = np.where(inside, mean, 0.5)
    reach = margin / (share * (1 - share))
    low = np.where(inside, expit(logit(share) - reach), np.maximum(mean - margin, 0.0))
    high = np.where(inside, expit(logit(share) + reach), np.minimum(mean + margin, 1.0))
    return low, high
