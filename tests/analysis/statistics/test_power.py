"""Power and detectable differences against statsmodels and against simulated tests."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from scipy import stats
from statsmodels.stats.power import TTestPower

from analysis import load_study
from analysis.statistics.power import detectable, detectable_difference, detection_power, planned_error


def test_power_of_seeds_alone_is_that_of_the_paired_t_test() -> None:
    for points, sd, seeds, tests in ((5, 1.5, 5, 4), (5, 3, 5, 4), (2, 2, 10, 1)):
        # statsmodels counts both directions; the wrong one is negligible at these sizes.
        expected = TTestPower().power(effect_size=points / sd, nobs=seeds, alpha=0.05 / tests, alternative="two-sided")
        assert detection_power(points, sd / np.sqrt(seeds), seeds - 1, tests) == pytest.approx(expected, abs=1e-3)


def test_power_is_the_share_of_simulated_tests_that_find_the_difference() -> None:
    rng = np.random.default_rng(0)
    samples = rng.normal(1.0, 1.0, (20_000, 6))
    found = stats.ttest_1samp(samples, 0, axis=1)
    share = ((found.pvalue < 0.05) & (found.statistic > 0)).mean()
    assert detection_power(1.0, 1 / np.sqrt(6), 5) == pytest.approx(share, abs=0.01)


def test_a_detectable_difference_is_detected_with_the_power_that_was_asked_for() -> None:
    for freedom, tests, power in ((4, 4, 0.8), (40, 1, 0.9), (np.inf, 2, 0.8)):
        difference = detectable_difference(0.01, freedom, tests, power)
        assert detection_power(difference, 0.01, freedom, tests) == pytest.approx(power, abs=1e-4)
    # Normal limit: z(0.975) + z(0.8) standard errors.
    assert detectable_difference(0.01, np.inf) == pytest.approx(0.01 * (1.959964 + 0.841621), rel=1e-3)


def test_certain_differences_have_power_one() -> None:
    assert detection_power(0.5, 0.001, 4, 4) == pytest.approx(1.0)
    assert detection_power(0.5, 1e-5, 300.0) == pytest.approx(1.0)


def test_more_seeds_divide_all_but_the_images_part() -> None:
    error, freedom = planned_error(4.0, 1.0, 2.0, 5, 10)
    assert error == pytest.approx(np.sqrt((4.0 + 2.0) / 2 + 1.0))
    assert freedom == pytest.approx(4.0**2 * 9 / 3.0**2)
    # Two groups of patients: their degrees of freedom count as well.
    _, few = planned_error(4.0, 1.0, 2.0, 5, 10, 1.0)
    assert few == pytest.approx(4.0**2 / (3.0**2 / 9 + 1.0**2 / 1))
    endless, _ = planned_error(4.0, 1.0, 2.0, 5, 10**9)
    assert endless == pytest.approx(1.0)


@pytest.mark.filterwarnings("error")
def test_nothing_that_varies_is_certainty_not_a_warning() -> None:
    error, freedom = planned_error(0.0, 0.0, 0.0, 5, [5, 10])
    assert error.tolist() == [0.0, 0.0]
    assert freedom.tolist() == [np.inf, np.inf]
    assert detection_power([0.05, 0.0], 0.0, np.inf, 4) == pytest.approx([1.0, 0.05 / 4 / 2])
    assert detectable_difference(error, freedom, 4).tolist() == [0.0, 0.0]
    # Images vary, seeds do not: more of them change nothing.
    assert planned_error(0.0, 4.0, 0.0, 5, 10, 50.0) == pytest.approx((2.0, 50.0))


def test_every_comparison_says_what_it_could_have_found(finished: Path) -> None:
    verdicts = load_study(finished).verdicts()
    frame = detectable(verdicts, seeds=(2, 5, 50))
    assert len(frame) == len(verdicts)
    assert (frame["detectable"] > 0).all()
    # Satterthwaite's degrees of freedom fall a little where images decide and seeds add to both: nothing that is shown.
    slack = 1e-3
    assert (frame["power_2"] <= frame["power_5"] + slack).all()
    assert (frame["power_5"] <= frame["power_50"] + slack).all()
