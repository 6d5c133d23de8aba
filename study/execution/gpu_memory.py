"""How much GPU memory the trials of a study need: measured once for each kind of GPU, with the trials themselves."""

from __future__ import annotations

from typing import TYPE_CHECKING

from analysis.records.schema import Phase
from study.design.arms import list_arms
from study.design.points import Point
from study.design.trials import TrialSpec
from study.errors import StudyFailed
from study.execution.capacity import Reservation, accelerators, gpu_share

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from study.config.study import StudyConfig
    from study.design.arms import Arm

_STEPS = 3
"""Gradient steps before the first validation: the optimiser's state and the largest batch are there after two."""


def measure_share(
    config: StudyConfig, location: str, fingerprint: str, nodes: Sequence[Mapping[str, float]]
) -> float | None:
    """Part of a GPU that a trial needs on the smallest of the cluster's kinds of GPU; None where that cannot be measured.

    Args:
        config: The study's configuration.
        location: Location of its run directory.
        fingerprint: Fingerprint of its blood-cell images.
        nodes: Resources of the cluster's nodes.

    Raises:
        StudyFailed: not even one trial can be trained on a GPU.
    """
    import ray

    kinds = [config.resources.accelerator] if config.resources.accelerator else accelerators(nodes)
    tasks = []
    for kind in kinds:
        reservation = Reservation(config.resources.cpu, 1.0, kind)
        if any(reservation.slots_on(node) for node in nodes):
            # A node that is lost meanwhile is no reason to fail: another measures.
            tasks.append(
                ray.remote(max_retries=5, **reservation.as_task())(measure_peak).remote(config, location, fingerprint)
            )
    try:
        found = [each for each in ray.get(tasks) if each is not None]
    except ray.exceptions.RayTaskError as error:
        raise StudyFailed(
            f"the first steps of a trial failed on a GPU ({str(error.cause).strip()}). Where its memory is too small, lower"
            " training.batch_size or data.image_size, or name another kind of GPU in resources.accelerator"
        ) from error
    return max(gpu_share(*each) for each in found) if found else None


def measure_peak(config: StudyConfig, location: str, fingerprint: str) -> tuple[int, int] | None:
    """Train each kind of arm for a few steps and one validation on this process's GPU.

    Returns:
        Bytes that the most demanding one reserved, and the GPU's memory; None where torch sees no GPU.
    """
    import torch

    if not torch.cuda.is_available():
        return None
    from study.storage.run_directory import RunDirectory
    from study.training.inputs import open_inputs
    from study.training.run import TrainingRun

    directory = RunDirectory(location)
    directory.fetch_below(directory.pretrained)
    short = config.model_copy(update={"training": config.training.model_copy(update={"steps_per_epoch": _STEPS})})
    batches, features, device = open_inputs(short, directory.folder, fingerprint)
    for spec in probes(config):
        run = TrainingRun(short, spec, batches, features, device)
        run.train_epoch()
        del run
    return int(torch.cuda.max_memory_reserved()), int(torch.cuda.get_device_properties(0).total_memory)


def probes(config: StudyConfig) -> list[TrialSpec]:
    """One trial of every kind of network that the arms train, at the largest fraction."""
    kinds: dict[tuple[object, ...], Arm] = {}
    for arm in sorted(list_arms(config), key=lambda arm: arm.fraction):
        kinds[arm.classifier, arm.fusion, arm.encoders, arm.segmentation, arm.control == "published"] = arm
    point = Point(config.search.learning_rate[0], config.search.weight_decay[0])
    return [TrialSpec.at(Phase.SEARCH, arm, 0, config.seed, point) for arm in kinds.values()]
