"""What training does about rare classes: weights of the loss, and the order in which images are drawn."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import torch
from numpy.typing import NDArray

if TYPE_CHECKING:
    from study.config.training import LossWeights, Sampling, TrainingConfig


def class_weights(
    counts: NDArray[np.int64], kind: LossWeights, beta: float, sampling: Sampling
) -> NDArray[np.float64] | None:
    """Factor of the loss of each class.

    Before normalisation a class with n images has

    - ``inverse``: 1 / n;
    - ``effective``: (1 - beta) / (1 - beta^n), one over its effective number of samples (Cui et al. 2019, "Class-Balanced Loss
      Based on Effective Number of Samples", equations 2 and 3): 1 for every class at beta = 0, 1 / n as beta approaches 1.

    The factors are then scaled so that their mean over the images that training draws is 1: each class counts with its images
    under natural sampling (``inverse`` is then n_all / (classes * n), scikit-learn's "balanced"), all classes alike under
    balanced sampling. The mean gradient keeps its size, so that learning rates with and without weights are comparable.

    Args:
        counts: int64 (classes,), images of each class in the arm's own training subset, all at least 1.
        kind: See above; ``none`` gives no weights.
        beta: Parameter of ``effective``, in [0, 1).
        sampling: How images are drawn.

    Returns:
        float64 (classes,), or None for ``none``.
    """
    if kind == "none":
        return None
    images = counts.astype(np.float64)
    # -expm1(n log(beta)) is 1 - beta^n without the cancellation at beta near 1.
    effective = -np.expm1(images * np.log(beta)) / (1 - beta) if beta > 0 else np.ones_like(images)
    weights = 1 / (images if kind == "inverse" else effective)
    drawn = images / images.sum() if sampling == "natural" else np.full(len(images), 1 / len(images))
    scaled: NDArray[np.float64] = weights / (weights * drawn).sum()
    return scaled


def subset_weights(labels: NDArray[np.int64], classes: int, training: TrainingConfig) -> NDArray[np.float64] | None:
    """`class_weights` of a training subset, as configured.

    Args:
        labels: int64 (N,), labels of the subset's images.
        classes: Number of classes.
        training: Its `loss_weights`, `effective_beta` and `sampling` are used.

    Returns:
        float64 (classes,), or None where `loss_weights` is ``none``.
    """
    counts = np.bincount(labels, minlength=classes).astype(np.int64)
    return class_weights(counts, training.loss_weights, training.effective_beta, training.sampling)


def natural_order(labels: NDArray[np.int64], generator: torch.Generator) -> NDArray[np.int64]:
    """Positions of one pass in which every image comes once, int64 (N,)."""
    order: NDArray[np.int64] = torch.randperm(len(labels), generator=generator).numpy()
    return order


def balanced_order(labels: NDArray[np.int64], generator: torch.Generator) -> NDArray[np.int64]:
    """Positions of one pass of N images in which each class has the same share.

    Every class gives N / classes images. Where that is no whole number, classes that are drawn give one more than the others.
    Within a class all images are shown equally often, to within one: images of a rare class repeat, and some of a frequent
    class wait for another pass.

    Args:
        labels: int64 (N,), labels of the images.
        generator: CPU generator that everything is drawn from.

    Returns:
        int64 (N,), positions in `labels`, shuffled.
    """
    present = np.unique(labels)
    lucky = set(torch.randperm(len(present), generator=generator)[: len(labels) % len(present)].tolist())
    drawn = []
    for number, label in enumerate(present):
        members = np.flatnonzero(labels == label)
        wanted = len(labels) // len(present) + (number in lucky)
        rounds = -(-wanted // len(members))
        orders = [torch.randperm(len(members), generator=generator).numpy() for _ in range(rounds)]
        drawn.append(members[np.concatenate([*orders, np.empty(0, dtype=np.int64)])][:wanted])
    joined = np.concatenate(drawn)
    shuffled: NDArray[np.int64] = joined[torch.randperm(len(joined), generator=generator).numpy()]
    return shuffled
