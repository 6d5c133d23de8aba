"""Metrics equal scikit-learn's."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import accuracy_score, confusion_matrix, f1_score, precision_score, recall_score

from analysis.metrics import confusion_metrics, count_confusion

ANSWERS = st.lists(st.tuples(st.integers(0, 4), st.integers(0, 4)), min_size=1, max_size=60)


@settings(deadline=None)
@given(ANSWERS)
def test_equal_to_scikit_learn(answers: list[tuple[int, int]]) -> None:
    truth, predicted = np.array(answers).T
    labels = list(range(5))
    metrics = confusion_metrics(confusion_matrix(truth, predicted, labels=labels))
    assert metrics.accuracy == pytest.approx(accuracy_score(truth, predicted))
    for average, value in (("macro", metrics.macro_f1), ("weighted", metrics.weighted_f1)):
        assert value == pytest.approx(f1_score(truth, predicted, labels=labels, average=average, zero_division=0))
    precision = precision_score(truth, predicted, labels=labels, average=None, zero_division=0)
    np.testing.assert_allclose(metrics.precision, precision)
    recall = recall_score(truth, predicted, labels=labels, average=None, zero_division=np.nan)
    np.testing.assert_allclose(metrics.recall, recall)


@settings(deadline=None)
@given(st.lists(ANSWERS, min_size=1, max_size=4))
def test_many_matrices_at_once_equal_each_alone(trials: list[list[tuple[int, int]]]) -> None:
    rows = [(group, *answer) for group, answers in enumerate(trials) for answer in answers]
    group, truth, predicted = np.array(rows).T
    counts = count_confusion(truth, predicted, 5, group, len(trials))
    together = confusion_metrics(counts)
    for number, answers in enumerate(trials):
        alone = np.array(answers).T
        np.testing.assert_array_equal(counts[number], confusion_matrix(*alone, labels=range(5)))
        one = confusion_metrics(counts[number])
        assert together.macro_f1[number] == one.macro_f1
        np.testing.assert_array_equal(together.recall[number], one.recall)


def test_always_neutrophil_on_the_published_validation_images() -> None:
    confusion = np.zeros((5, 5))
    confusion[:, 4] = [36, 126, 412, 95, 1059]
    metrics = confusion_metrics(confusion)
    assert metrics.accuracy == pytest.approx(0.6128, abs=1e-4)
    assert metrics.macro_f1 == pytest.approx(0.152, abs=1e-3)


def test_no_images_no_metrics() -> None:
    metrics = confusion_metrics(np.zeros((2, 3, 3)))
    assert np.isnan(metrics.accuracy).all()
    assert np.isnan(metrics.macro_f1).all()
    assert np.isnan(metrics.weighted_f1).all()
    assert np.isnan(metrics.recall).all()
    assert np.isnan(metrics.precision).all()
    assert confusion_metrics(np.zeros((0, 5, 5))).macro_f1.shape == (0,)


def test_a_matrix_that_is_not_square_is_refused() -> None:
    with pytest.raises(ValueError, match=r"found shape \(2, 3\)"):
        confusion_metrics(np.zeros((2, 3)))
