"""Thinning out over ranks."""

from __future__ import annotations

import pandas as pd
from hypothesis import given, settings
from hypothesis import strategies as st

from analysis.figures.thinning import evenly_by_rank


@settings(deadline=None)
@given(st.lists(st.tuples(st.sampled_from("ab"), st.floats(0, 1)), max_size=60), st.integers(1, 20))
def test_every_group_keeps_its_best_and_at_most_the_limit(rows: list[tuple[str, float]], limit: int) -> None:
    table = pd.DataFrame(rows, columns=["group", "score"])
    kept = table[evenly_by_rank(table, ["score"], "group", limit)]
    for group, part in table.groupby("group"):
        mine = kept[kept["group"] == group]
        assert len(mine) == min(limit, len(part)) or abs(len(mine) - limit) <= 0
        assert mine["score"].max() == part["score"].max()


def test_ranks_are_kept_evenly() -> None:
    table = pd.DataFrame({"group": "a", "score": range(10)})
    assert table[evenly_by_rank(table, ["score"], "group", 5)]["score"].tolist() == [1, 3, 5, 7, 9]
