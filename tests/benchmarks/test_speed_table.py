"""Goals are judged as they are meant, and the JSON has the promised shape."""

from __future__ import annotations

import io
import json
import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from rich.console import Console

from tests.benchmarks.repetition import ratios
from tests.benchmarks.speed import PROGRAMS, QUICK
from tests.benchmarks.speed_table import (
    GOALS,
    Figure,
    dump_figures,
    figure_of,
    load_figures,
    markdown,
    median_interval,
    print_table,
    read_json,
    write_json,
)
from tests.benchmarks.utilisation import utilisation


@pytest.mark.parametrize(
    ("id_", "value", "reached"),
    [
        ("step", 1.03, True),
        ("step", 1.031, False),
        ("input", 2.5, True),
        ("input", 2.49, False),
        ("study_peer", 3.2, True),
        ("memory", 501, False),
        ("makespan", None, None),
    ],
)
def test_a_goal_is_reached_at_its_limit_and_not_beyond(id_: str, value: float | None, reached: bool | None) -> None:
    assert Figure(id_, value).reached is reached


def test_a_second_condition_counts() -> None:
    figure = figure_of("overhead", [0.1, 0.12])
    assert figure.reached is True
    assert replace(figure, also=False).reached is False


def test_the_json_is_a_list_of_the_promised_fields(tmp_path: Path) -> None:
    figures = [figure_of("step", [1.0, 1.02, 1.05], note="n"), Figure("study_real", None, note="no real cells")]
    write_json(tmp_path / "bench.json", figures, "a machine")
    first, second = json.loads((tmp_path / "bench.json").read_text())
    assert list(first)[:5] == list(second)[:5] == ["id", "measure", "figure", "goal", "reached"]
    assert (first["id"], first["figure"], first["goal"], first["reached"]) == ("step", 1.02, "<= 1.03", True)
    assert (second["figure"], second["reached"]) == (None, None)


def test_the_json_holds_all_that_the_table_shows(tmp_path: Path) -> None:
    figures = [
        figure_of("step", [1.0, 1.02, 1.05], note="n"),
        figure_of("fusion", [1.0, 1.02, 1.05, 1.1, 1.2, 1.3]),
        figure_of("overhead", [0.1, 0.12], also=False),
        figure_of("driver", [1.5, 1.6], also=False),
        Figure("study_real", None, note="no real cells"),
    ]
    write_json(tmp_path / "bench.json", figures, "a machine")
    assert read_json(tmp_path / "bench.json") == (figures, "a machine")


def test_the_median_of_many_repetitions_comes_with_its_interval() -> None:
    assert median_interval([1.0, 2.0, 3.0, 4.0, 5.0]) == (None, None)
    assert median_interval([6.0, 1.0, 2.0, 3.0, 4.0, 5.0]) == (1.0, 6.0)
    draws = np.random.default_rng(0).normal(size=(2000, 40))
    held = [low <= 0 <= high for low, high in map(median_interval, draws.tolist())]  # type: ignore[misc]  # never None
    assert 0.94 <= np.mean(held) <= 0.985
    assert "| 3.50 | 1.000 to 6.00 | 2.25 to 4.75 (6) |" in markdown(
        [figure_of("step", [6.0, 1.0, 2.0, 3.0, 4.0, 5.0])], "a"
    )


def test_the_table_shows_figures_with_spread_beside_goals_and_says_what_is_missing() -> None:
    figures = [
        figure_of("step", [1.0, 1.01, 1.02, 1.04, 9.0], note="40 steps"),
        figure_of("overhead", [0.2, 0.3, 0.4], also=False),
        Figure("study_real", None, note="needs the real cells"),
    ]
    console = Console(file=io.StringIO(), width=160, highlight=False)
    print_table(figures, "a machine", console)
    printed = console.file.getvalue()  # type: ignore[attr-defined]  # a StringIO
    lines = {line.split()[0]: line for line in printed.splitlines() if line.split()}
    told = {line.partition(":")[0]: line for line in printed.splitlines()}
    assert "1.020" in lines["step"] and "1.010 to 1.040 (5)" in lines["step"]
    assert "<= 1.03" in lines["step"] and "yes" in lines["step"]
    assert "0.300 s" in lines["overhead"] and " no" in lines["overhead"]
    assert "not measured" in lines["study_real"]
    assert told["study_real"].endswith("64 px. needs the real cells")
    assert told["step"].startswith("step: training step of a trial") and told["step"].endswith("40 steps")
    assert "a machine" in printed


def test_readme_gets_the_same_table() -> None:
    figures = [figure_of("overhead", [0.1, 0.1, 0.12], note="warm"), Figure("study_real", None)]
    written = markdown(figures, "a machine")
    assert written.startswith("On a machine:\n\n|") and written.endswith("|\n\n- *overhead*: warm.\n")
    header, _, *rows = [line for line in written.splitlines() if line.startswith("|")]
    assert len({row.count("|") for row in (header, *rows)}) == 1
    assert "| 0.100 s | - | 0.100 to 0.110 (3) | <= 0.15 s, and" in rows[0] and rows[0].endswith("| yes |")
    assert "| not measured | - | - |" in rows[1] and rows[1].endswith("| - |")


def test_figures_pass_between_processes_unchanged() -> None:
    figures = [figure_of("step", [1.0, 1.5]), Figure("memory", None, note="why")]
    assert load_figures(dump_figures(figures)) == figures


def test_every_goal_is_measured_by_one_program() -> None:
    measured = [id_ for ids in PROGRAMS for id_ in ids]
    assert sorted(measured) == sorted(GOALS)
    assert set(QUICK) <= set(GOALS)


def test_pairs_are_measured_back_to_back_in_changing_order_after_a_first_one() -> None:
    asked = []

    def ask(name: str, value: float) -> float:
        asked.append(name)
        return value

    assert list(ratios(lambda: ask("a", 6.0), lambda: ask("b", 3.0), 2)) == [2.0, 2.0]
    assert "".join(asked) == "baabba"


def test_utilisation_counts_from_when_every_slot_has_its_process() -> None:
    # Two slots. The second's process is there after 6 s, when the first has its second trial already; it has no third.
    used = utilisation([0.0, 5.5, 6.0, 11.0, 12.0], [1, 1, 2, 1, 2], seconds=5.0, slots=2)
    assert used.ramp_up == 6.0
    assert used.share == pytest.approx((4.5 + 5 + 5 + 5) / (2 * 11))
    assert used.while_trials_were_left == pytest.approx((4.5 + 5 + 1) / (2 * 6))
    # The last process begins with the last trial: nothing was left from then on.
    assert math.isnan(utilisation([0.0, 1.0], [1, 2], seconds=5.0, slots=2).while_trials_were_left)
