"""A whole study, in real Ray processes: what it leaves behind, and what kills leave of it."""

import hashlib
import json
import re
import shutil
import subprocess
import time
from pathlib import Path

import pandas as pd
import psutil
import pytest

from analysis import load_study
from analysis.records.object_store import ObjectStore
from analysis.records.schema import TABLES
from analysis.records.segments import read_segments
from study.config.files import load_config
from study.errors import UsageError
from study.pipeline.run import run_study
from tests.study.object_storage import BUCKET, KEY, SECRET, files_with
from tests.study.processes import below
from tests.study.record_content import content, report_tables, rows_of_arms
from tests.study.tiny import command, invoke, write_tiny

pytestmark = pytest.mark.slow


def test_layout_is_the_contract(calm):
    found = {path.name for path in calm.iterdir() if not path.name.startswith(".")}
    folders = {"pretrain", "checkpoints", "records", "report"}
    assert found == folders | {"study.yaml", "manifest.json", "audit.json", "images.parquet", "optuna.journal"}
    assert {path.name for path in (calm / "pretrain" / "prcc").iterdir()} >= {
        "weights.safetensors",
        "curve.parquet",
        "reconstructions.png",
    }
    assert [path.suffix for table in TABLES for path in (calm / "records" / table).iterdir()] == [".parquet"] * 3
    assert (calm / "report" / "index.html").is_file()
    manifest = json.loads((calm / "manifest.json").read_text())
    assert manifest["threads"] == 1
    phases = manifest["phases"]
    assert list(phases) == ["audit", "pretrain", "features", "search", "confirm", "report"]
    assert {phase["state"] for phase in phases.values()} == {"complete"}


def test_terminal_shows_tables_and_where_the_report_lies(calm):
    output = (calm.parent.parent / "output.txt").read_text()
    assert "Validation accuracy" in output
    assert "Test metrics" in output
    assert "Winning hyperparameters" in output
    assert f"Report: {calm / 'report' / 'index.html'}" in output
    for noise in ("WARNING", "INFO", "ray::", "Traceback", "UserWarning"):
        assert noise not in output


def test_a_finished_study_prints_its_tables_and_trains_nothing(calm, tmp_path):
    runs = tmp_path / "runs"
    shutil.copytree(calm, runs / "tiny")
    before = {path: path.stat().st_mtime_ns for path in (runs / "tiny" / "records").rglob("*.parquet")}
    done = subprocess.run(
        command("run", calm.parent.parent / "tiny.yaml", "--root", runs), capture_output=True, text=True, check=False
    )
    assert done.returncode == 0
    assert "Validation accuracy" in done.stdout
    assert {path: path.stat().st_mtime_ns for path in (runs / "tiny" / "records").rglob("*.parquet")} == before


def test_another_configuration_under_the_same_name_is_refused_with_the_difference(calm, tmp_path):
    shutil.copytree(calm, tmp_path / "tiny")
    config = load_config(str(calm.parent.parent / "tiny.yaml"), ["training.batch_size=4"])
    with pytest.raises(UsageError, match=r"training\.batch_size: 8 -> 4"):
        run_study(config, tmp_path)


def test_a_finished_study_is_extended_by_seeds_and_points_and_keeps_what_it_has(calm, tmp_path, ray_here):
    changes = {
        "data": {"cache_dir": str(calm.parent.parent / "cache")},
        "arms": {"fractions": [0.1], "fusion": ["off"]},
        "search": {"mode": "qmc", "trials_per_arm": 1},
        "confirm": {"seeds": 1},
    }
    first = set(run_study(load_config(str(write_tiny(tmp_path, **changes))), tmp_path / "runs").trials["trial_id"])
    larger = {**changes, "search": {"mode": "qmc", "trials_per_arm": 3}, "confirm": {"seeds": 2}}
    study = run_study(load_config(str(write_tiny(tmp_path, **larger))), tmp_path / "runs")
    assert first < set(study.trials["trial_id"])
    assert not study.epochs.duplicated(["trial_id", "epoch"]).any()
    assert (study.trials["phase"] == "search").sum() == 3
    # Whichever point won in the end, it has both seeds, and confirmations of another do not count.
    assert study.confirmed["seed"].tolist() == [1, 2]
    assert set(study.confirmed["learning_rate"]) == set(study.winners()["learning_rate"])
    with pytest.raises(UsageError, match=r"confirm\.seeds: 2 -> 1"):
        run_study(load_config(str(write_tiny(tmp_path, **changes))), tmp_path / "runs")


def test_a_finished_study_is_extended_by_controls_and_keeps_what_it_has(calm, tmp_path, ray_here):
    changes = {
        "data": {"cache_dir": str(calm.parent.parent / "cache")},
        "arms": {"fractions": [0.1, 1.0], "fusion": ["off", "sum", "finetune"]},
        "controls": {"random": [0.1], "published": [0.1], "twin": [0.1]},
    }
    shutil.copytree(calm, tmp_path / "runs" / "tiny")
    weights = tmp_path / "runs" / "tiny" / "pretrain" / "cam16" / "weights.safetensors"
    before = weights.read_bytes()
    study = run_study(load_config(str(write_tiny(tmp_path, **changes))), tmp_path / "runs")
    assert study.confirmed.groupby("arm").size().to_dict() == dict.fromkeys(
        [
            "WBC_10/off",
            "WBC_10/sum",
            "WBC_10/finetune",
            "WBC_10/off-twin",
            "WBC_10/sum-random",
            "WBC_10/finetune-random",
            "WBC_10/sum-published",
            "WBC_100/off",
            "WBC_100/sum",
            "WBC_100/finetune",
        ],
        2,
    )
    found, expected = content(study.path), content(calm)
    for name, table in rows_of_arms(found, set(expected["trials"]["arm"])).items():
        pd.testing.assert_frame_equal(table, expected[name])
    assert weights.read_bytes() == before
    # What every network's weights are and where they come from is part of the record.
    networks = json.loads((study.path / "manifest.json").read_text())["networks"]
    assert {name: row["origin"] for name, row in networks.items()} == {
        "prcc": "1 epochs",
        "cam16": "1 epochs",
        "prcc-random": "random weights, seed 0",
        "cam16-random": "random weights, seed 0",
    }
    assert networks["cam16"]["sha256"] == hashlib.sha256(before).hexdigest()
    assert len({row["sha256"] for row in networks.values()}) == 4
    # Tuned alike and confirmed with the same seeds, off and its twin are not the same trials.
    runs = study.epochs[study.epochs["phase"] == "confirm"].groupby("arm")["train_loss"].apply(list)
    assert not set(runs["WBC_10/off"]) & set(runs["WBC_10/off-twin"])


def test_resources_that_no_node_has_are_refused_and_leave_nothing(calm, tmp_path, ray_here):
    config = write_tiny(tmp_path, data={"cache_dir": str(calm.parent.parent / "cache")}, resources={"cpu": 999})
    with pytest.raises(UsageError, match=r"999 CPU.*resources\.cpu"):
        run_study(load_config(str(config)), tmp_path / "runs")
    assert not (tmp_path / "runs" / "tiny").exists()


@pytest.mark.cluster
def test_a_study_in_an_object_store_survives_its_faults_and_the_loss_of_the_machine(calm, s3, tmp_path, monkeypatch):
    """Errors, slow answers, cut connections, a killed machine: the records are those of a calm study on a disk."""
    url = f"s3://{BUCKET}/{tmp_path.name}"
    config = calm.parent.parent / "tiny.yaml"
    earlier = set(Path("/tmp/ray").glob("session_*"))
    s3.shares = {"error": 0.03, "slow": 0.03, "cut": 0.02, "lost": 0.02}
    monkeypatch.setenv("WBC_STUDY_CACHE", str(tmp_path / "first machine"))
    with (tmp_path / "output.txt").open("a") as output:
        process = subprocess.Popen(command("run", config, "--root", url), stdout=output, stderr=output)
        store = ObjectStore(f"{url}/tiny")
        while len(store.listing("records/epochs")) < 7 or not store.listing("checkpoints"):
            assert process.poll() is None, (tmp_path / "output.txt").read_text()
            time.sleep(0.1)
        children = below(process.pid)
        process.kill()
        process.wait()
        psutil.wait_procs(children, timeout=60)
    # A trial may have ended just then: what must be there is the checkpoint of every other that has a recorded epoch.
    for key in store.listing("records"):
        store.download(key, tmp_path / "after the loss" / key)
    rows = {
        name: read_segments(tmp_path / "after the loss" / "records" / name, TABLES[name])
        for name in ("trials", "epochs")
    }
    ended = set(rows["trials"].loc[rows["trials"]["status"] != "running", "trial_id"])
    begun = set(rows["epochs"]["trial_id"])
    can_go_on = {key.split("/")[1] for key in store.listing("checkpoints")}
    assert begun - ended <= can_go_on

    monkeypatch.setenv("WBC_STUDY_CACHE", str(tmp_path / "second machine"))
    # To whoever looks soon enough its claim is still fresh.
    assert re.search("tiny: (interrupted|running) in (search|confirm)", invoke("status", "tiny", "--root", url))
    done = subprocess.run(command("run", config, "--root", url), capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert f"Continuing {url}/tiny" in done.stdout
    assert sum(s3.injected.values()) > 20 and set(s3.injected) >= {"error", "slow", "cut", "lost"}
    s3.shares = {}

    monkeypatch.setenv("WBC_STUDY_CACHE", str(tmp_path / "a third machine"))
    assert invoke("list", "--root", url).split() == ["study", "state", "tiny", "finished"]
    invoke("fetch", "tiny", "--root", url, "--out", tmp_path / "tiny", "--checkpoints")
    for name, table in content(calm).items():
        pd.testing.assert_frame_equal(content(tmp_path / "tiny")[name], table)
    assert report_tables(tmp_path / "tiny") == report_tables(calm)
    assert load_study(f"{url}/tiny").accuracy_table().equals(load_study(calm).accuracy_table())
    assert [path.name for path in (tmp_path / "tiny" / "checkpoints").rglob("*") if path.is_file()] == [
        "weights.safetensors"
    ] * 8
    assert store.listing(".lease") == {}

    assert SECRET not in done.stdout + done.stderr
    # Others may have sessions of Ray at the same time; what tests begin there has the same rules.
    sessions = [path for path in Path("/tmp/ray").glob("session_*") if path not in earlier and not path.is_symlink()]
    assert sessions
    for text in (SECRET, KEY):
        assert files_with(text, tmp_path, *sessions) == []
    assert [key for key in store.listing() if SECRET.encode() in store.read(key)] == []
