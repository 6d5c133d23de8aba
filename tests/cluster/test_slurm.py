"""The recipe for SLURM, run by SLURM."""

from __future__ import annotations

import os
import subprocess
import time

import pytest

from analysis import load_study
from tests.cluster.slurm import SCRIPT, Slurm
from tests.study.tiny import write_tiny

pytestmark = [pytest.mark.cluster, pytest.mark.slow, pytest.mark.timeout(2400)]


def test_sbatch_of_the_recipe_runs_a_study(tmp_path):
    config = write_tiny(tmp_path, arms={"fractions": [1.0], "fusion": ["off"]}, confirm={"seeds": 0})
    with Slurm() as slurm:
        printed = slurm.submit(tmp_path, config, "--set", "training.epochs=2")
        # A job is COMPLETING until the node has tidied up behind it.
        while "JobState=COMPLETING" in (state := slurm.run("scontrol", "show", "job", "1")):
            time.sleep(0.2)
    assert "JobState=COMPLETED" in state, printed
    assert "Validation accuracy" in printed
    study = load_study(tmp_path / "studies" / "tiny")
    assert study.trials["status"].tolist() == ["completed"] * 2
    assert set(study.trials["epochs"]) == {2}
    assert not list(tmp_path.glob(".ray-token*"))


def test_the_recipe_is_a_script_that_bash_reads():
    subprocess.run(["bash", "-n", SCRIPT], check=True)
    assert os.access(SCRIPT, os.X_OK)
