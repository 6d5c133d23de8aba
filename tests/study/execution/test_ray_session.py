"""What starting Ray on this machine tells."""

from __future__ import annotations

from contextlib import nullcontext

import pytest
import ray

from study.execution import ray_session
from study.execution.ray_session import measure_start, ray_version


@pytest.mark.parametrize(
    ("resources", "cpus", "gpus"), [({"CPU": 2.0}, 2, 0), ({"CPU": 8.0, "GPU": 1.0, "memory": 1.0}, 8, 1), ({}, 0, 0)]
)
def test_a_start_is_measured_with_what_it_offers(
    monkeypatch: pytest.MonkeyPatch, resources: dict[str, float], cpus: int, gpus: int
) -> None:
    asked: list[str | None] = []
    monkeypatch.setattr(ray_session, "ray_session", lambda address: nullcontext(asked.append(address)))
    monkeypatch.setattr(ray, "cluster_resources", lambda: resources)
    started = measure_start()
    # On this machine, whatever cluster it belongs to.
    assert asked == [None]
    assert (started.cpus, started.gpus) == (cpus, gpus) and 0 <= started.seconds < 600


def test_the_version_is_that_of_the_package() -> None:
    assert ray_version() == ray.__version__
