"""The learning rate of each epoch."""

import numpy as np
import pytest


def test_plateau_schedule_halves_the_rate_when_accuracy_does_not_rise(start):
    run = start(training={"epochs": 8, "plateau_patience": 0}, learning_rate=1e-3)
    reports = [run.train_epoch() for _ in range(8)]
    accuracy = [np.trace(np.reshape(report.confusion, (5, 5))) / 20 for report in reports]
    rises = [accuracy[i] > max([0, *accuracy[:i]]) for i in range(8)]
    expected = [1e-3 * 0.5 ** rises[:i].count(False) for i in range(8)]
    assert [report.learning_rate for report in reports] == pytest.approx(expected)
    assert False in rises[:7]


def test_cosine_schedule_falls_from_the_trials_rate_to_zero(start):
    run = start(training={"schedule": "cosine", "epochs": 3, "steps_per_epoch": 2}, learning_rate=1e-3)
    rates = [run.train_epoch().learning_rate for _ in range(3)]
    # The last steps of the epochs are numbers 1, 3 and 5 of 0 to 5.
    assert rates == pytest.approx([1e-3 * (1 + np.cos(np.pi * step / 6)) / 2 for step in (1, 3, 5)])
