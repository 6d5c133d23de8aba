"""The pair of the published report."""

from __future__ import annotations

from analysis import Study
from analysis.figures.with_without_curves import with_without_curves, with_without_curves_table


def test_means_are_over_the_seeds_of_an_epoch(finished_study: Study) -> None:
    table = with_without_curves_table(finished_study)
    fourth = table[(table["arm"] == "WBC_1/off") & (table["epoch"] == 4)]
    assert fourth["val_accuracy"].tolist() == [23 / 40, 25 / 40]
    assert fourth["mean_val_accuracy"].tolist() == [0.6, 0.6]
    assert fourth["n"].tolist() == [2, 2]


def test_each_legend_entry_shows_once(finished_study: Study) -> None:
    figure = with_without_curves(finished_study)
    shown = [trace.name for trace in figure.data if trace.showlegend]
    assert len(shown) == len(set(shown)) == 6
