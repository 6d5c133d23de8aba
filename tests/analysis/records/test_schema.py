"""Words of the records, and names of subsets and arms as in the published report."""

from __future__ import annotations

import json

import pandas as pd
import pytest

from analysis.records.schema import Decision, Fusion, Phase, PhaseState, TrialStatus, arm_name, subset_name


def test_words_of_records_are_those_of_version_one() -> None:
    # Literals: studies of every version have them on disk.
    assert list(Phase) == ["audit", "pretrain", "features", "search", "confirm", "report"]
    assert list(PhaseState) == ["running", "complete"]
    assert list(TrialStatus) == ["running", "completed", "stopped", "diverged", "failed"]
    assert list(Decision) == ["continue", "stop", "complete", "diverged"]
    assert list(Fusion) == ["off", "sum", "concat", "gated", "finetune"]


@pytest.mark.parametrize("word", [*Phase, *PhaseState, *TrialStatus, *Decision, *Fusion])
def test_a_word_is_written_shown_and_compared_as_plain_text(word: Phase) -> None:
    plain = word.value
    assert type(plain) is str and word == plain and hash(word) == hash(plain)
    assert (str(word), f"{word:>9}", repr([word])) == (plain, f"{plain:>9}", repr([plain]))
    assert json.dumps({word: word}) == json.dumps({plain: plain})
    column = pd.Series([plain, "other"], dtype="string")
    assert (column == word).tolist() == column.isin([word]).tolist() == [True, False]


def test_names_are_those_of_the_report() -> None:
    assert [subset_name(fraction) for fraction in (0.01, 0.1, 0.5, 1.0)] == ["WBC_1", "WBC_10", "WBC_50", "WBC_100"]
    assert subset_name(0.125) == "WBC_12.5"
    # 0.07 * 100 is 7.000000000000001 in binary.
    assert subset_name(0.07) == "WBC_7"
    assert arm_name(0.1, "sum") == "WBC_10/sum"
    assert arm_name(0.1, "sum", "random") == "WBC_10/sum-random"
    assert arm_name(0.1, "sum", encoders=("prcc",)) == "WBC_10/sum(prcc)"
    assert arm_name(0.1, "gated", "shuffled", ("prcc", "cam16")) == "WBC_10/gated(prcc+cam16)-shuffled"
