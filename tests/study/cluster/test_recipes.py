"""The recipes for clusters, as they lie there and filled in for a study, say what their readers understand: Kubernetes, KubeRay,
Ray's launcher, image builders and our command line."""

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
from kubernetes.client import models

from study import cluster
from study.cluster.recipes import WorkerNodes, fill_recipe
from study.commands.main import app
from study.config.files import load_config
from study.config.study import StudyConfig
from study.errors import UsageError

DEPLOY = Path(cluster.__file__).parent / "deploy"
PROJECT = Path(__file__).parents[3]
COMMANDS: Any = typer.main.get_command(app)

# https://ray-project.github.io/kuberay/reference/api/ (ray.io/v1): field -> type. Classes named V1... are Kubernetes' models.
KUBERAY: dict[str, dict[str, Any]] = {
    "RayJob": {"apiVersion": "str", "kind": "str", "metadata": "V1ObjectMeta", "spec": "RayJobSpec"},
    "RayJobSpec": {
        "entrypoint": "str",
        "rayClusterSpec": "RayClusterSpec",
        "backoffLimit": "int",
        "shutdownAfterJobFinishes": "bool",
        "ttlSecondsAfterFinished": "int",
    },
    "RayClusterSpec": {
        "headGroupSpec": "HeadGroupSpec",
        "workerGroupSpecs": "List[WorkerGroupSpec]",
        "rayVersion": "str",
        "authOptions": "AuthOptions",
    },
    "HeadGroupSpec": {"rayStartParams": "Dict[str, str]", "template": "V1PodTemplateSpec"},
    "WorkerGroupSpec": {
        "groupName": "str",
        "replicas": "int",
        "minReplicas": "int",
        "maxReplicas": "int",
        "rayStartParams": "Dict[str, str]",
        "template": "V1PodTemplateSpec",
    },
    "AuthOptions": {"mode": "str"},
}
PLAIN = {"str": str, "int": int, "bool": bool, "object": object}
NAME = re.compile(r"[a-z]([-a-z0-9]{0,45}[a-z0-9])?")
"""Name of a RayJob as the operator wants it: a label of DNS (RFC 1035) with no more than 47 characters."""
IMAGE = "images.example.org/mine:2"


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


def check_fields(value: Any, kind: str, place: str) -> None:
    """Every field is one of its class, of its type, down to the last."""
    container = re.fullmatch(r"(List|Dict)\[(?:str, )?(.+)\]", kind)
    if container and container[1] == "List":
        assert isinstance(value, list), place
        for number, item in enumerate(value):
            check_fields(item, container[2], f"{place}[{number}]")
    elif container:
        assert isinstance(value, dict), place
        for name, item in value.items():
            assert isinstance(name, str), place
            check_fields(item, container[2], f"{place}.{name}")
    elif kind in PLAIN:
        assert isinstance(value, PLAIN[kind]), f"{place}: {value!r} is not of type {kind}"
    else:
        fields = KUBERAY.get(kind) or fields_of_kubernetes(kind)
        assert isinstance(value, dict) and set(value) <= set(fields), f"{place}: {set(value) - set(fields)}"
        for name, item in value.items():
            check_fields(item, fields[name], f"{place}.{name}")


def fields_of_kubernetes(kind: str) -> dict[str, str]:
    """Fields of a class and their types, as its published schema says."""
    model = getattr(models, kind)
    return {model.attribute_map[name]: type_ for name, type_ in model.openapi_types.items()}


def fill(recipe: str, *overrides: str, config: str = "cluster", **others: Any) -> list[Any]:
    """The documents of a filled recipe."""
    place = {"kuberay": "/shared", "launcher-aws": "s3://bucket"}[recipe]
    given = [f"data.root={place}/images", *overrides]
    return list(
        yaml.safe_load_all(fill_recipe(recipe, config, given, **{"root": f"{place}/studies", "image": IMAGE} | others))
    )


LAUNCHERS = {name: read(name) for name in ("launcher-on-premise.yaml", "launcher-aws.yaml")}
LAUNCHERS |= {"launcher-aws for a study": fill("launcher-aws")[0]}
RAY_JOBS = {
    "kuberay.yaml": read("kuberay.yaml"),
    "for a study": fill("kuberay")[1],
    "for a study without GPUs": fill("kuberay", "resources.gpu=0", name="CPU only", workers=WorkerNodes(80, gpus=0))[1],
}


@pytest.mark.parametrize("name", LAUNCHERS)
def test_the_launcher_takes_its_files(name):
    from ray.autoscaler._private.util import prepare_config, validate_config

    prepared = prepare_config(LAUNCHERS[name])
    validate_config(prepared)  # against Ray's own schema
    for commands in (prepared["head_start_ray_commands"], prepared["worker_start_ray_commands"]):
        assert "RAY_AUTH_MODE=token" in commands[-1] and "ray start" in commands[-1]
    # The dashboard takes orders: it must not listen for everybody.
    assert "--dashboard-host=127.0.0.1" in prepared["head_start_ray_commands"][-1]
    workers = prepared["available_node_types"]
    assert sum(kind["min_workers"] for kind in workers.values()) == prepared["max_workers"] > 1


@pytest.mark.parametrize("name", RAY_JOBS)
def test_fields_for_kuberay_are_those_of_its_reference_and_of_the_published_schema_of_pods(name):
    job = RAY_JOBS[name]
    assert job["apiVersion"] == "ray.io/v1" and job["kind"] == "RayJob"
    check_fields(job, "RayJob", "job")
    cluster = job["spec"]["rayClusterSpec"]
    assert cluster["authOptions"] == {"mode": "token"}
    assert cluster["rayVersion"] == ray.__version__
    (group,) = cluster["workerGroupSpecs"]
    assert group["minReplicas"] <= group["replicas"] <= group["maxReplicas"]
    for each in (group, cluster["headGroupSpec"]):
        pod = each["template"]["spec"]
        (container,) = pod["containers"]
        assert {mount["name"] for mount in container["volumeMounts"]} == {volume["name"] for volume in pod["volumes"]}
        assert container["resources"]["requests"] == container["resources"]["limits"]
        assert {each["name"]: each["value"] for each in container["env"]}["WBC_STUDY_CACHE"] == "/cache"
        assert {"name", "image"} <= set(container)
    assert NAME.fullmatch(job["metadata"]["name"])
    gpus = group["template"]["spec"]["containers"][0]["resources"]["limits"]["nvidia.com/gpu"]
    assert gpus == ("0" if "without" in name else "1")
    assert "nvidia.com/gpu" not in cluster["headGroupSpec"]["template"]["spec"]["containers"][0]["resources"]["limits"]


def test_a_field_that_is_none_is_found():
    job = yaml.safe_load(yaml.safe_dump(RAY_JOBS["kuberay.yaml"]))
    (container,) = job["spec"]["rayClusterSpec"]["headGroupSpec"]["template"]["spec"]["containers"]
    container["env"][0] = {"name": "WBC_STUDY_CACHE", "values": "/cache"}
    with pytest.raises(AssertionError, match=r"containers\[0\]\.env\[0\]: \{'values'\}"):
        check_fields(job, "RayJob", "job")


def test_the_study_of_kuberay_is_one_that_the_command_line_runs():
    job = read("kuberay.yaml")
    asked = parse(job["spec"]["entrypoint"])
    config = load_config(asked["config"], asked["overrides"], asked["name"])
    assert config.resources.address == "auto" and config.resources.gpu == "auto"
    mounted = job["spec"]["rayClusterSpec"]["headGroupSpec"]["template"]["spec"]["containers"][0]["volumeMounts"]
    for path in (asked["root"], str(config.data.root)):
        assert any(path.startswith(f"{mount['mountPath']}/") for mount in mounted), path


def test_a_filled_kuberay_brings_the_study_with_it(tmp_path):
    mine = tmp_path / "mine.yaml"
    mine.write_text("about: 'Ours: \u00fc # 1'\ntraining: {epochs: 7}\ndata: {source: folder}\n")
    settings, job = fill(
        "kuberay", config=str(mine), name="Smears", workers=WorkerNodes(80, cpus=12, gpus=2, memory="64Gi")
    )
    check_fields(settings, "V1ConfigMap", "settings")
    asked = parse(job["spec"]["entrypoint"])
    assert (asked["root"], asked["address"]) == ("/shared/studies", "auto")
    # The file of the head's pod, as the head reads it.
    head = job["spec"]["rayClusterSpec"]["headGroupSpec"]["template"]["spec"]
    (volume,) = [each for each in head["volumes"] if "configMap" in each]
    (mount,) = [each for each in head["containers"][0]["volumeMounts"] if each["name"] == volume["name"]]
    assert volume["configMap"]["name"] == settings["metadata"]["name"]
    folder, _, name = asked["config"].rpartition("/")
    assert mount["mountPath"] == folder
    (tmp_path / name).write_text(settings["data"][name])
    assert load_config(str(tmp_path / name)) == load_config(str(mine), ["data.root=/shared/images"], "Smears")
    (group,) = job["spec"]["rayClusterSpec"]["workerGroupSpecs"]
    assert group["replicas"] == group["maxReplicas"] == 80
    (worker,) = group["template"]["spec"]["containers"]
    assert worker["resources"]["limits"] == {"cpu": "12", "nvidia.com/gpu": "2", "memory": "64Gi"}
    assert worker["image"] == head["containers"][0]["image"] == IMAGE


def test_what_can_be_changed_still_stands_at_the_top_of_a_filled_recipe():
    for recipe, root in (("kuberay", "/shared"), ("launcher-aws", "s3://bucket")):
        given = {"root": root, "image": IMAGE, "name": "a\nb: # c"}
        text = fill_recipe(recipe, "cluster", [f"data.root={root}"], **given)
        body = text.partition("---\n")[2] or text
        assert re.search(
            r"# Change these.*\bimage: (&image )?images.example.org/mine:2\b.*# End of what to change", body, re.DOTALL
        )
        assert not [line for line in text.splitlines() if line.startswith("b: ")]


def test_names_become_labels_and_different_ones_stay_different():
    names = [
        "mine",
        "Mine",
        "mine-",
        "2026-smears",
        "\u8840\u7403",
        "\u8840",
        "x" * 60,
        "x" * 61,
        "Smears 2026",
        "smears-2026",
    ]
    made = [fill("kuberay", name=name)[1]["metadata"]["name"] for name in names]
    assert len(set(made)) == len(names) and made[0] == "mine"
    assert all(NAME.fullmatch(name) for name in made)


@pytest.mark.parametrize(
    ("settings", "workers", "told"),
    [
        ([], WorkerNodes(), "as many trials at once as its GPU memory holds, at most 8 "),
        ([], WorkerNodes(gpus=0), "8 trials at once"),
        (["resources.gpu=0.25"], WorkerNodes(gpus=2), "8 trials at once"),
        (["resources.gpu=0.25", "resources.cpu=4"], WorkerNodes(), "2 trials at once"),
        (["resources.gpu=2"], WorkerNodes(gpus=4), "2 trials at once"),
        (
            ["resources.gpu=0", "resources.accelerator=A100"],
            WorkerNodes(),
            "8 trials at once (its CPUs: 8). Give its pod a nodeSelector",
        ),
    ],
)
def test_a_filled_kuberay_says_how_many_trials_a_worker_runs(settings, workers, told):
    text = fill_recipe(
        "kuberay",
        "cluster",
        ["data.root=/shared/x", *settings],
        root="s3://bucket/studies",
        image=IMAGE,
        workers=workers,
    )
    assert told in text.splitlines()[0]


def test_a_filled_launcher_says_how_its_study_is_submitted(tmp_path):
    mine = tmp_path / "mine.yaml"
    mine.write_text("training: {epochs: 7}\ndata: {source: folder}\n")
    overrides = ["data.root=s3://bucket/images", "search.also={training.stain_jitter: [0, 0.2]}"]
    text = fill_recipe(
        "launcher-aws", str(mine), overrides, root="s3://bucket/studies", image=IMAGE, workers=WorkerNodes(9)
    )
    filled = yaml.safe_load(text)
    assert filled["cluster_name"] == "mine"
    assert filled["max_workers"] == filled["available_node_types"]["worker"]["min_workers"] == 9
    assert filled["docker"]["image"] == IMAGE
    (line,) = [line for line in text.splitlines() if "wbc-study submit" in line]
    asked = parse(line[line.index("wbc-study") :])
    assert asked["root"] == "s3://bucket/studies"
    submitted = load_config(asked["config"], asked["overrides"], asked["name"])
    assert submitted == load_config(str(mine), overrides)


@pytest.mark.parametrize(
    ("recipe", "overrides", "others", "message"),
    [
        ("nomad", [], {}, "'nomad': no such recipe. There are kuberay and launcher-aws"),
        ("kuberay", [], {"root": "studies"}, "--root studies: expected s3://"),
        ("kuberay", [], {"root": "/tmp/studies"}, "--root /tmp/studies: expected below /shared, where the pods mount"),
        ("kuberay", [], {"root": "/shared/../tmp"}, "--root /shared/../tmp: expected below /shared"),
        ("kuberay", ["data.root=/home/ann"], {}, "data.root /home/ann: expected below /shared"),
        ("kuberay", ["pretrain.cam16.weights=/w.pth"], {}, "pretrain.cam16.weights /w.pth: expected below"),
        ("kuberay", ["arms.networks={resnet18: /r.pth}"], {}, "arms.networks.resnet18 /r.pth: expected below"),
        ("kuberay", ["data.root=images"], {}, "data.root: images: expected absolute paths"),
        ("kuberay", ["search.storage=postgresql://u:secret@h/d"], {}, "found a password in it"),
        ("kuberay", ["data.root=s3://KEY:secret@b/images"], {}, "found an address with @"),
        ("kuberay", ["resources.gpu=2"], {}, "the recipe's workers (--cpus, --gpus): a trial reserves 1 CPU and 2 GPU"),
        ("kuberay", ["resources.cpu=16"], {}, "nodes have 8 CPU, 1 GPU"),
        (
            "kuberay",
            ["resources.gpu=0", "resources.pretraining_gpu=1"],
            {"workers": WorkerNodes(gpus=0)},
            "nodes have 8 CPU, 0 GPU",
        ),
        ("launcher-aws", [], {"root": "/shared/studies"}, "--root /shared/studies: expected below s3://"),
        ("launcher-aws", [], {"workers": WorkerNodes(2, cpus=4)}, "names kinds of machine instead"),
    ],
)
def test_what_would_not_work_there_is_refused(recipe, overrides, others, message):
    given = {"root": "s3://bucket/studies", "image": IMAGE} | others
    with pytest.raises(UsageError) as refused:
        fill_recipe(recipe, "cluster", ["data.root=s3://bucket/images", *overrides], **given)
    assert message in str(refused.value) and "secret" not in str(refused.value)


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
            for command in re.findall(r"wbc-study [a-z][^`|>]*", line.partition(" --from-env")[0]):
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
