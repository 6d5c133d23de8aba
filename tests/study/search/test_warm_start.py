"""A search that begins with the winners of an earlier one."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from analysis import load_study
from study.config.files import load_config
from study.config.search import SearchConfig
from study.design.points import Point, read_settings
from study.errors import UsageError
from study.pipeline.run import run_study
from study.search.warm_start import earlier_winners, first_points
from tests.study.tiny import write_tiny


def test_the_winners_of_the_same_arms_are_found(calm: Path) -> None:
    winners = load_study(calm).winners().set_index("arm")
    assert len(winners) == 4
    found = earlier_winners(calm, ["WBC_10/sum", "WBC_50/off"])
    assert found == {"WBC_10/sum": Point(winners.loc["WBC_10/sum", "learning_rate"], 0.0001)}
    # What the earlier study did not search was the same for all its trials.
    found = earlier_winners(calm, ["WBC_10/sum"], ["training.sampling", "training.loss_weights"])
    values = {"training.loss_weights": "none", "training.sampling": "natural"}
    assert read_settings(found["WBC_10/sum"].settings) == values


def test_an_earlier_study_that_cannot_help_is_refused(calm: Path, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"search\.warm_start: .*nowhere"):
        earlier_winners(tmp_path / "nowhere", ["WBC_10/off"])
    with pytest.raises(UsageError, match=r"winners of the arms WBC_10/off.* expected one at least of WBC_3/off"):
        earlier_winners(calm, ["WBC_3/off"])
    with pytest.raises(ValueError, match=r"search\.warm_start is .*set search\.mode to tpe, random or qmc"):
        SearchConfig(mode="grid", warm_start=tmp_path)


def test_what_was_kept_holds_whatever_became_of_the_earlier_study(calm: Path, tmp_path: Path) -> None:
    said: list[str] = []
    points = first_points(calm, ["WBC_10/off", "WBC_50/off"], None, said.append)
    assert "it has none of WBC_50/off" in said[0]
    kept = json.loads(json.dumps({arm: list(point) for arm, point in points.items()}))
    assert first_points(tmp_path / "removed", ["WBC_10/off", "WBC_50/off"], kept, pytest.fail) == points


@pytest.mark.slow
def test_a_study_begins_with_the_winners_of_another(calm: Path, tmp_path: Path, ray_here: None) -> None:
    search = {"mode": "random", "trials_per_arm": 2, "warm_start": str(calm)}
    settings = write_tiny(tmp_path, name="later", arms={"fractions": [1.0], "fusion": ["off"]}, search=search)
    run_study(load_config(str(settings), ["confirm.seeds=0"]), tmp_path / "runs")
    winner = load_study(calm).winners().set_index("arm").loc["WBC_100/off", ["learning_rate", "weight_decay"]]
    folder = tmp_path / "runs" / "later"
    trials = load_study(folder).trials.sort_values("index")
    assert len(trials) == 2
    assert trials.iloc[0][["learning_rate", "weight_decay"]].tolist() == winner.tolist()
    assert json.loads((folder / "manifest.json").read_text())["warm_start"] == {"WBC_100/off": [*winner.tolist(), "{}"]}
