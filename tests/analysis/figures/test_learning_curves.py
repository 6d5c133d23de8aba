"""Learning curves of the search."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from analysis import Study, load_study
from analysis.figures.learning_curves import learning_curves, learning_curves_table


def test_table_marks_the_winner_of_each_arm(finished_study: Study) -> None:
    table = learning_curves_table(finished_study)
    assert len(table) == 4 * (6 + 6 + 2)
    winners = table[table["winner"]].drop_duplicates("trial_id")
    assert winners["trial_id"].tolist() == ["0.01-off-1", "0.01-sum-1", "1.0-off-1", "1.0-sum-1"]
    assert winners["best_epoch"].tolist() == [3, 3, 3, 3]


def test_many_trials_are_thinned_evenly_and_the_winner_stays(run_directory: Callable[..., Any]) -> None:
    directory = run_directory()
    for index in range(30):
        directory.trial(f"t{index:02}", index=index, correct=[10 + index % 30])
    table = learning_curves_table(load_study(directory.save()), limit=10)
    assert table["trial_id"].tolist() == [f"t{index:02}" for index in range(2, 30, 3)]
    assert table.loc[table["winner"], "trial_id"].tolist() == ["t29"]


def test_each_arm_has_a_panel_and_the_winner_a_star(finished_study: Study) -> None:
    figure = learning_curves(finished_study, "loss")
    stars = [trace for trace in figure.data if trace.marker.symbol == "star" and trace.x[0] is not None]
    assert [list(star.x) for star in stars] == [[3]] * 4
    assert len({star.xaxis for star in stars}) == 4
    texts = [note.text for note in figure.layout.annotations]
    assert texts == [
        "WBC_1, without pretraining",
        "WBC_1, with (sum)",
        "WBC_100, without pretraining",
        "WBC_100, with (sum)",
    ]
