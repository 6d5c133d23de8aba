"""What fits on a cluster."""

import pytest

from study.config.study import ResourcesConfig
from study.errors import UsageError
from study.execution.capacity import (
    ElasticSlots,
    Reservation,
    accelerators,
    check_satisfiable,
    count_slots,
    encoder_reservation,
    gpu_share,
    trial_reservation,
)

HEAD = {"CPU": 4.0, "node:10.0.0.1": 1.0}
SMALL = {"CPU": 8.0, "GPU": 2.0, "accelerator_type:T4": 1.0}
LARGE = {"CPU": 32.0, "GPU": 4.0, "accelerator_type:A100": 1.0}


@pytest.mark.parametrize(
    ("reservation", "node", "slots"),
    [
        (Reservation(1), HEAD, 4),
        (Reservation(3), HEAD, 1),
        (Reservation(1, 0.25), HEAD, 0),
        (Reservation(1, 0.25), SMALL, 8),
        (Reservation(2, 0.25), SMALL, 4),
        (Reservation(1, 0.4), SMALL, 4),  # two on each GPU, not five on two
        (Reservation(1, 0.3333), LARGE, 12),
        (Reservation(1, 2), LARGE, 2),
        (Reservation(1, 1, "A100"), SMALL, 0),
        (Reservation(1, 1, "A100"), LARGE, 4),
    ],
)
def test_slots_of_a_node_are_bounded_by_cores_gpus_and_kind(reservation, node, slots):
    assert reservation.slots_on(node) == slots


def test_slots_of_a_cluster_are_those_of_its_nodes_up_to_the_configured_number():
    nodes = [HEAD, SMALL, LARGE]
    assert count_slots(Reservation(1, 0.25), nodes, "auto") == 8 + 16
    assert count_slots(Reservation(1, 0.25), nodes, 5) == 5
    assert count_slots(Reservation(1), nodes, "auto") == 44


def test_a_trial_reserves_what_is_configured_or_what_was_measured():
    nodes = [HEAD, LARGE]
    assert trial_reservation(ResourcesConfig(gpu=0.5), nodes, 0.2) == Reservation(1, 0.5)
    assert trial_reservation(ResourcesConfig(), nodes) == Reservation(1, 1.0)
    assert trial_reservation(ResourcesConfig(cpu=2), nodes, 0.2) == Reservation(2, 0.2)
    assert trial_reservation(ResourcesConfig(), [HEAD], 0.2) == Reservation(1, 0.0)
    assert trial_reservation(ResourcesConfig(accelerator="A100"), nodes).as_tune() == {
        "cpu": 1,
        "gpu": 1.0,
        "accelerator_type:A100": 0.001,
    }


def test_pretraining_waits_for_no_gpu_that_is_not_there():
    assert encoder_reservation(ResourcesConfig(gpu=0.5), [HEAD, SMALL]) == Reservation(1, 0.5)
    assert encoder_reservation(ResourcesConfig(gpu=0.5), [HEAD]) == Reservation(1)
    assert encoder_reservation(ResourcesConfig(gpu=0.5, pretraining_gpu=0), [HEAD, SMALL]) == Reservation(1)
    assert encoder_reservation(ResourcesConfig(pretraining_gpu=1), [HEAD, SMALL]).as_task() == {
        "num_cpus": 1,
        "num_gpus": 1.0,
        "resources": {},
    }


def test_what_no_node_can_run_is_refused_with_what_they_have():
    check_satisfiable(Reservation(8, 1), [HEAD, LARGE])
    with pytest.raises(UsageError) as refused:
        check_satisfiable(Reservation(9, 1, "H100"), [HEAD, SMALL])
    assert "9 CPU and 1 GPU (H100)" in str(refused.value)
    assert "nodes have 4 CPU, 0 GPU; 8 CPU, 2 GPU (T4)" in str(refused.value)


def test_kinds_of_gpu_are_found():
    assert accelerators([HEAD, SMALL, LARGE, {"CPU": 1, "GPU": 1}]) == ["A100", None, "T4"]
    assert accelerators([HEAD]) == []


@pytest.mark.parametrize(
    ("peak", "total", "share"),
    [
        (2 * 2**30, 80 * 2**30, 0.037),  # 27 of 2.6 GiB in 72 GiB
        (10 * 2**30, 24 * 2**30, 0.5),
        (20 * 2**30, 24 * 2**30, 1.0),
        (40 * 2**30, 24 * 2**30, 1.0),
    ],
)
def test_as_many_trials_share_a_gpu_as_its_memory_holds(peak, total, share):
    assert gpu_share(peak, total) == pytest.approx(share, abs=1e-4)
    together = int(1 / gpu_share(peak, total) + 1e-9)
    assert together == 1 or together * (peak + 600 * 2**20) <= 0.9 * total


def test_slots_are_counted_anew_and_an_empty_cluster_is_told_once(monkeypatch):
    nodes, now, said = [SMALL], [0.0], []
    monkeypatch.setattr("study.execution.capacity.nodes_now", lambda: nodes)
    monkeypatch.setattr("study.execution.capacity.time.monotonic", lambda: now[0])
    slots = ElasticSlots(Reservation(1, 0.25), "auto", said.append)
    assert slots() == 8
    nodes.append(LARGE)
    assert slots() == 8, "not asked of Ray at every call"
    now[0] = 3.0
    assert slots() == 24
    nodes.clear()
    for now[0] in (6.0, 9.0):
        assert slots() == 0
    assert len(said) == 1 and "Waiting for one to join" in said[0]
