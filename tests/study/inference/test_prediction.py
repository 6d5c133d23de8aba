"""New images are prepared exactly as validation images were, and nothing that cannot be read stops the rest."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from analysis import load_study
from analysis.statistics.calibration import ensemble_temperature, temper
from models.errors import WeightsError
from study.errors import UsageError
from study.inference.confirmed_models import choose_arm
from study.inference.image_files import find_images
from study.inference.prediction import predict
from study.storage.run_directory import RunDirectory

pytestmark = pytest.mark.slow

P = [f"p_{name}" for name in ("basophil", "eosinophil", "lymphocyte", "monocyte", "neutrophil")]


def recorded(calm: Path, arm: str) -> pd.DataFrame:
    """Recorded test probabilities of an arm: seed and image (content hash) -> classes."""
    study = load_study(calm)
    rows = study.predictions[(study.predictions["arm"] == arm) & (study.predictions["split"] == "test")]
    return rows.set_index(["seed", "image"])[P].sort_index()


@pytest.mark.parametrize("arm", ["WBC_10/off", "WBC_100/sum"])
def test_probabilities_of_a_seed_are_those_that_were_recorded(calm: Path, calm_images: Path, arm: str) -> None:
    expected = recorded(calm, arm)
    paths = find_images([str(calm_images)])
    assert len(paths) == 20
    for seed in expected.index.unique("seed"):
        found = predict(RunDirectory(calm), paths, arm=arm, seed=int(seed))
        assert (found.arm, found.seeds) == (arm, (seed,))
        table = found.table.assign(image=[path.stem for path in paths]).set_index("image").sort_index()
        np.testing.assert_allclose(table[P], expected.loc[seed], atol=1e-6)
        assert table["class"].tolist() == [
            load_study(calm).classes[position] for position in expected.loc[seed].to_numpy().argmax(axis=1)
        ]


def test_without_a_seed_all_of_the_arm_are_averaged_and_calibrated_on_validation(calm: Path, calm_images: Path) -> None:
    study = load_study(calm)
    paths = find_images([str(calm_images)])
    found = predict(RunDirectory(calm), paths)
    means = study.confirmed.groupby("arm")[study.metric].mean()
    assert found.arm == choose_arm(study, None) and means[found.arm] == means.max()
    expected = recorded(calm, found.arm).groupby("image").mean()
    table = found.table.assign(image=[path.stem for path in paths]).set_index("image").sort_index()
    np.testing.assert_allclose(table[P], expected, atol=1e-6)
    runs = study.confirmed[study.confirmed["arm"] == found.arm]["trial_id"].tolist()
    assert len(runs) == 2 and found.temperature == ensemble_temperature(study, runs)
    calibrated = table[[name.replace("p_", "calibrated_") for name in P]]
    np.testing.assert_allclose(calibrated, temper(table[P], found.temperature))
    assert np.array_equal(table["confidence"], calibrated.max(axis=1))


def test_files_of_any_size_and_kind_are_classified_and_others_listed(calm: Path, tmp_path: Path) -> None:
    noise = np.random.default_rng(0).integers(0, 256, (300, 90, 3), dtype=np.uint8)
    for name, (height, width) in {"wide.png": (20, 90), "tall.bmp": (300, 30), "tiny.tif": (3, 4)}.items():
        Image.fromarray(noise[:height, :width]).save(tmp_path / name)
    Image.fromarray(noise[:50, :50]).convert("L").save(tmp_path / "grey.png")
    (tmp_path / "broken.png").write_bytes((tmp_path / "grey.png").read_bytes()[:60])
    (tmp_path / "text.jpg").write_text("no image")
    paths = find_images([str(tmp_path)])
    told: list[int] = []
    table = predict(RunDirectory(calm), paths, tell=told.append, overlays=tmp_path / "overlays").table
    assert table["file"].tolist() == [str(path) for path in paths]
    failed = table[table["error"] != ""]
    assert [Path(file).name for file in failed["file"]] == ["broken.png", "text.jpg"]
    assert failed["class"].tolist() == ["", ""] and failed[P].isna().all(axis=None)
    np.testing.assert_allclose(table.loc[table["error"] == "", P].sum(axis=1), 1, atol=1e-6)
    assert told[-1] == 6
    # A picture for each that was read: the image, and beside it the same under its map.
    pictures = sorted((tmp_path / "overlays").iterdir())
    assert [path.name for path in pictures] == ["00002-grey.png", "00003-tall.png", "00005-tiny.png", "00006-wide.png"]
    with Image.open(pictures[-1]) as picture:
        assert picture.size == (180, 20)
        assert np.array_equal(np.asarray(picture)[:, :90], noise[:20, :90])


def test_what_does_not_exist_is_named_before_anything_is_loaded(calm: Path, calm_images: Path) -> None:
    directory, paths = RunDirectory(calm), find_images([str(calm_images)])[:1]
    with pytest.raises(UsageError, match=r"WBC_7/off.*WBC_10/off, WBC_10/sum"):
        predict(directory, paths, arm="WBC_7/off")
    with pytest.raises(UsageError, match=r"--seed 99.*seeds 1, 2"):
        predict(directory, paths, arm="WBC_10/off", seed=99)


def test_a_study_whose_weights_were_removed_says_what_is_missing(calm: Path, calm_images: Path, tmp_path: Path) -> None:
    shutil.copytree(calm, tmp_path / "tiny", ignore=shutil.ignore_patterns("checkpoints"))
    with pytest.raises(WeightsError, match=r"weights\.safetensors is missing.*clean"):
        predict(RunDirectory(tmp_path / "tiny"), find_images([str(calm_images)])[:1])
