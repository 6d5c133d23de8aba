"""What may travel to a cluster, what is refused before anything is sent, and that what is sent can run."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from study.cluster.packing import CONFIG_FILE, check_travels, chosen_variables, pack
from study.config.files import check_config, load_config
from study.errors import UsageError
from tests.study.tiny import write_tiny


def test_chosen_variables_are_passed_on():
    known = {"AWS_ENDPOINT_URL": "http://store:9000", "WBC_STUDY_CACHE": "/scratch", "HOME": "/home/ann"}
    assert chosen_variables(["AWS_ENDPOINT_URL", "WBC_STUDY_CACHE"], known) == {
        "AWS_ENDPOINT_URL": "http://store:9000",
        "WBC_STUDY_CACHE": "/scratch",
    }
    with pytest.raises(UsageError, match="--env NOTHING: not set"):
        chosen_variables(["NOTHING"], known)


@pytest.mark.parametrize(
    "name",
    [
        "AWS_SECRET_ACCESS_KEY",
        "AWS_ACCESS_KEY_ID",
        "AWS_SESSION_TOKEN",
        "RAY_AUTH_TOKEN",
        "WBC_STUDY_STORAGE",
        "PGPASSWORD",
        "SSH_PASSPHRASE",
        "DB_PWD",
    ],
)
def test_secrets_do_not_travel(name):
    with pytest.raises(UsageError, match="looks like a secret") as refused:
        chosen_variables([name], {name: "hidden"})
    assert "hidden" not in str(refused.value)


def test_an_address_with_a_password_does_not_travel_whatever_the_variable_is_called():
    with pytest.raises(UsageError, match="an address with a password") as refused:
        chosen_variables(["HTTPS_PROXY"], {"HTTPS_PROXY": "http://ann:hidden@proxy:3128"})
    assert "hidden" not in str(refused.value)
    assert chosen_variables(["HTTPS_PROXY"], {"HTTPS_PROXY": "http://proxy:3128"})


@pytest.mark.parametrize("place", ["root", "data.root"])
def test_keys_in_an_address_do_not_travel(place):
    with_keys, plain = "s3://key:hidden@bucket/x", "s3://bucket/x"
    config = check_config({"data": {"source": "folder", "root": with_keys if place == "data.root" else plain}}, "x")
    with pytest.raises(UsageError, match="found an address with @") as refused:
        check_travels(config, with_keys if place == "root" else plain)
    assert "hidden" not in str(refused.value)


def test_a_configuration_of_this_machine_is_refused():
    config = check_config(
        {"data": {"source": "folder", "root": "my_data"}, "pretrain": {"cam16": {"weights": "a.pth"}}}, "x"
    )
    with pytest.raises(
        UsageError, match=r"data\.root: my_data; pretrain\.cam16\.weights: a\.pth: expected absolute paths"
    ):
        check_travels(config, "s3://bucket/studies")


@pytest.mark.parametrize("root", ["/shared/images", "s3://bucket/images"])
def test_a_configuration_of_every_node_is_taken(root):
    check_travels(check_config({"data": {"source": "folder", "root": root}}, "x"), "/shared/studies")


def test_a_root_of_this_machine_is_refused():
    with pytest.raises(UsageError, match=r"--root ray_results: expected s3://"):
        check_travels(check_config({}, "x"), "ray_results")


def test_a_password_does_not_travel():
    config = check_config({"search": {"storage": "postgresql://ann:hidden@host/optuna"}}, "x")
    with pytest.raises(UsageError, match="WBC_STUDY_STORAGE") as refused:
        check_travels(config, "s3://bucket/studies")
    assert "hidden" not in str(refused.value)


def test_what_is_packed_runs_without_the_project_beside_it(tmp_path: Path) -> None:
    folder, elsewhere = tmp_path / "job", tmp_path / "elsewhere"
    folder.mkdir()
    elsewhere.mkdir()
    pack(load_config(str(write_tiny(tmp_path))), folder)
    assert sorted(path.name for path in folder.iterdir()) == ["analysis", "data_utils", "models", "study", CONFIG_FILE]

    def run(*arguments: str | Path) -> str:
        # Ray puts the folder of a job into PYTHONPATH.
        environment = {**os.environ, "PYTHONPATH": str(folder)}
        command = [sys.executable, "-P", *arguments]
        done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    packages = "analysis, data_utils, models, study"
    imported = run("-c", f"import {packages}; print(*(package.__file__ for package in ({packages})), sep='\\n')")
    assert [Path(file).parents[1] for file in imported.splitlines()] == [folder] * 4
    assert "= 16 trials" in run("-m", "study", "run", CONFIG_FILE, "--root", elsewhere, "--dry-run")


def test_what_is_packed_is_the_project_with_its_data_and_nothing_that_python_made(tmp_path: Path) -> None:
    pack(load_config("quick"), tmp_path)
    packed = {path.relative_to(tmp_path).as_posix() for path in tmp_path.rglob("*") if path.is_file()}
    assert not [name for name in packed if "__pycache__" in name]
    assert packed >= {
        "study/config/presets/quick.yaml",
        "study/cluster/deploy/kuberay.yaml",
        "analysis/records/published/results.csv",
        "analysis/report/templates/report.html.j2",
        "analysis/explorer/assets/explorer.css",
    }
