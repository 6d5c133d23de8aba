"""Textbook intervals and tests equal those of scipy and statsmodels."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats
from statsmodels.stats.multitest import multipletests

from analysis.statistics.standard_tests import adjust_holm, exact_mcnemar, wilson_interval


def test_wilson_interval_equals_scipy_and_knows_empty_classes() -> None:
    low, high = wilson_interval([0, 9, 20, 0], [9, 9, 31, 0])
    for position, (right, total) in enumerate([(0, 9), (9, 9), (20, 31)]):
        expected = stats.binomtest(right, total).proportion_ci(method="wilson")
        assert (low[position], high[position]) == pytest.approx((expected.low, expected.high), abs=1e-12)
    assert np.isnan([low[3], high[3]]).all()


def test_exact_mcnemar_is_the_binomial_test_of_the_discordant_images() -> None:
    for first, second in ((3, 12), (12, 3), (5, 5), (0, 6)):
        assert exact_mcnemar(first, second) == pytest.approx(stats.binomtest(first, first + second).pvalue)
    assert exact_mcnemar(0, 0) == 1.0


def test_holm_equals_statsmodels_and_leaves_missing_tests_out() -> None:
    rng = np.random.default_rng(0)
    for number in (1, 2, 4, 7):
        p = rng.random(number) ** 3
        np.testing.assert_allclose(adjust_holm(p), multipletests(p, method="holm")[1])
    np.testing.assert_allclose(adjust_holm([0.01, np.nan, 0.02]), [0.02, np.nan, 0.02])
    assert np.isnan(adjust_holm([np.nan])).all()
