"""A study with networks of torchvision as arms: trained, confirmed, replayed, and used on new images."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

import numpy as np
import pytest
import torch
from typer.testing import CliRunner

from analysis import load_study
from models.torchvision_classifiers import TorchvisionClassifier
from study.commands.main import app
from study.config.files import load_config
from study.errors import UsageError
from study.inference.image_files import find_images
from study.inference.prediction import predict
from study.pipeline.run import run_study
from study.storage.run_directory import RunDirectory
from study.training.replay import replay
from tests.study.ray_here import play_ray
from tests.study.tiny import command, write_tiny

pytestmark = pytest.mark.slow
NETWORK, GIVEN = "shufflenet_v2_x0_5", "mobilenet_v3_small"


@pytest.fixture(scope="module")
def named(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The run directory of a tiny study with two networks, one of which starts from a file that is gone at the end."""
    folder = tmp_path_factory.mktemp("named")
    weights = folder / "weights.pth"
    torch.save(TorchvisionClassifier(GIVEN, 1000).network.state_dict(), weights)
    arms = {"fractions": [1.0], "fusion": ["off"], "networks": {NETWORK: None, GIVEN: str(weights)}}
    search = {"grid_learning_rate": [0.001]}
    file = write_tiny(folder, arms=arms, controls=["random"], search=search, training={"epochs": 2})
    shown = subprocess.run(command("run", file, "--dry-run"), capture_output=True, text=True, check=False, cwd=folder)
    assert f"{NETWORK}: 346,917 parameters, random initial weights" in shown.stdout, shown.stderr
    with pytest.MonkeyPatch.context() as monkeypatch:
        play_ray(monkeypatch, folder)
        run_study(load_config(str(file)), folder / "runs")
    weights.unlink()
    return folder / "runs" / "tiny"


def test_tables_and_report_have_the_arms_by_their_names(named: Path) -> None:
    study = load_study(named)
    arms = study.confirmed.groupby("arm")["seed"].count().to_dict()
    assert arms == dict.fromkeys(
        ["WBC_100/off", f"WBC_100/{NETWORK}", f"WBC_100/{GIVEN}", f"WBC_100/{GIVEN}-random"], 2
    )
    counts = study.trials.groupby("network")["parameters"].first().to_dict()
    assert counts[NETWORK] == 346_917 and counts[GIVEN] == 1_522_981
    kinds = study.verdicts()[["arm", "baseline", "kind"]].drop_duplicates()
    assert set(kinds.itertuples(index=False, name=None)) == {
        (f"WBC_100/{NETWORK}", "WBC_100/off", "network"),
        (f"WBC_100/{GIVEN}", "WBC_100/off", "network"),
        (f"WBC_100/{GIVEN}", f"WBC_100/{GIVEN}-random", "weights"),
        (f"WBC_100/{GIVEN}-random", "WBC_100/off", "control"),
    }
    page = (named / "report" / "index.html").read_text()
    assert f"network {NETWORK}" in page and f"given weights: {GIVEN}" in page
    assert study.manifest["networks"][GIVEN]["origin"].endswith("weights.pth")


def test_given_weights_change_what_is_trained(named: Path) -> None:
    study = load_study(named)
    losses = study.epochs.groupby("arm")["train_loss"].first()
    assert losses[f"WBC_100/{GIVEN}"] != losses[f"WBC_100/{GIVEN}-random"]


@pytest.mark.parametrize("network", [NETWORK, GIVEN])
def test_trials_are_the_same_again_without_the_file(named: Path, network: str) -> None:
    trials = load_study(named).trials
    trial_id = trials[trials["arm"] == f"WBC_100/{network}"]["trial_id"].iloc[-1]
    epochs = list(replay(RunDirectory(named), trial_id))
    assert len(epochs) == 2 and all(epoch.identical for epoch in epochs)


def test_new_images_are_classified_and_the_exported_file_agrees(named: Path, calm_images: Path, tmp_path: Path) -> None:
    arm, paths = f"WBC_100/{GIVEN}", find_images([str(calm_images)])
    table = predict(RunDirectory(named), paths, arm=arm, seed=1).table.assign(image=[path.stem for path in paths])
    recorded = load_study(named).predictions
    recorded = recorded[(recorded["arm"] == arm) & (recorded["seed"] == 1)].set_index("image")
    columns = [name for name in table if name.startswith("p_")]
    np.testing.assert_allclose(table[columns], recorded.loc[table["image"], columns], atol=1e-6)
    with pytest.raises(UsageError, match="no feature maps"):
        predict(RunDirectory(named), paths, arm=arm, overlays=tmp_path / "overlays")
    pytest.importorskip("onnxruntime", reason="needs the extra export")
    arguments = ["export", str(named), "--arm", arm, "--check", str(calm_images), "--out", str(tmp_path)]
    result = CliRunner().invoke(app, arguments, catch_exceptions=False)
    assert result.exit_code == 0, result.output
    assert re.search(r"at most \S+ in a probability on 35 images", " ".join(result.output.split()))
    assert f"the classifier is {GIVEN} of torchvision" in (tmp_path / "MODEL_CARD.md").read_text()
