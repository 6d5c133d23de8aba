"""A study that was killed any number of times ends as the one that was left alone."""

import json
import math
import random
import shutil
import subprocess
from collections import Counter, defaultdict

import numpy as np
import pytest

from analysis import load_study
from analysis.records.schema import TABLES
from analysis.records.segments import read_segments
from study.config.files import load_config
from study.pipeline.run import run_study
from study.storage.run_directory import RunDirectory
from study.training.replay import replay
from tests.study.record_content import content, newest_trials, report_tables
from tests.study.tiny import command, write_tiny

pytestmark = pytest.mark.slow

GRID = {
    "training": {"epochs": 12, "steps_per_epoch": 2},
    "confirm": {"seeds": 1},
    "search": {"max_failures": 8},  # however many of the faults hit one trial
}
"""Every trial to its last epoch: which trials exist, and every number in them, follow from the configuration."""

ONE_OF_EACH = Counter(trial=2, driver=1, command=1, interrupt=1, raylet=1, gcs_server=1)

MANY = Counter(trial=8, driver=7, command=3, interrupt=1, raylet=1, gcs_server=1)
"""The driver is killed ten times: seven times alone, three times together with its supervisor."""


@pytest.mark.timeout(2400)
@pytest.mark.parametrize(
    "faults", [pytest.param(ONE_OF_EACH, id="one-of-each"), pytest.param(MANY, id="many", marks=pytest.mark.long)]
)
def test_killed_again_and_again_a_grid_search_ends_as_if_nothing_had_happened(tmp_path, ray_here, besiege, faults):
    # One process trained all trials of the calm study, one after another; under siege as many as the machine has cores.
    (tmp_path / "calm").mkdir()
    calm = run_study(load_config(str(write_tiny(tmp_path / "calm", **GRID))), tmp_path / "calm" / "runs").path
    config = write_tiny(tmp_path, **GRID, data={"cache_dir": str(tmp_path / "calm" / "cache")})
    (tmp_path / "besieged").mkdir()
    siege = besiege(config, seed=1)
    siege.strike("driver", after_epochs=0)  # wherever it is: hardly past its start
    plan = list((faults - Counter(driver=1, trial=1)).elements())
    random.Random(1).shuffle(plan)
    # Spread over three quarters of the study, so that its end is not reached before the last of them.
    total = len(read_segments(calm / "records" / "epochs", TABLES["epochs"]))
    for number, kind in enumerate([*plan, "trial"]):
        goal = total * 3 // 4 * number // len(plan) + siege.random.randint(0, 3)
        siege.strike(kind, after_epochs=max(1, goal - siege.epochs()))
    assert siege.finish() == 0, siege.output()
    assert siege.struck == faults
    calm_records, records = content(calm), content(siege.folder)
    for name in TABLES:
        assert records[name].to_csv() == calm_records[name].to_csv(), name
    tables = report_tables(calm)
    assert len(tables) > 10
    assert report_tables(siege.folder) == tables
    # And once more without any of it: a fresh process, no Ray.
    interrupted = load_study(siege.folder).trials.query("fusion == 'sum' and phase == 'search'")["trial_id"].iloc[0]
    assert all(epoch.identical for epoch in replay(RunDirectory(siege.folder), interrupted))


def implied_decisions(epochs, grace, last, factor):
    """ASHA on paper (Li et al. 2020), from the results of one arm in the order of their arrival: epoch -> stopped or not.

    At a rung a trial goes on when its score is at least the (1 - 1/factor) quantile of the scores that the rung has seen
    before; the first one always does.
    """
    rungs = {math.ceil(grace * factor**k) for k in range(20)}
    seen = defaultdict(list)
    best = {}
    decisions = {}
    for row in epochs.to_dict("records"):
        trial, epoch = row["trial_id"], row["epoch"]
        best[trial] = max(best.get(trial, 0.0), row["val_accuracy"])
        stopped = False
        if epoch in rungs and epoch < last:
            if seen[epoch]:
                stopped = best[trial] < np.nanpercentile(seen[epoch], (1 - 1 / factor) * 100)
            seen[epoch].append(best[trial])
        decisions[trial, epoch] = "complete" if epoch == last else "stop" if stopped else "continue"
    return decisions


@pytest.mark.timeout(2400)
@pytest.mark.parametrize(
    "kinds",
    [
        pytest.param(("trial", "command"), id="trial-command"),
        pytest.param(("driver", "trial", "command"), id="driver-trial-command", marks=pytest.mark.long),
    ],
)
def test_killed_in_the_middle_of_a_rung_asha_promotes_what_the_records_imply(tmp_path, besiege, kinds):
    config = write_tiny(
        tmp_path,
        arms={"fractions": [0.1, 1.0], "fusion": ["off"]},
        training={"epochs": 6, "steps_per_epoch": 2},
        search={
            "mode": "tpe",
            "scheduler": "asha",
            "trials_per_arm": 8,
            "tpe_startup": 3,
            "grace_epochs": 1,
            "learning_rate": [1e-4, 3e-2],
        },
        confirm={"seeds": 0},
    )
    (tmp_path / "besieged").mkdir()
    siege = besiege(config, seed=2)
    for kind in kinds:
        siege.strike(kind, after_epochs=5)
    while not interrupted_checkpoints(siege.folder):
        siege.strike("command", after_epochs=1)  # the trials had only just begun
    # Nothing runs now. Some trials of a rung have reported, others have not.
    before = decisions(siege.folder)
    torn = damage(siege.folder)
    assert siege.finish() == 0, siege.output()
    after = decisions(siege.folder)
    kept = {key: decision for key, decision in before.items() if key != torn}
    assert {key: after[key] for key in kept} == kept, "a decision changed"
    study = load_study(siege.folder)
    trials, epochs = study.trials, study.epochs
    assert trials.groupby("arm").size().tolist() == [8, 8]
    assert set(trials["status"]) <= {"completed", "stopped"}
    assert set(epochs["trial_id"]) == set(trials["trial_id"])
    for arm, rows in epochs.groupby("arm"):
        found = {(row["trial_id"], row["epoch"]): row["decision"] for row in rows.to_dict("records")}
        assert found == implied_decisions(rows, 1, 6, 2.0), arm
    assert set(epochs["decision"]) == {"continue", "stop", "complete"}
    ends = epochs[epochs["decision"] != "continue"].groupby("trial_id").size()
    assert (ends == 1).all() and len(ends) == len(trials)
    # Every trial that goes on has reported every epoch once; which are stopped, are at a rung.
    assert (epochs.groupby("trial_id")["epoch"].max() == epochs.groupby("trial_id").size()).all()
    assert (trials[trials["status"] == "completed"]["epochs"] == 6).all()
    stopped = epochs[epochs["decision"] == "stop"]
    assert set(stopped["rung"]) <= {1, 2, 4} and len(stopped) == (trials["status"] == "stopped").sum()
    # Without fusion nothing is pretrained, and no seed means no confirmation.
    assert not (study.path / "pretrain").exists()
    assert study.confirmed.empty
    assert study.accuracy_table().index.tolist() == ["WBC_10", "WBC_100"]


def decisions(folder):
    rows = read_segments(folder / "records" / "epochs", TABLES["epochs"])
    return {(row["trial_id"], row["epoch"]): row["decision"] for row in rows.to_dict("records")}


def interrupted_checkpoints(folder):
    trials = newest_trials(folder / "records")
    running = trials[trials["status"] == "running"]["trial_id"]
    return [path for trial in running for path in (folder / "checkpoints" / trial).glob("*.safetensors")]


def damage(folder):
    """Tear the newest segment of the epochs, and spoil the checkpoint of a trial that has not ended; returns what was torn."""
    segment = max((folder / "records" / "epochs").glob("*.jsonl"))
    torn = json.loads(segment.read_bytes())
    segment.write_bytes(segment.read_bytes()[:-20])
    checkpoint = interrupted_checkpoints(folder)[0]
    content = bytearray(checkpoint.read_bytes())
    content[-1000] ^= 1
    checkpoint.write_bytes(content)
    return torn["trial_id"], torn["epoch"]


NO_ROOM = """
set -u
folder="$1" runs="$1/runs" records="$1/runs/tiny/records"
shift
attempt() {
  name="$1"
  shift
  "$@" > "$folder/$name.txt" 2>&1
  echo $? > "$folder/$name.code"
}
mkdir "$runs"
mount -t tmpfs -o size=1g tmpfs "$runs"
mkdir -p "$records"
mount -t tmpfs -o size=16k tmpfs "$records"
attempt epochs "$@"
mount -o remount,size=1g "$records"
mount -o remount,size=3m "$runs"
attempt checkpoints "$@"
mount -o remount,size=1g "$runs"
attempt last "$@"
cp -r "$runs/tiny" "$folder/saved"
"""
"""File systems of its own, seen by these processes alone: the records' is too small at first, then that of all the rest."""


@pytest.mark.timeout(2400)
def test_a_full_disk_ends_the_study_with_the_reason_and_making_room_continues_it(tmp_path):
    if shutil.which("unshare") is None or subprocess.run(["unshare", "-Urm", "true"], check=False).returncode:
        pytest.skip("needs a mount namespace of its own")
    # Checkpoints take some 1.5 MB each; every segment of the records takes a page of memory.
    config = write_tiny(
        tmp_path,
        model={"width": 16},
        training={"epochs": 6},
        search={"grid_learning_rate": [0.001]},
        arms={"fractions": [0.1], "fusion": ["off"]},
        confirm={"seeds": 0},
    )
    run = command("run", config, "--root", tmp_path / "runs")
    subprocess.run(["unshare", "-Urm", "bash", "-c", NO_ROOM, "bash", tmp_path, *run], check=True)
    for cannot_be_written in ("epochs", "checkpoints"):
        said = (tmp_path / f"{cannot_be_written}.txt").read_text()
        assert (tmp_path / f"{cannot_be_written}.code").read_text().strip() == "1", said
        assert "No space left on device" in said and "run the same command again" in said
        assert cannot_be_written in said.splitlines()[-1]
        assert "Traceback" not in said
    assert (tmp_path / "last.code").read_text().strip() == "0", (tmp_path / "last.txt").read_text()
    study = load_study(tmp_path / "saved")
    assert study.trials["status"].tolist() == ["completed"]
    assert not study.epochs.duplicated(["trial_id", "epoch"]).any()
