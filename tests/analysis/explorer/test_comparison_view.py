"""The comparison shows the numbers of the tables."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd

from analysis import Study, load_study, write_report
from analysis.arms import compare_means
from analysis.explorer.choice import chosen_trials
from analysis.explorer.comparison_view import comparison_table, comparison_view, show_value
from analysis.explorer.view_state import ViewState


def test_report_explorer_csv_and_study_have_equal_numbers_to_the_last_digit(
    finished_study: Study, report_once: Path, run_directory: Callable[..., Any], fill_directory: Callable[..., Any]
) -> None:
    without_test = load_study(fill_directory(run_directory("no test"), test=False).save())
    for study, report in ((finished_study, report_once), (without_test, write_report(without_test).parent)):
        name, column = ("test_metrics", "test_accuracy") if study is finished_study else ("validation_accuracy", "")
        csv = pd.read_csv(report / "tables" / f"{name}.csv")
        shown = comparison_table(study, "accuracy")
        mine = compare_means(study, "test_accuracy" if column else "val_accuracy")
        assert column or mine.equals(study.accuracy_table())
        page = (report / "index.html").read_text(encoding="utf-8")
        figure = re.search(r'id="data-comparison-dots">(.*?)</script>', page)
        assert figure is not None
        traces = json.loads(figure[1])["data"]
        drawn = [value for trace in traces if str(trace.get("name")).endswith(", mean ± SD") for value in trace["y"]]
        explorer = str(comparison_view(study, ViewState(), chosen_trials(study, ViewState())))
        for arm, row in shown.iterrows():
            prefix = "without" if row["setting"] == "off" else "with"
            if column:
                line = csv.set_index("arm").loc[arm]
                found = line[column], line[f"{column}_sd"]
            else:
                line = csv.set_index("subset").loc[row["subset"]]
                found = line[f"{prefix}_mean"], line[f"{prefix}_sd"]
            expected = mine.loc[row["subset"], [f"{prefix}_mean", f"{prefix}_sd"]].tolist()
            assert [row["mean"], row["sd"]] == expected == list(found)
            assert row["mean"] in drawn
            assert f"{arm}: mean {float(row['mean'])!r}, standard deviation {float(row['sd'])!r}." in explorer
            assert f"{show_value(row['mean'], 'accuracy')} ± {show_value(row['sd'], 'accuracy')}" in page


def test_accuracy_is_percent_and_f1_is_not() -> None:
    assert show_value(0.73456, "accuracy") == "73.46"
    assert show_value(0.73456, "macro_f1") == "0.735"
    assert show_value(float("nan"), "accuracy") == "\N{EN DASH}"
