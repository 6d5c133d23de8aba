"""Names of subsets and arms as in the published report."""

from __future__ import annotations

from analysis.records.schema import arm_name, subset_name


def test_names_are_those_of_the_report() -> None:
    assert [subset_name(fraction) for fraction in (0.01, 0.1, 0.5, 1.0)] == ["WBC_1", "WBC_10", "WBC_50", "WBC_100"]
    assert subset_name(0.125) == "WBC_12.5"
    # 0.07 * 100 is 7.000000000000001 in binary.
    assert subset_name(0.07) == "WBC_7"
    assert arm_name(0.1, "sum") == "WBC_10/sum"
    assert arm_name(0.1, "sum", "random") == "WBC_10/sum-random"
    assert arm_name(0.1, "sum", encoders=("prcc",)) == "WBC_10/sum(prcc)"
    assert arm_name(0.1, "gated", "shuffled", ("prcc", "cam16")) == "WBC_10/gated(prcc+cam16)-shuffled"
