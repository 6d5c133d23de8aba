"""What a trial reserves and how many of them fit on a cluster whose nodes come and go."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from study.errors import UsageError

if TYPE_CHECKING:
    from study.config.study import ResourcesConfig

_ACCELERATOR = "accelerator_type:"
"""Beginning of the name of the resource by which Ray marks a node's kind of GPU."""

_TINY = 0.001
"""Amount of a marking resource that a trial takes: a node has 1."""

_USABLE = 0.9
"""Share of a GPU's memory that trials may fill: fragments and libraries take some."""

_CONTEXT_BYTES = 600 * 2**20
"""What a process holds on a GPU beside its tensors (CUDA's context and cuDNN; an assumption, on the large side)."""

_RECOUNT_SECONDS = 2.0


@dataclass(frozen=True)
class Reservation:
    """What one trial or task takes of a node."""

    cpu: int
    gpu: float = 0.0
    accelerator: str | None = None
    """Kind of GPU in Ray's words, such as ``A100``; any when None."""

    def as_tune(self) -> dict[str, float]:
        """As `ray.tune.with_resources` wants it."""
        return {"cpu": self.cpu, "gpu": self.gpu, **self._markers()}

    def as_task(self) -> dict[str, Any]:
        """As options of a Ray task."""
        return {"num_cpus": self.cpu, "num_gpus": self.gpu, "resources": self._markers()}

    def _markers(self) -> dict[str, float]:
        return {f"{_ACCELERATOR}{self.accelerator}": _TINY} if self.accelerator and self.gpu else {}

    def slots_on(self, node: Mapping[str, float]) -> int:
        """Number of trials that fit on a node with these resources. Parts of a GPU never lie on two."""
        if any(node.get(marker, 0) < _TINY for marker in self._markers()):
            return 0
        by_cpu = int(node.get("CPU", 0) // self.cpu)
        if self.gpu == 0:
            return by_cpu
        gpus = int(node.get("GPU", 0))
        return min(by_cpu, gpus * int(1 / self.gpu + 1e-9) if self.gpu <= 1 else int(gpus // self.gpu))

    def __str__(self) -> str:
        return f"{self.cpu} CPU and {self.gpu:g} GPU" + (f" ({self.accelerator})" if self.accelerator else "")


def nodes_now() -> list[dict[str, float]]:
    """Resources of every node that is alive."""
    import ray

    return [node["Resources"] for node in ray.nodes() if node["Alive"]]


def trial_reservation(
    resources: ResourcesConfig, nodes: Sequence[Mapping[str, float]], measured: float | None = None
) -> Reservation:
    """What a trial reserves.

    Args:
        resources: As configured.
        nodes: Resources of the cluster's nodes.
        measured: Part of a GPU that a trial needs, when that was measured; `auto` takes it instead of a whole one.
    """
    if not isinstance(resources.gpu, str):
        return Reservation(resources.cpu, float(resources.gpu), resources.accelerator)
    has_gpus = any(node.get("GPU", 0) > 0 for node in nodes)
    return Reservation(resources.cpu, (measured or 1.0) if has_gpus else 0.0, resources.accelerator)


def encoder_reservation(
    resources: ResourcesConfig, nodes: Sequence[Mapping[str, float]], measured: float | None = None
) -> Reservation:
    """What pretraining an encoder reserves: a GPU only where a node has one to give, so that nothing waits for ever."""
    wanted = trial_reservation(resources, nodes, measured)
    if not isinstance(resources.pretraining_gpu, str):
        wanted = Reservation(resources.cpu, float(resources.pretraining_gpu), resources.accelerator)
    return wanted if any(wanted.slots_on(node) for node in nodes) else Reservation(resources.cpu)


def count_slots(reservation: Reservation, nodes: Sequence[Mapping[str, float]], concurrent_trials: int | str) -> int:
    """Trials that run at once.

    Args:
        reservation: What each of them reserves.
        nodes: Resources of the cluster's nodes.
        concurrent_trials: Most trials that run at once, as configured; ``auto`` sets no limit.
    """
    slots = sum(reservation.slots_on(node) for node in nodes)
    return min(slots, concurrent_trials) if isinstance(concurrent_trials, int) and concurrent_trials else slots


def check_satisfiable(reservation: Reservation, nodes: Sequence[Mapping[str, float]]) -> None:
    """Refuse what no node can ever run: it would wait for ever.

    Raises:
        UsageError: with what the nodes have.
    """
    if any(reservation.slots_on(node) for node in nodes):
        return
    has = "; ".join(_describe(node) for node in nodes)
    raise UsageError(
        f"a trial reserves {reservation} (resources.cpu, resources.gpu, resources.accelerator), nodes have {has or 'nothing'}."
        " Lower them, or add a node"
    )


def _describe(node: Mapping[str, float]) -> str:
    kinds = sorted(name.removeprefix(_ACCELERATOR) for name in node if name.startswith(_ACCELERATOR))
    return f"{node.get('CPU', 0):g} CPU, {node.get('GPU', 0):g} GPU" + (f" ({', '.join(kinds)})" if kinds else "")


def accelerators(nodes: Sequence[Mapping[str, float]]) -> list[str | None]:
    """Kinds of GPU on a cluster; None for nodes whose kind Ray does not know."""
    found: set[str | None] = set()
    for node in nodes:
        if node.get("GPU", 0) > 0:
            kinds = [name.removeprefix(_ACCELERATOR) for name in node if name.startswith(_ACCELERATOR)]
            found |= set(kinds) or {None}
    return sorted(found, key=str)


def gpu_share(peak_bytes: int, total_bytes: int) -> float:
    """Part of a GPU that a trial reserves, so that as many run at once as its memory holds.

    Args:
        peak_bytes: Most that a trial's tensors took.
        total_bytes: Memory of the GPU.

    Returns:
        1 / n for n trials; Ray counts ten-thousandths.
    """
    together = max(1, int(_USABLE * total_bytes / (peak_bytes + _CONTEXT_BYTES)))
    return int(10_000 / together) / 10_000


class ElasticSlots:
    """Trials that can run at once, counted anew every two seconds: nodes join and leave."""

    def __init__(self, reservation: Reservation, concurrent_trials: int | str, say: Callable[[str], None]):
        """Count nothing yet.

        Args:
            reservation: What one trial reserves.
            concurrent_trials: Most trials that run at once, as configured; ``auto`` sets no limit.
            say: Told when no node is left that can run a trial.
        """
        self._reservation, self._concurrent_trials, self._say = reservation, concurrent_trials, say
        self._counted = -float("inf")
        self._slots = 1

    def __call__(self) -> int:
        """Number of trials that can run at once."""
        if time.monotonic() - self._counted > _RECOUNT_SECONDS:
            before = self._slots
            self._slots = count_slots(self._reservation, nodes_now(), self._concurrent_trials)
            self._counted = time.monotonic()
            if before and not self._slots:
                self._say(f"No node is left that can run a trial ({self._reservation}). Waiting for one to join.")
        return self._slots
