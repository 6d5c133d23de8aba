"""Opening studies: finished, running, empty, broken."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from analysis.arms import compare_means
from analysis.records.errors import StudyError
from analysis.records.study import Study, load_study

Make = Callable[..., Any]


def test_no_study_names_what_is_missing_and_those_beside(finished: Path) -> None:
    with pytest.raises(StudyError, match=r"no such folder\. Studies beside it: tiny\."):
        load_study(finished.parent / "other")
    with pytest.raises(StudyError, match=r"study\.yaml is missing\. Studies inside it: tiny\."):
        load_study(finished.parent)
    assert load_study(str(finished)).name == "tiny"


def test_newer_records_are_refused(finished: Path) -> None:
    (finished / "manifest.json").write_text(json.dumps({"schema_version": 2}))
    with pytest.raises(StudyError, match="schema_version is 2, this program reads up to 1"):
        load_study(finished)


def test_broken_files_and_unknown_metrics_are_named(finished: Path) -> None:
    (finished / "study.yaml").write_text("search: {metric: val_luck}")
    with pytest.raises(StudyError, match=r"search\.metric is 'val_luck'"):
        load_study(finished).winners()
    (finished / "study.yaml").write_text("a: [")
    with pytest.raises(StudyError, match=r"study\.yaml: cannot be read"):
        load_study(finished)


def test_trials_have_their_newest_row_and_best_epoch(finished: Path) -> None:
    trials = load_study(finished).trials.set_index("trial_id")
    assert len(trials) == 20
    assert trials["status"].value_counts().to_dict() == {"completed": 16, "stopped": 4}
    first = trials.loc["0.01-off-0"]
    # 22 of 40 correct in epochs 3 to 5; the loss falls, so the tie goes to the fifth.
    assert (first["best_epoch"], first["val_accuracy"], first["val_loss"]) == (5, 0.55, 1.6)
    assert (first["epochs"], first["gradient_steps"], first["seconds"]) == (6, 60, 3.0)
    assert first["subset"] == "WBC_1"
    assert trials.loc["1.0-sum-1", "val_accuracy"] == 35 / 40


def test_ties_in_loss_go_to_the_earlier_epoch_and_diverged_epochs_never_win(run_directory: Make) -> None:
    directory = run_directory()
    directory.trial("a", correct=[20, 22, 22, 30], losses=[1.0, 0.5, 0.5, None], status="diverged")
    trial = load_study(directory.save()).trials.iloc[0]
    assert (trial["best_epoch"], trial["val_accuracy"]) == (2, 0.55)


def test_winners_are_full_length_and_ties_go_to_loss_then_index(run_directory: Make) -> None:
    directory = run_directory()
    directory.trial("stopped", index=0, correct=[39], status="stopped")
    directory.trial("late", index=3, correct=[30, 30], losses=[1.0, 0.9])
    directory.trial("same", index=2, correct=[30, 30], losses=[1.0, 0.9])
    directory.trial("high", index=1, correct=[30, 30], losses=[1.0, 0.95])
    winners = load_study(directory.save()).winners()
    assert winners["trial_id"].tolist() == ["same"]


def test_selection_follows_the_configured_metric(run_directory: Make) -> None:
    directory = run_directory()
    directory.config["search"]["metric"] = "val_macro_f1"
    # 34 correct: neutrophils and lymphocytes only. The hand-made matrix has fewer correct but every class.
    directory.trial("accurate", index=0, correct=[34])
    directory.trial("balanced", index=1, correct=[33])
    even = np.diag([1, 3, 8, 2, 18])
    even[4, 2], even[2, 4] = 6, 2
    directory.rows["epochs"][-1]["confusion"] = even.ravel().tolist()
    assert load_study(directory.save()).winners()["trial_id"].tolist() == ["balanced"]


def test_an_epoch_reported_twice_counts_once(run_directory: Make) -> None:
    directory = run_directory()
    directory.trial("a", correct=[20, 21])
    directory.add("epochs", **{k: v for k, v in directory.rows["epochs"][-1].items() if k != "sequence"})
    study = load_study(directory.save())
    assert len(study.epochs) == 2
    assert study.trials.loc[0, "seconds"] == 1.0


def test_confirmed_has_validation_and_test_metrics(finished: Path) -> None:
    confirmed = load_study(finished).confirmed
    assert confirmed[["arm", "seed"]].drop_duplicates().shape[0] == len(confirmed) == 8
    # As in `trials`, so that scripts can put the two together.
    assert set(confirmed["phase"]) == {"confirm"} and set(confirmed["status"]) == {"completed"}
    row = confirmed[(confirmed["arm"] == "WBC_100/sum") & (confirmed["seed"] == 102)].iloc[0]
    assert (row["val_accuracy"], row["test_accuracy"]) == (36 / 40, 35 / 40)
    assert row["test_recall_lymphocyte"] == 1.0
    assert row["test_recall_basophil"] == 0.0
    assert (row["train_images"], row["parameters"], row["best_epoch"]) == (1000, 719013, 4)


def test_predictions_are_joined_with_trial_and_path(finished: Path) -> None:
    predictions = load_study(finished).predictions
    assert len(predictions) == 8 * 80
    row = predictions[(predictions["image"] == "test000") & (predictions["seed"] == 101)].iloc[0]
    assert (row["path"], row["arm"], row["predicted"], row["p_neutrophil"]) == (
        "test/Basophil/000000",
        "WBC_1/off",
        4,
        0.6,
    )


def test_a_picture_under_two_paths_counts_twice_and_a_repeated_report_once(run_directory: Make) -> None:
    directory = run_directory()
    directory.trial("a", phase="confirm", correct=[20])
    for path in ("val/a", "val/b"):
        directory.images.append({"image": "same", "path": path, "split": "val", "label": 1, "group": ""})
    for _ in range(4):  # the trial was interrupted after writing and wrote again
        directory.add(
            "predictions", trial_id="a", epoch=1, split="val", image="same", label=1, probabilities=[0, 1, 0, 0, 0]
        )
    assert load_study(directory.save()).predictions["path"].tolist() == ["val/a", "val/b"]


def test_jsonl_and_parquet_give_the_same_tables(run_directory: Make, fill_directory: Make, finished: Path) -> None:
    other = load_study(fill_directory(run_directory("other")).save(parquet=True))
    study = load_study(finished)
    for name in ("trials", "epochs", "confirmed", "predictions"):
        assert getattr(study, name).equals(getattr(other, name)), name


def test_a_study_that_has_only_begun(run_directory: Make) -> None:
    directory = run_directory()
    directory.manifest = {}
    study = load_study(directory.save())
    assert isinstance(study, Study)
    assert study.classes == ("Basophil", "Eosinophil", "Lymphocyte", "Monocyte", "Neutrophil")
    for frame in (study.trials, study.epochs, study.confirmed, study.predictions, study.images, study.curves):
        assert len(frame) == 0
    assert len(study.winners()) == len(compare_means(study, "val_accuracy")) == 0


def test_running_trials_know_how_far_they_are_and_missing_arms_are_missing(run_directory: Make) -> None:
    directory = run_directory()
    directory.trial("a", correct=[20, 21], status="running")
    directory.trial("b", fraction=0.1, fusion="sum", correct=[20])
    directory.trial("c", fraction=0.1, fusion="sum", index=1, status="running")
    study = load_study(directory.save())
    assert study.trials["epochs"].tolist() == [2, 1, 0]
    table = compare_means(study, "val_accuracy")
    assert table["without_mean"].isna().all()
    assert table["with_n"].tolist() == [0, 1]
    assert table["difference"].isna().all()


def test_records_of_other_classes_are_an_error(finished: Path) -> None:
    (finished / "manifest.json").write_text(json.dumps({"classes": ["a", "b"]}))
    with pytest.raises(StudyError, match="lists of 25 values, expected 4"):
        _ = load_study(finished).trials


def test_the_package_opens_without_heavy_imports() -> None:
    code = "import sys, analysis; print(sorted({'pandas', 'plotly', 'torch', 'ray', 'sklearn'} & set(sys.modules)))"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "[]\n"


def test_reading_a_study_imports_neither_torch_nor_ray(finished: Path) -> None:
    code = (
        "import sys; from analysis import load_study, write_report; write_report(load_study(sys.argv[1]));"
        "print(sorted({'torch', 'ray'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code, str(finished)], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"


def test_confirmations_of_an_earlier_winner_do_not_count(run_directory) -> None:
    directory = run_directory()
    directory.trial("first", 0.01, "off", index=0, correct=[20], learning_rate=1e-3)
    directory.trial("better", 0.01, "off", index=1, correct=[30], learning_rate=3e-3)
    directory.trial("old", 0.01, "off", "confirm", index=0, seed=1, correct=[22], learning_rate=1e-3)
    directory.trial("new", 0.01, "off", "confirm", index=0, seed=1, correct=[28], learning_rate=3e-3)
    assert load_study(directory.save()).confirmed["trial_id"].tolist() == ["new"]


def test_what_is_remembered_is_made_once_for_each_study_and_an_error_is_not_remembered(finished: Path) -> None:
    asked: list[str] = []

    def count(study: Study) -> int:
        asked.append(study.name)
        if len(asked) == 1:
            raise StudyError("not yet")
        return len(study.trials)

    study, other = load_study(finished), load_study(finished)
    with pytest.raises(StudyError, match="not yet"):
        study.remember(count)
    assert [study.remember(count), study.remember(count), other.remember(count)] == [20, 20, 20]
    assert len(asked) == 3


def test_records_from_before_further_settings_were_searched_are_read(run_directory: Make) -> None:
    directory = run_directory()
    directory.trial("a", correct=[20])
    directory.trial("b", phase="confirm", correct=[20])
    study = load_study(directory.save())
    assert study.searched_settings == []
    assert study.confirmed["settings"].tolist() == ["{}"]
