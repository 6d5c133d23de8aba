"""The recipes for clusters say what their readers understand: Ray's launcher, KubeRay, image builders and our command line."""

from __future__ import annotations

import re
import shlex
import tomllib
from pathlib import Path
from typing import Any

import pytest
import ray
import typer
import yaml

import study
from study.command_line import app
from study.config import StudyConfig
from study.configuration import load_config

DEPLOY = Path(study.__file__).parent / "deploy"
PROJECT = Path(__file__).parents[2]
COMMANDS: Any = typer.main.get_command(app)

# https://ray-project.github.io/kuberay/reference/api/ (ray.io/v1), and Kubernetes' own pages for Container and Volume.
RAY_JOB = {"entrypoint", "rayClusterSpec", "backoffLimit", "shutdownAfterJobFinishes", "ttlSecondsAfterFinished"}
RAY_CLUSTER = {"headGroupSpec", "workerGroupSpecs", "rayVersion", "authOptions"}
WORKER_GROUP = {"groupName", "replicas", "minReplicas", "maxReplicas", "rayStartParams", "template"}
HEAD_GROUP = {"rayStartParams", "template"}
CONTAINER = {"name", "image", "env", "envFrom", "resources", "ports", "volumeMounts"}


def parse(line: str) -> dict[str, Any]:
    """The parameters of a command line as our own parser reads them."""
    program, name, *arguments = shlex.split(line, comments=True)
    assert program == "wbc-study"
    command = COMMANDS.commands[name]
    if hasattr(command, "commands"):
        name, *arguments = arguments
        command = command.commands[name]
    return dict(command.make_context(name, arguments).params)


def read(name: str) -> Any:
    return yaml.safe_load((DEPLOY / name).read_text())


@pytest.mark.parametrize("name", ["launcher-on-premise.yaml", "launcher-aws.yaml"])
def test_the_launcher_takes_its_files(name):
    from ray.autoscaler._private.util import prepare_config, validate_config

    prepared = prepare_config(read(name))
    validate_config(prepared)
    for commands in (prepared["head_start_ray_commands"], prepared["worker_start_ray_commands"]):
        assert "RAY_AUTH_MODE=token" in commands[-1] and "ray start" in commands[-1]
    # The dashboard takes orders: it must not listen for everybody.
    assert "--dashboard-host=127.0.0.1" in prepared["head_start_ray_commands"][-1]
    workers = prepared["available_node_types"]
    assert sum(kind["min_workers"] for kind in workers.values()) == prepared["max_workers"] > 1


def test_every_field_for_kuberay_is_one_of_its_reference():
    job = read("kuberay.yaml")
    assert job["apiVersion"] == "ray.io/v1" and job["kind"] == "RayJob"
    assert all(isinstance(value, str) for value in job["metadata"]["annotations"].values())
    spec = job["spec"]
    cluster = spec["rayClusterSpec"]
    assert set(spec) <= RAY_JOB and set(cluster) <= RAY_CLUSTER
    assert cluster["authOptions"] == {"mode": "token"}
    assert cluster["rayVersion"] == ray.__version__
    (group,) = cluster["workerGroupSpecs"]
    assert set(group) <= WORKER_GROUP and set(cluster["headGroupSpec"]) <= HEAD_GROUP
    assert group["minReplicas"] <= group["replicas"] <= group["maxReplicas"]
    for each in (group, cluster["headGroupSpec"]):
        pod = each["template"]["spec"]
        (container,) = pod["containers"]
        assert set(container) <= CONTAINER
        assert {mount["name"] for mount in container["volumeMounts"]} == {volume["name"] for volume in pod["volumes"]}
        assert container["resources"]["requests"] == container["resources"]["limits"]
        assert {each["name"]: each["value"] for each in container["env"]}["WBC_STUDY_CACHE"] == "/cache"
        assert all(isinstance(variable["value"], str) for variable in container["env"])
        assert all(isinstance(value, str) for value in each["rayStartParams"].values())
    assert group["template"]["spec"]["containers"][0]["resources"]["limits"]["nvidia.com/gpu"] == "1"
    assert "nvidia.com/gpu" not in cluster["headGroupSpec"]["template"]["spec"]["containers"][0]["resources"]["limits"]


def test_the_study_of_kuberay_is_one_that_the_command_line_runs():
    job = read("kuberay.yaml")
    asked = parse(job["spec"]["entrypoint"])
    config = load_config(asked["config"], asked["overrides"], asked["name"])
    assert config.resources.address == "auto" and config.resources.gpu == "auto"
    mounted = job["spec"]["rayClusterSpec"]["headGroupSpec"]["template"]["spec"]["containers"][0]["volumeMounts"]
    for path in (asked["root"], str(config.data.root)):
        assert any(path.startswith(f"{mount['mountPath']}/") for mount in mounted), path


def test_values_to_change_stand_at_the_top():
    for path in (*DEPLOY.glob("*.yaml"), DEPLOY / "slurm.sh", DEPLOY / "Containerfile"):
        lines = path.read_text().splitlines()
        first, last = (
            next(i for i, line in enumerate(lines) if text in line)
            for text in ("Change these", "nd of what to change.")
        )
        assert first < 12 and first < last < 45, path


@pytest.mark.parametrize("page", sorted(path.name for path in DEPLOY.glob("*.md")))
def test_commands_and_settings_of_a_page_exist(page):
    text = (DEPLOY / page).read_text()
    for block in re.findall(r"```\n(.*?)```", text, re.DOTALL):
        for line in block.splitlines():
            for command in re.findall(r"wbc-study [a-z][^`|]*", line.partition(" --from-env")[0]):
                if not re.search(r"(create secret|rayjob|kubectl|name) wbc-study", line):
                    parse(command)
    for section, name in re.findall(r"`(?:--set )?(data|resources|search|training)\.([a-z_]+)[`=]", text):
        assert name in StudyConfig.model_fields[section].annotation.model_fields, f"{section}.{name}"
    for file in re.findall(r"`(slurm\.sh|Containerfile|[a-z-]+\.yaml)`", text):
        assert (DEPLOY / file).is_file() or file == "mine.yaml", file


def test_the_recipe_for_slurm_gives_our_command_what_it_takes():
    (line,) = [line for line in (DEPLOY / "slurm.sh").read_text().splitlines() if "wbc-study run" in line]
    command = line.partition("bash -c '")[2].partition(";")[0]
    asked = parse(command.replace('"$@"', "cluster --set training.epochs=2 --name mine"))
    assert asked["address"] == "auto"
    assert load_config(asked["config"], ["data.root=/shared"], asked["name"]).resources.gpu == "auto"


def test_the_image_is_made_from_files_that_are_there():
    text = (DEPLOY / "Containerfile").read_text()
    copied = [word for line in re.findall(r"^COPY (.*)", text, re.MULTILINE) for word in line.split()[:-1]]
    assert {"study", "analysis", "models", "data_utils", "constraints.txt"} <= set(copied)
    assert all((PROJECT / name).exists() for name in copied)
    project = tomllib.loads((PROJECT / "pyproject.toml").read_text())["project"]
    extras = re.search(r"^ARG EXTRAS=(.*)", text, re.MULTILINE)
    assert extras and set(extras[1].split(",")) <= set(project["optional-dependencies"])
    assert re.findall(r"^USER (.*)", text, re.MULTILINE)[-1:] == ["ray"]
