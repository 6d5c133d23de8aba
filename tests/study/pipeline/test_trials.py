"""Search and confirmation, in real Ray processes: what is trained, what is kept, and what fails."""

import json
import shutil
import subprocess

import pandas as pd
import pytest
import yaml

from analysis import load_study
from study.config.files import load_config
from study.pipeline.run import run_study
from tests.study.record_content import content, rows_of_arms
from tests.study.tiny import command, write_tiny

pytestmark = pytest.mark.slow


def test_every_arm_gets_exactly_its_budget(calm):
    study = load_study(calm)
    search = study.trials[study.trials["phase"] == "search"]
    assert search.groupby("arm").size().to_dict() == dict.fromkeys(
        ["WBC_10/off", "WBC_10/sum", "WBC_100/off", "WBC_100/sum"], 2
    )
    points = search.groupby("arm")[["learning_rate", "weight_decay"]].apply(
        lambda rows: sorted(rows.to_numpy().tolist())
    )
    assert all(found == [[0.001, 0.0001], [0.003, 0.0001]] for found in points)
    assert set(study.trials["status"]) == {"completed"}
    assert len(study.confirmed) == 4 * 2
    assert set(study.confirmed["seed"]) == {1, 2}
    assert set(search["seed"]) == {0}


def test_every_confirmed_trial_has_predictions_of_every_image_and_keeps_its_weights(calm):
    study = load_study(calm)
    assert study.predictions.groupby("trial_id").size().tolist() == [40] * 8
    kept = {path.name for path in (calm / "checkpoints").iterdir()}
    assert kept == set(study.confirmed["trial_id"])
    assert {path.name for folder in (calm / "checkpoints").iterdir() for path in folder.iterdir()} == {
        "weights.safetensors"
    }


def test_trials_that_cannot_be_trained_stop_the_study_and_lose_nothing(calm, tmp_path, ray_here):
    """Latents that vanish after their phase: the first trials fail, nothing is recorded as failed, mending continues."""
    # Two arms, one process at a time, and no second attempt: each is a process that imports torch to fail.
    changes = {"arms": {"fractions": [1.0]}, "search": {"max_failures": 0}, "resources": {"workers": 1}}
    config = load_config(str(write_tiny(tmp_path, data={"cache_dir": str(calm.parent.parent / "cache")}, **changes)))
    runs = tmp_path / "runs"
    shutil.copytree(calm, runs / "tiny")
    (runs / "tiny" / "study.yaml").write_text(yaml.safe_dump(config.with_absolute_paths().model_dump(mode="json")))
    shutil.rmtree(runs / "tiny" / "records")
    manifest = json.loads((runs / "tiny" / "manifest.json").read_text())
    for phase in ("search", "confirm", "report"):
        del manifest["phases"][phase]
    (runs / "tiny" / "manifest.json").write_text(json.dumps(manifest))
    latents = runs / "tiny" / "pretrain" / "prcc" / "latents.npy"
    latents.rename(tmp_path / "latents.npy")
    failed = subprocess.run(
        command("run", tmp_path / "tiny.yaml", "--root", runs), capture_output=True, text=True, check=False
    )
    assert failed.returncode == 1, failed.stdout + failed.stderr
    assert "latents.npy" in failed.stderr
    (tmp_path / "latents.npy").rename(latents)
    study = run_study(config, runs)
    assert set(study.trials["status"]) == {"completed"}
    expected = rows_of_arms(content(calm), {"WBC_100/off", "WBC_100/sum"})
    pd.testing.assert_frame_equal(content(runs / "tiny")["epochs"], expected["epochs"])


def test_a_trial_that_keeps_failing_is_given_up_with_its_traceback_and_the_others_go_on(calm, tmp_path):
    config = write_tiny(
        tmp_path,
        data={"cache_dir": str(calm.parent.parent / "cache")},
        arms={"fusion": ["off"]},
        resources={"workers": 1},
        search={"max_failures": 1},
        confirm={"seeds": 0},
    )
    known = load_study(calm).trials
    mine = known[(known["phase"] == "search") & (known["arm"] == "WBC_100/off")]
    broken = mine.sort_values("index")["trial_id"].iloc[0]
    folder = tmp_path / "runs" / "tiny"
    (folder / "checkpoints").mkdir(parents=True)
    # It trains, and cannot save: a file stands where its folder belongs. It is among the first to be handed out.
    (folder / "checkpoints" / broken).write_text("in the way")
    settings = load_config(str(config)).with_absolute_paths()
    (folder / "study.yaml").write_text(yaml.safe_dump(settings.model_dump(mode="json")))
    done = subprocess.run(
        command("run", config, "--root", tmp_path / "runs"), capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    trials = load_study(folder).trials.set_index("trial_id")
    assert trials.loc[broken, "status"] == "failed"
    assert trials.loc[broken, "epochs"] == 0
    assert "FileExistsError" in trials.loc[broken, "error"] and broken in trials.loc[broken, "error"]
    assert set(trials.drop(broken)["status"]) == {"completed"} and len(trials) == 4
    assert "1 of 4 trials failed:" in done.stdout
    assert f"{broken} (WBC_100/off), after 0 epochs: " in done.stdout


def test_reserved_gpus_without_a_device_train_on_the_cpu(calm, tmp_path):
    """On a cluster that claims GPUs, set up by the caller, which stays the caller's."""
    import ray

    changes = {"arms": {"fractions": [0.1], "fusion": ["off"]}, "confirm": {"seeds": 0}, "resources": {"gpu": 0.5}}
    config = write_tiny(tmp_path, data={"cache_dir": str(calm.parent.parent / "cache")}, **changes)
    ray.init("local", num_cpus=2, num_gpus=1, include_dashboard=False, log_to_driver=False, object_store_memory=10**8)
    try:
        study = run_study(load_config(str(config)), tmp_path / "runs")
        assert ray.is_initialized()
    finally:
        ray.shutdown()
    assert study.trials["status"].tolist() == ["completed"] * 2
    found, expected = content(study.path)["epochs"], content(calm)["epochs"]
    same = expected[expected["trial_id"].isin(found["trial_id"])].reset_index(drop=True)
    pd.testing.assert_frame_equal(found, same)
