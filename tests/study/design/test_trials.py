"""A trial's identity and what is recorded of its epochs."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace

import pytest

from analysis.records.schema import EPOCH_COLUMNS, TRIAL_COLUMNS
from study.design.arms import Arm
from study.design.points import Point
from study.design.trials import EpochReport, TrialSpec

SPEC = TrialSpec("search", Arm(0.1, "sum", ("prcc", "cam16")), 3, 7, 1e-3, 1e-4)


def test_a_trial_id_never_changes_between_versions() -> None:
    # Records and checkpoints of unfinished studies are found by it.
    assert SPEC.trial_id == "efaf88c0f71b570e"


@pytest.mark.parametrize(
    "other",
    [
        {"phase": "confirm"},
        {"arm": Arm(0.5, "sum", ("prcc", "cam16"))},
        {"arm": Arm(0.1, "off", ("prcc", "cam16"))},
        {"arm": Arm(0.1, "sum", ("prcc",))},
        {"arm": Arm(0.1, "sum", ("prcc", "cam16"), "random")},
        {"arm": Arm(0.1, "sum", ("prcc", "cam16"), segmentation=True)},
        {"index": 4},
        {"seed": 8},
        {"learning_rate": 1.0000000000000002e-3},
        {"weight_decay": 0.0},
        {"settings": '{"training.sampling": "balanced"}'},
    ],
    ids=str,
)
def test_everything_that_makes_a_trial_is_part_of_its_id(other: dict[str, object]) -> None:
    assert replace(SPEC, **other).trial_id != SPEC.trial_id  # type: ignore[arg-type]  # one field of each type


def test_a_specification_fills_the_columns_of_the_schema() -> None:
    assert SPEC.columns() == {
        "trial_id": SPEC.trial_id,
        "phase": "search",
        "arm": "WBC_10/sum",
        "fraction": 0.1,
        "fusion": "sum",
        "encoders": "prcc+cam16",
        "control": "",
        "segmentation": "",
        "network": "",
        "index": 3,
        "seed": 7,
        "learning_rate": 1e-3,
        "weight_decay": 1e-4,
        "settings": "{}",
    }
    assert set(SPEC.columns()) < set(TRIAL_COLUMNS)


@pytest.mark.parametrize("settings", ["{}", '{"training.sampling": "balanced"}'])
def test_a_recorded_trial_is_the_trial_that_was_recorded(settings: str) -> None:
    spec = replace(SPEC, settings=settings)
    assert TrialSpec.recorded(spec.columns(), spec.arm) == spec
    assert spec.point == Point(1e-3, 1e-4, settings)


def test_a_record_from_before_further_settings_were_searched_is_still_the_same_trial() -> None:
    row = {**SPEC.columns(), "settings": ""}
    assert TrialSpec.recorded(row, SPEC.arm).trial_id == SPEC.trial_id


def test_a_row_of_an_epoch_has_no_volatile_column(make_report: Callable[..., EpochReport]) -> None:
    slow, fast = make_report(2, seconds=9.0), make_report(2, seconds=1.0)
    assert slow.row() == fast.row()
    assert set(slow.row()) < set(EPOCH_COLUMNS)
    assert slow.row()["epoch"] == 2 and slow.row()["steps"] == 12 and slow.row()["confusion"][:2] == [10, 10]


@pytest.mark.parametrize("loss", [float("nan"), float("inf"), float("-inf")])
@pytest.mark.parametrize("name", ["train_loss", "val_loss"])
def test_a_loss_that_is_not_finite_is_stored_as_missing(
    make_report: Callable[..., EpochReport], name: str, loss: float
) -> None:
    report = replace(make_report(1), **{name: loss})  # type: ignore[arg-type]  # a float field by its name
    assert report.diverged and not make_report(1).diverged
    assert report.row()[name] is None
    json.dumps(report.row(), allow_nan=False)


@pytest.mark.parametrize("loss", [0.5, float("nan")])
def test_a_recorded_report_says_the_same_as_the_report(make_report: Callable[..., EpochReport], loss: float) -> None:
    report = make_report(2, correct=7, loss=loss, seconds=3.0)
    row = {"trial_id": "any", **report.row(), "rung": None, "decision": "continue", "seconds": 3.0, "time": 1.0}
    # As pandas reads it: a missing number is no None.
    read = {key: float("nan") if key.endswith("loss") and value is None else value for key, value in row.items()}
    again = EpochReport.recorded(read, report.train_images, report.parameters)
    assert again.row() == report.row() and again.diverged == report.diverged
    assert (again.seconds, again.train_images, again.parameters) == (3.0, 12, 345)
    assert again.score("val_accuracy") == report.score("val_accuracy") == 0.35


def test_the_score_is_the_metric_that_is_asked_for(make_report: Callable[..., EpochReport]) -> None:
    # Rows are true classes. Recall 0.5 and 1, precision 1 and 0.8: F1 of 2/3 and 8/9.
    report = replace(make_report(1), confusion=(1, 1, 0, 4))
    assert report.score("val_accuracy") == pytest.approx(5 / 6)
    assert report.score("val_macro_f1") == pytest.approx((2 / 3 + 8 / 9) / 2)
