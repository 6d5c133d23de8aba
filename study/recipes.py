"""A recipe of `study/deploy/` filled in for one study, so that cluster and configuration cannot disagree."""

from __future__ import annotations

import math
import re
import shlex
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml

from study.configuration import dump_config, load_config
from study.errors import UsageError
from study.jobs import check_travels

if TYPE_CHECKING:
    from collections.abc import Sequence

    from study.config import ResourcesConfig, StudyConfig

_DEPLOY = Path(__file__).parent / "deploy"
_KUBERAY = "kuberay"
_ON_PREMISE = "launcher-on-premise"
_AWS = "launcher-aws"
RECIPES = (_KUBERAY, _AWS, _ON_PREMISE)
"""Recipes that can be filled in; SLURM's takes a study on its command line."""

_CONFIG_FOLDER = "/study"
_CONFIG = "study.yaml"
_GPU = "nvidia.com/gpu"
_DASHBOARD = "http://127.0.0.1:8265"
_LONGEST_NAME = 47
"""Characters of a RayJob's name, to which the operator adds its own."""


def fill_recipe(
    recipe: str,
    preset_or_file: str,
    overrides: Sequence[str] = (),
    *,
    root: str,
    name: str | None = None,
    image: str | None = None,
    workers: int | None = None,
) -> str:
    """A recipe for one study.

    Args:
        recipe: One of `RECIPES`.
        preset_or_file: Of the study, as `study.configuration.load_config` takes it; `overrides` and `name` likewise.
        overrides: Settings.
        root: Where studies are written: a folder that all nodes share, or an address in an object store.
        name: Of the study.
        image: Container image of the nodes; the template's without it.
        workers: Nodes beside the head; the template's number without it.

    Returns:
        YAML with a comment that says how to use it. For KubeRay it holds the configuration too.

    Raises:
        UsageError: there is no such recipe, it does not take an image or workers, or the configuration or root means nothing
            on another machine.
    """
    if recipe not in RECIPES:
        raise UsageError(f"{recipe!r}: no such recipe. There are {', '.join(RECIPES)}")
    if recipe == _ON_PREMISE and (image, workers) != (None, None):
        raise UsageError(f"{_ON_PREMISE}: its machines are named in its worker_ips, and run without an image")
    config = load_config(preset_or_file, overrides, name)
    check_travels(config, root)
    template = yaml.safe_load((_DEPLOY / f"{recipe}.yaml").read_text())
    if recipe == _KUBERAY:
        documents = _kuberay(template, config, root, image, workers)
        usage = ["  kubectl apply -f FILE"]
    else:
        documents = [_launcher(template, config, image, workers)]
        # Without a name of its own a study has that of its file, which the job must not lose.
        study = [preset_or_file, "--name", config.name, *(part for each in overrides for part in ("--set", each))]
        submit = ["wbc-study", "submit", *study, "--address", _DASHBOARD, "--root", root]
        usage = ["  ray up FILE", "  ray dashboard FILE", f"  RAY_AUTH_MODE=token {shlex.join(submit)}"]
    heading = [f"The study {config.name}, from {recipe}.yaml. {_still_to_change(recipe)}", *usage]
    return "".join(f"# {line}\n" for line in heading) + yaml.dump_all(
        documents, Dumper=_Plain, sort_keys=False, allow_unicode=True, width=120
    )


def _still_to_change(recipe: str) -> str:
    return {
        _KUBERAY: "Look at the volume claim, the image and the workers' CPUs and memory; then:",
        _AWS: "Look at the region, the image, the role and the kinds of machine; then:",
        _ON_PREMISE: "Look at the addresses of the machines, the user and the paths; then:",
    }[recipe]


def _launcher(template: dict[str, Any], config: StudyConfig, image: str | None, workers: int | None) -> dict[str, Any]:
    template["cluster_name"] = _dns_name(config.name)
    if image is not None:
        template["docker"]["image"] = image
    if workers is not None:
        template["max_workers"] = workers
        template["available_node_types"]["worker"] |= {"min_workers": workers, "max_workers": workers}
    template.pop("metadata", None)  # it held what stands in its places now
    return template


def _kuberay(
    template: dict[str, Any], config: StudyConfig, root: str, image: str | None, workers: int | None
) -> list[dict[str, Any]]:
    name = _dns_name(config.name)
    template["metadata"] = {"name": name}
    run = ["wbc-study", "run", f"{_CONFIG_FOLDER}/{_CONFIG}", "--root", root, "--address", "auto"]
    template["spec"]["entrypoint"] = shlex.join(run)
    cluster = template["spec"]["rayClusterSpec"]
    (group,) = cluster["workerGroupSpecs"]
    if workers is not None:
        group["replicas"] = workers
        group["maxReplicas"] = max(workers, group["maxReplicas"])
    pods = [group["template"]["spec"], cluster["headGroupSpec"]["template"]["spec"]]
    for pod in pods:
        (container,) = pod["containers"]
        container["image"] = image or container["image"]
    (worker,) = pods[0]["containers"]
    worker["resources"] = _worker_resources(worker["resources"]["limits"], config.resources)
    # Only the head reads the configuration.
    (head,) = pods[1]["containers"]
    head["volumeMounts"] = [*head["volumeMounts"], {"name": "study", "mountPath": _CONFIG_FOLDER, "readOnly": True}]
    pods[1]["volumes"] = [*pods[1]["volumes"], {"name": "study", "configMap": {"name": name}}]
    settings = {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {"name": name},
        "data": {_CONFIG: dump_config(config)},
    }
    return [settings, template]


def _worker_resources(limits: dict[str, str], resources: ResourcesConfig) -> dict[str, dict[str, str]]:
    """What a worker pod asks for: no less than one trial needs, and CPUs for as many trials as its GPUs can take."""
    amounts = dict(limits)
    cpus, gpus = int(limits["cpu"]), int(limits[_GPU])
    share = 1.0 if isinstance(resources.gpu, str) else resources.gpu
    gpus = max(gpus, math.ceil(share)) if share else 0
    together = gpus * int(1 / share + 1e-9) if 0 < share <= 1 else 1
    cpus = max(cpus, resources.cpu * together)
    amounts |= {"cpu": str(cpus), _GPU: str(gpus)}
    if not gpus:
        del amounts[_GPU]
    return {"requests": amounts, "limits": amounts}


def _dns_name(name: str) -> str:
    """A study's name as Kubernetes and clouds take it."""
    return re.sub(r"[^a-z0-9]+", "-", name.lower()).strip("-")[:_LONGEST_NAME].strip("-") or "study"


class _Plain(yaml.SafeDumper):
    """Every value in its place, without references between them; long texts line by line."""

    def ignore_aliases(self, data: Any) -> bool:  # noqa: ARG002 - PyYAML's signature
        return True


def _represent_text(dumper: yaml.SafeDumper, text: str) -> yaml.ScalarNode:
    return dumper.represent_scalar("tag:yaml.org,2002:str", text, style="|" if "\n" in text else None)


_Plain.add_representer(str, _represent_text)
