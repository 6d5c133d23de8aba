"""What is done about rare classes."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.utils.class_weight import compute_class_weight

from models.initialisation import stream
from study.config.training import TrainingConfig
from study.training.class_balance import balanced_order, class_weights, natural_order, subset_weights

COUNTS = np.array([1, 6, 20, 4, 51])
"""The published 1 % subset."""

SUBSETS = st.lists(st.integers(1, 40), min_size=1, max_size=6)


def test_inverse_weights_are_those_of_scikit_learn() -> None:
    labels = np.repeat(np.arange(5), COUNTS)
    weights = subset_weights(labels, 5, TrainingConfig(loss_weights="inverse"))
    assert weights == pytest.approx(compute_class_weight("balanced", classes=np.arange(5), y=labels))


def test_effective_numbers_are_those_of_the_paper() -> None:
    # Equation 2 of Cui et al. 2019 written as the sum that it stands for: 1 + beta + ... + beta^(n - 1).
    beta = 0.9
    numbers = np.array([sum(beta**i for i in range(n)) for n in COUNTS])
    weights = class_weights(COUNTS, "effective", beta, "natural")
    assert weights is not None
    assert weights / weights[0] == pytest.approx(numbers[0] / numbers)


def test_the_effective_number_lies_between_no_weights_and_inverse_frequency() -> None:
    assert class_weights(COUNTS, "effective", 0.0, "natural") == pytest.approx(np.ones(5))
    inverse = class_weights(COUNTS, "inverse", 0.5, "natural")
    assert class_weights(COUNTS, "effective", 1 - 1e-9, "natural") == pytest.approx(inverse, rel=1e-6)


@given(counts=SUBSETS, kind=st.sampled_from(["inverse", "effective"]), beta=st.floats(0, 0.9999))
def test_the_mean_weight_of_what_is_drawn_is_one_and_rarer_classes_never_weigh_less(
    counts: list[int], kind: str, beta: float
) -> None:
    images = np.array(counts)
    natural = class_weights(images, kind, beta, "natural")  # type: ignore[arg-type]  # one of the words
    balanced = class_weights(images, kind, beta, "balanced")  # type: ignore[arg-type]  # one of the words
    assert natural is not None and balanced is not None
    assert (natural * images).sum() / images.sum() == pytest.approx(1)
    assert balanced.mean() == pytest.approx(1)
    assert (np.diff(natural[np.argsort(images, kind="stable")]) <= 1e-12).all()


def test_none_weighs_nothing() -> None:
    assert class_weights(COUNTS, "none", 0.999, "natural") is None


def test_a_natural_pass_shows_every_image_once() -> None:
    order = natural_order(np.zeros(30, dtype=np.int64), stream(0, "order", 0))
    assert sorted(order) == list(range(30)) != order.tolist()


@given(counts=SUBSETS, seed=st.integers(0, 100))
def test_a_balanced_pass_shows_every_class_and_within_it_every_image_equally_often(
    counts: list[int], seed: int
) -> None:
    # Labels need not be contiguous: a class may be missing.
    labels = np.repeat(2 * np.arange(len(counts)), counts).astype(np.int64)
    order = balanced_order(labels, stream(seed, "order", 0))
    assert len(order) == len(labels)
    shown = np.bincount(order, minlength=len(labels))
    by_class = [shown[labels == 2 * position] for position in range(len(counts))]
    assert max(part.sum() for part in by_class) - min(part.sum() for part in by_class) <= 1
    assert all(part.max() - part.min() <= 1 for part in by_class)
    assert order.tolist() == balanced_order(labels, stream(seed, "order", 0)).tolist()


def test_over_many_passes_no_class_and_no_image_is_preferred() -> None:
    labels = np.repeat([0, 1, 2], [2, 9, 12]).astype(np.int64)
    orders = np.concatenate([balanced_order(labels, stream(0, "order", number)) for number in range(600)])
    shown = np.bincount(orders, minlength=23) / 600
    # 23 / 3 images of a class in a pass; five standard deviations of what is left to chance (0.49 an image at most).
    assert [shown[labels == label].sum() for label in range(3)] == pytest.approx([23 / 3] * 3, abs=0.1)
    assert shown[labels == 2] == pytest.approx([23 / 36] * 12, abs=0.1)


def test_classes_are_mixed_within_a_pass() -> None:
    labels = np.repeat([0, 1], 200).astype(np.int64)
    first_half = labels[balanced_order(labels, stream(0, "order", 0))][:200]
    assert 70 < first_half.sum() < 130
