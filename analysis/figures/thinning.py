"""Fewer marks than trials: a page must open within seconds, and a blot of ten thousand points says less than a few."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from analysis.records.schema import Phase
from analysis.records.study import Study


def evenly_by_rank(rows: pd.DataFrame, by: Sequence[str], group: str, limit: int) -> NDArray[np.bool_]:
    """Which rows to keep so that no group has more than ``limit``, evenly over their ranks.

    Args:
        rows: Any table; missing values rank last.
        by: Columns of the rank, the highest first; ties go by position.
        group: Column of the groups.
        limit: Rows that a group keeps at most; its first is always kept.

    Returns:
        bool (N,), in the order of the rows.
    """
    if not len(rows):
        return np.zeros(0, dtype=bool)
    ranked = rows[[group, *by]].reset_index(drop=True)
    ranked = ranked.sort_values(list(by), ascending=False, kind="stable")
    place = ranked.groupby(group).cumcount()
    size = ranked.groupby(group)[group].transform("size")
    # The first of every stretch of size/limit ranks.
    stretch = np.maximum(size / limit, 1)
    kept = (place == 0) | (np.floor(place / stretch) != np.floor((place - 1) / stretch))
    result: NDArray[np.bool_] = kept.sort_index().to_numpy(dtype=bool)
    return result


def most_trials(study: Study) -> int:
    """Number of trials of the search of the arm that has most of them."""
    counts = study.trials.loc[study.trials["phase"] == Phase.SEARCH, "arm"].value_counts()
    return int(counts.max()) if len(counts) else 0
