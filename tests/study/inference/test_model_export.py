"""Export of a study's models."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from typer.testing import CliRunner

from analysis import load_study
from study.commands.main import app
from study.inference.image_files import find_images
from study.inference.model_export import own_images
from study.inference.prediction import predict
from study.storage.run_directory import RunDirectory
from tests.analysis.conftest import RunDirectory as WrittenRun
from tests.analysis.conftest import fill

pytestmark = pytest.mark.slow
onnxruntime = pytest.importorskip("onnxruntime", reason="needs the extra export")


def test_the_file_answers_as_predict_does_and_has_its_card_beside_it(
    calm: Path, calm_images: Path, tmp_path: Path
) -> None:
    arguments = ["export", str(calm), "--arm", "WBC_100/sum", "--out", str(tmp_path), "--check", str(calm_images)]
    result = CliRunner().invoke(app, arguments, catch_exceptions=False)
    assert result.exit_code == 0, result.output
    # 20 test images and 15 drawn ones.
    assert "on 35 images" in " ".join(result.output.split())
    paths = find_images([str(calm_images)])
    table = predict(RunDirectory(calm), paths, arm="WBC_100/sum").table
    session = onnxruntime.InferenceSession(tmp_path / "model.onnx")
    for path, row in zip(paths, table.to_dict("records"), strict=True):
        probabilities, calibrated = session.run(None, {"image": np.asarray(Image.open(path))})
        for position, name in enumerate(load_study(calm).classes):
            assert probabilities[position] == pytest.approx(row[f"p_{name.lower()}"], abs=1e-4)
            assert calibrated[position] == pytest.approx(row[f"calibrated_{name.lower()}"], abs=1e-3)
    card = (tmp_path / "MODEL_CARD.md").read_text()
    assert "Not for diagnosis" in card and "WBC_100/sum" in card


def test_it_is_compared_on_the_studys_own_validation_images_where_they_still_are(tmp_path: Path) -> None:
    written = fill(WrittenRun(tmp_path / "run"))
    written.config["data"]["root"] = str(tmp_path / "data")
    study = load_study(written.save())
    assert own_images(study) == []
    images = study.images
    for path in images["path"]:
        file = tmp_path / "data" / "wbc" / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.touch()
    gone, outside = images[images["split"] == "val"]["path"].iloc[-2:]  # of the largest class
    (tmp_path / "data" / "wbc" / gone).unlink()
    (tmp_path / "data" / "wbc" / outside).unlink()
    (tmp_path / "data" / "wbc" / outside).symlink_to(__file__)
    found = [path.relative_to(tmp_path / "data" / "wbc").as_posix() for path in own_images(study)]
    kept = images[(images["split"] == "val") & images["path"].isin(found)]
    assert len(found) == len(kept) and gone not in found and outside not in found
    assert set(kept["label"].value_counts()) <= set(range(1, 9)) and set(kept["label"]) == set(range(5))
