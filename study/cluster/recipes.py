"""A recipe of `study/cluster/deploy/` filled in for one study, so that cluster and configuration cannot disagree."""

from __future__ import annotations

import hashlib
import json
import posixpath
import re
import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any

import yaml

from analysis.records.object_store import is_remote
from study.cluster.packing import check_travels
from study.config.changes import flatten
from study.config.files import dump_config, load_config
from study.errors import UsageError
from study.execution.capacity import Reservation, check_satisfiable, trial_reservation

if TYPE_CHECKING:
    from study.config.study import ResourcesConfig, StudyConfig

_DEPLOY = Path(__file__).parent / "deploy"
KUBERAY, AWS = RECIPES = ("kuberay", "launcher-aws")
"""Recipes that can be filled in. SLURM's takes a study on its command line; machines of one's own get their studies as jobs."""

_SHARED, _CONFIG = "/shared", "/study/study.yaml"
"""Paths in the pods of `kuberay.yaml`."""
_GPU = "nvidia.com/gpu"
_LONGEST_NAME = 40
"""Characters: an operator refuses a RayJob with more than 47, and adds its own."""


@dataclass(frozen=True)
class WorkerNodes:
    """Nodes beside the head. None: as the recipe has it."""

    number: int | None = None
    """Number of nodes."""
    cpus: int | None = None
    """CPU cores of each node."""
    gpus: int | None = None
    """GPUs of each node."""
    memory: str | None = None
    """Memory of each node as Kubernetes writes it, such as 32Gi."""


def fill_recipe(
    recipe: str,
    preset_or_file: str,
    overrides: Sequence[str] = (),
    *,
    root: str,
    image: str,
    name: str | None = None,
    workers: WorkerNodes | None = None,
) -> str:
    """A recipe for one study.

    Args:
        recipe: One of `RECIPES`.
        preset_or_file: Configuration of the study, as `study.config.files.load_config` takes it.
        overrides: Settings that replace those of the configuration, such as ``search.trials_per_arm=8``.
        root: Where studies are written: a folder of the nodes, or an address in an object store.
        image: Container image of the nodes.
        name: Name of the study; that of the preset or file when None.
        workers: Nodes beside the head.

    Returns:
        The recipe with a comment that says how to use it; for KubeRay with the configuration. What else can be changed stands
        at its top.

    Raises:
        UsageError: there is no such recipe, a path of the study is not one that the nodes share, or no worker can run a trial.
    """
    if recipe not in RECIPES:
        raise UsageError(
            f"{recipe!r}: no such recipe. There are {' and '.join(RECIPES)}; study/cluster/deploy/ has more, to be edited"
        )
    config = load_config(preset_or_file, overrides, name)
    check_travels(config, root)
    workers = workers or WorkerNodes()
    if recipe == KUBERAY:
        return _fill_kuberay(config, root, image, workers)
    # A file's study has its name from where it lies, which the job must not lose.
    given = [preset_or_file, "--name", config.name, *(part for each in overrides for part in ("--set", each))]
    return _fill_aws(config, root, image, workers, given)


def _fill_kuberay(config: StudyConfig, root: str, image: str, workers: WorkerNodes) -> str:
    """The configuration as a ConfigMap and a RayJob that runs it.

    Raises:
        UsageError: a path is not below the folder that the pods share, or no worker can run a trial.
    """
    _check_shared(config, root, f"{_SHARED}, where the pods mount the volume claim, or in s3://", folder=_SHARED)
    name, settings = _dns_name(config.name), dump_config(config)
    # A job that runs keeps its own, whatever is applied meanwhile.
    settings_name = f"{name}-{hashlib.sha256(settings.encode()).hexdigest()[:8]}"
    run = ["wbc-study", "run", _CONFIG, "--root", root, "--address", "auto"]
    values = {
        "  name": name,
        "wbc-study/image": image,
        "wbc-study/configuration": settings_name,
        "entrypoint": shlex.join(run),
        **_kuberay_workers(workers),
    }
    text = _substitute((_DEPLOY / f"{KUBERAY}.yaml").read_text(), values)
    fitting = _describe_fit(config.resources, _resources_of_worker(text))
    settings_map = {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {"name": settings_name},
        "immutable": True,
        "data": {PurePosixPath(_CONFIG).name: settings},
    }
    usage = [
        f"The study {config.name} on Kubernetes. {fitting}",
        "Run it, or continue it after anything that ended it:",
        f"  kubectl delete rayjob {name} --ignore-not-found && kubectl apply -f FILE",
        f"Stop it: kubectl delete rayjob {name}",
    ]
    return (
        _comment(usage) + yaml.dump(settings_map, Dumper=_Plain, sort_keys=False, allow_unicode=True) + f"---\n{text}"
    )


def _kuberay_workers(workers: WorkerNodes) -> dict[str, Any]:
    """Key of the recipe -> value, for what is given of the nodes."""
    values: dict[str, Any] = {}
    for key, value in (("gpus", workers.gpus), ("cpus", workers.cpus), ("memory", workers.memory)):
        if value not in (None, ""):
            values[f"wbc-study/worker-{key}"] = str(value)
    if workers.number is not None:
        values |= {"replicas": workers.number, "maxReplicas": max(64, workers.number)}
    return values


def _resources_of_worker(ray_job: str) -> dict[str, float]:
    """What one worker offers, in Ray's words, by a RayJob as Kubernetes will read it."""
    (group,) = yaml.safe_load(ray_job)["spec"]["rayClusterSpec"]["workerGroupSpecs"]
    (container,) = group["template"]["spec"]["containers"]
    limits = container["resources"]["limits"]
    return {"CPU": int(limits["cpu"]), "GPU": int(limits[_GPU])}


def _fill_aws(config: StudyConfig, root: str, image: str, workers: WorkerNodes, given: Sequence[str]) -> str:
    """A file for Ray's launcher; its comment says how the study is submitted, with the arguments `given`.

    Raises:
        UsageError: a path is not in an object store, or the nodes are described by more than their number.
    """
    if workers != WorkerNodes(workers.number):
        raise UsageError(f"--cpus, --gpus, --memory: {AWS} names kinds of machine instead; change them at its top")
    _check_shared(config, root, "s3://, because the machines share no folder")
    values: dict[str, Any] = {"cluster_name": _dns_name(config.name), "  image": image}
    if workers.number is not None:
        values["workers"] = workers.number
    submit = ["wbc-study", "submit", *given, "--address", "http://127.0.0.1:8265", "--root", root]
    resources = config.resources
    gpus = "such a part of a GPU as its memory allows" if isinstance(resources.gpu, str) else f"{resources.gpu:g} GPU"
    kind = f" of the kind {resources.accelerator}" if resources.accelerator else ""
    usage = [
        f"The study {config.name} on AWS. A trial takes {resources.cpu} CPU and {gpus}{kind}: choose the kind of worker by it.",
        "  ray get-auth-token --generate     # once: ~/.ray/auth_token",
        "  ray up FILE",
        "  ray exec FILE 'ray status'        # until the workers are there",
        "  ray dashboard FILE                # in another terminal",
        f"  RAY_AUTH_MODE=token {shlex.join(submit)}",
        "  ray down FILE                     # ends the machines, and the bill",
    ]
    return _comment(usage) + _substitute((_DEPLOY / f"{AWS}.yaml").read_text(), values)


def _check_shared(config: StudyConfig, root: str, expected: str, folder: str = "") -> None:
    """Refuse paths that the nodes do not share: what is written there would be lost, what is read there not found.

    Raises:
        UsageError: with the settings.
    """
    settings = flatten(config.model_dump())
    paths = {"--root": root} | {key: str(value) for key, value in settings.items() if isinstance(value, Path)}
    wrong = [
        f"{key} {path}"
        for key, path in paths.items()
        if not is_remote(path)
        and not (folder and PurePosixPath(posixpath.normpath(path)).is_relative_to(folder))
        # Each node has one of its own.
        and key != "data.cache_dir"
    ]
    if wrong:
        raise UsageError(f"{'; '.join(wrong)}: expected below {expected}")


def _describe_fit(resources: ResourcesConfig, worker: Mapping[str, float]) -> str:
    """How many trials a worker runs at once.

    Raises:
        UsageError: none, or it cannot pretrain as configured.
    """
    trial = trial_reservation(resources.model_copy(update={"accelerator": None}), [worker])
    wanted = [trial]
    if not isinstance(resources.pretraining_gpu, str):
        wanted.append(Reservation(resources.cpu, float(resources.pretraining_gpu)))
    for each in wanted:
        try:
            check_satisfiable(each, [worker])
        except UsageError as error:
            raise UsageError(f"the recipe's workers (--cpus, --gpus): {error}") from error
    if isinstance(resources.gpu, str) and worker["GPU"]:
        most = int(worker["CPU"] // resources.cpu)
        told = f"A worker runs as many trials at once as its GPU memory holds, at most {most}"
    else:
        told = f"A worker runs {trial.slots_on(worker)} trials at once"
    kind = f" Give its pod a nodeSelector for {resources.accelerator}." if resources.accelerator else ""
    return f"{told} (its CPUs: {worker['CPU']:g}).{kind}"


def _substitute(template: str, values: Mapping[str, Any]) -> str:
    """A YAML text with other values at some keys; anchors and comments stay.

    Args:
        template: Each key stands once in it, with its value on the same line.
        values: Key, with the indentation where it alone is not unique -> text or number.
    """
    for key, value in values.items():
        line = re.compile(rf"^(\s*{re.escape(key)}: (?:&\w+ )?)\S.*?((?: +#.*)?)$", re.MULTILINE)
        found = line.search(template)
        if found is None:
            raise ValueError(f"the recipe has no {key!r}")
        plain = str(value)
        written = plain if yaml.safe_load(plain) == value else json.dumps(value)
        template = f"{template[: found.start()]}{found[1]}{written}{found[2]}{template[found.end() :]}"
    return template


def _comment(lines: Sequence[str]) -> str:
    """Lines as a comment of YAML; a name with line breaks in it stays in the comment."""
    return "".join(f"# {each}\n" for line in lines for each in line.splitlines())


def _dns_name(name: str) -> str:
    """A study's name as Kubernetes and clouds take it; different ones stay different."""
    plain = re.sub(r"[^a-z0-9]+", "-", name.lower()).strip("-")
    plain = plain if plain[:1].isalpha() else f"study-{plain}".strip("-")
    if plain == name and len(plain) <= _LONGEST_NAME:
        return plain
    digest = hashlib.sha256(name.encode()).hexdigest()[:6]
    return f"{plain[: _LONGEST_NAME - len(digest) - 1].strip('-')}-{digest}"


class _Plain(yaml.SafeDumper):
    """Long texts line by line."""


def _represent_text(dumper: yaml.SafeDumper, text: str) -> yaml.ScalarNode:
    return dumper.represent_scalar("tag:yaml.org,2002:str", text, style="|" if "\n" in text else None)


_Plain.add_representer(str, _represent_text)
