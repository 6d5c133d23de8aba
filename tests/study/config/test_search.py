"""Settings of the search: how many trials, and how further settings are written."""

from __future__ import annotations

from study.config.search import SearchConfig


def test_the_budget_is_the_grid_in_grid_mode_and_eight_otherwise() -> None:
    assert SearchConfig(mode="grid").budget == 9
    assert SearchConfig(mode="tpe").budget == 8
    assert SearchConfig(mode="qmc", trials_per_arm=3).budget == 3
    assert SearchConfig(mode="grid", trials_per_arm=9).budget == 9


def test_further_settings_may_be_written_with_dots_or_nested() -> None:
    axis = {"low": 0.9, "high": 0.99}
    dotted = SearchConfig.model_validate({"also": {"training.effective_beta": axis}})
    assert dotted == SearchConfig.model_validate({"also": {"training": {"effective_beta": axis}}})
    assert SearchConfig.model_validate_json(dotted.model_dump_json()) == dotted
