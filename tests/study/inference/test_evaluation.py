"""Confirmed models on another labelled folder: what counts, what is stored, what is said."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import Image
from typer.testing import CliRunner

from analysis import load_study
from analysis.statistics.evaluations import read_evaluations
from data_utils.config import DataConfig
from data_utils.decoding import content_hash
from data_utils.sources.opening import open_source
from study.commands.main import app
from study.errors import UsageError
from study.inference.evaluation import evaluate
from study.inference.image_files import find_images
from study.inference.prediction import predict
from study.storage.run_directory import RunDirectory

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def other(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Another microscope: generated images of another seed and size; no basophil."""
    folder = tmp_path_factory.mktemp("other") / "clinic"
    config = DataConfig.model_validate(
        {"synthetic": {"seed": 99, "train": 30, "validation": 10, "test": 0, "size": 30}}
    )
    source = open_source(config, "wbc")
    for i, item in enumerate(source.items):
        if item.label > 0:
            path = folder / source.classes[item.label] / f"{i:03}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(source.read(i)).save(path)
    return folder


@pytest.fixture
def study_copy(calm: Path, tmp_path: Path) -> RunDirectory:
    return RunDirectory(shutil.copytree(calm, tmp_path / "runs" / "tiny"))


def test_every_model_is_scored_on_every_image_as_predict_does(study_copy: RunDirectory, other: Path) -> None:
    told: list[tuple[int, int]] = []
    assert evaluate(study_copy, other, tell=lambda *counts: told.append(counts)) == "clinic"
    study = load_study(study_copy.folder)
    (found,) = read_evaluations(study)
    paths = find_images([str(other)])
    assert told[-1] == (len(paths), len(paths)) and found.about["images"] == len(paths)
    assert [name for name, count in found.images_by_class.items() if not count] == ["Basophil"]
    stored = pd.read_parquet(study_copy.folder / "evaluations" / "clinic" / "predictions.parquet")
    assert set(stored["trial_id"]) == set(study.confirmed["trial_id"])
    names = [content_hash(np.asarray(Image.open(path))) for path in paths]
    for run in study.confirmed.to_dict("records")[::3]:
        table = predict(study_copy, paths, arm=run["arm"], seed=run["seed"]).table
        mine = stored[stored["trial_id"] == run["trial_id"]].set_index("image").loc[names]
        np.testing.assert_allclose(np.stack(mine["probabilities"].to_list()), table.filter(regex="^p_"), atol=1e-6)
        assert [study.classes[label] for label in mine["label"]] == [path.parent.name for path in paths]


def test_own_repeated_contradicting_and_unreadable_images_do_not_count(
    study_copy: RunDirectory, other: Path, calm_images: Path, tmp_path: Path
) -> None:
    folder = tmp_path / "mixed"
    shutil.copytree(other, folder)
    first, second, *_ = sorted((folder / "Monocyte").iterdir())
    shutil.copy(first, folder / "Monocyte" / "again.png")
    shutil.copy(second, folder / "Neutrophil" / "contradiction.png")
    own = find_images([str(calm_images)])[0]
    shutil.copy(own, folder / "Neutrophil" / own.name)
    (folder / "Neutrophil" / "broken.png").write_bytes(b"no image")
    count = len(find_images([str(other)]))
    evaluate(study_copy, folder, name="mixed")
    about = json.loads((study_copy.folder / "evaluations" / "mixed" / "evaluation.json").read_text())
    assert about["left_out"] == {
        "also in the study's test images": 1,
        "cannot be read": 1,
        "identical to another": 1,
        "in folders of several classes": 2,
    }
    assert list(about["unreadable"]) == ["Neutrophil/broken.png"]
    images = pd.read_parquet(study_copy.folder / "evaluations" / "mixed" / "images.parquet")
    assert len(images) == about["images"] == count - 1 and images["image"].is_unique
    assert about["versions"]["torch"] and about["data"] == str(folder)


def test_the_command_prints_the_table_and_the_report_has_it(study_copy: RunDirectory, other: Path) -> None:
    arguments = ["evaluate", "tiny", str(other), "--root", str(study_copy.folder.parent), "--name", "a clinic"]
    result = CliRunner().invoke(app, arguments, catch_exceptions=False)
    assert result.exit_code == 0, result.output
    assert "Out of domain: a clinic" in result.output and "No image of Basophil there" in result.output
    page = (study_copy.folder / "report" / "index.html").read_text()
    assert "Out of domain: a clinic" in page
    assert (study_copy.folder / "report" / "tables" / "outside_a_clinic.csv").is_file()


def test_a_study_evaluated_on_its_own_images_has_nothing_to_say(study_copy: RunDirectory, calm_images: Path) -> None:
    with pytest.raises(UsageError, match="20 also in the study's test images"):
        evaluate(study_copy, calm_images)
    assert not (study_copy.folder / "evaluations").exists()
    with pytest.raises(UsageError, match=r"--name '\.\./x'"):
        evaluate(study_copy, calm_images, name="../x")
