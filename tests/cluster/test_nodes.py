"""A study on three nodes, of which one is lost and a fourth joins; the storage that they share is an object store alone."""

from __future__ import annotations

import subprocess
import threading
import time
import warnings
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Self, TypeVar

import pandas as pd
import psutil
import pytest

from analysis.records.object_store import ObjectStore
from analysis.records.schema import TABLES
from analysis.records.segments import read_segments
from study.config.files import load_config
from study.pipeline.run import run_study
from tests.cluster.nodes import Cluster, Node, why_no_namespaces
from tests.study.object_storage import BUCKET, FaultyProxy, environment, running_store
from tests.study.record_content import content, newest_trials, report_tables
from tests.study.tiny import command, invoke, write_tiny

pytestmark = [pytest.mark.cluster, pytest.mark.slow, pytest.mark.timeout(2400)]

Seen = TypeVar("Seen")

TRIAL = "ResourceTrainable"  # Tune's wrapping of what trains a trial
EPOCHS = 6
WORK = {
    "training": {"epochs": EPOCHS},
    "search": {
        "mode": "grid",
        "grid_learning_rate": [0.001, 0.002, 0.003],
    },
    "confirm": {"seeds": 1},
    "data": {"cache_dir": None},
}
"""12 trials of the search: more than may run at once."""


@pytest.fixture
def cluster() -> Iterator[tuple[Cluster, FaultyProxy]]:
    reason = why_no_namespaces()
    if reason:
        warnings.warn(f"the nodes share this machine's loopback and disk: {reason}", stacklevel=1)
    with Cluster(isolated=not reason) as cluster, running_store(cluster.host) as store:
        cluster.variables |= environment(store, cluster.host)
        cluster.add("head", cpus=2)
        for name in ("first", "second"):
            cluster.add(name, cpus=2, gpus=1)
        yield cluster, store


class Watched:
    """A submitted study: what it prints, and how many of its trials run on which node."""

    def __init__(self, nodes: Cluster, command: Sequence[str]):
        self.nodes = nodes
        self.most = 0
        """Trials at once, in all that was seen."""
        self._printed: list[str] = []
        self._job = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
        self._reader = threading.Thread(target=lambda: self._printed.extend(self._job.stdout or ()))
        self._reader.start()
        self._frozen: dict[psutil.Process, str] = {}

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.thaw()
        self._job.kill()
        self._job.wait()
        self._reader.join()

    def look(self) -> Counter[str]:
        """Trials by the node that runs them."""
        return Counter(name for name, _ in self._trials())

    def freeze(self, *nodes: Node) -> Counter[str]:
        """Stop the clock of the trials that run on some nodes, so that what comes next meets them in the middle.

        Returns:
            How many stand still on each.
        """
        trials = self._trials()
        for node in nodes:
            for process in node.processes({number for name, number in trials if name == node.name}):
                with suppress(psutil.NoSuchProcess):
                    process.suspend()
                    self._frozen[process] = node.name
        return Counter(name for process, name in self._frozen.items() if process.is_running())

    def thaw(self) -> None:
        """Let them go on."""
        for process in self._frozen:
            with suppress(psutil.NoSuchProcess):
                process.resume()
        self._frozen.clear()

    def until(self, seen: Callable[[], Seen]) -> Seen:
        """Wait for something, while the study runs."""
        while not (found := seen()):
            assert self._job.poll() is None, f"the study has ended: {''.join(self._printed)}"
            time.sleep(0.2)
        return found

    def finish(self) -> None:
        """Look on until the study has ended well."""
        while self._job.poll() is None:
            self.look()
            time.sleep(0.5)
        self._reader.join()
        assert self._job.returncode == 0, "".join(self._printed)

    def _trials(self) -> list[tuple[str, int]]:
        """Node and process of every trial on a node that lives."""
        known = {each["node_id"]: each["node_name"] for each in self.nodes.ask("nodes", state="ALIVE")}
        trials = [
            (known[each["node_id"]], each["pid"])
            for each in self.nodes.ask("actors", state="ALIVE")
            if TRIAL in each["class_name"] and each["node_id"] in known
        ]
        self.most = max(self.most, len(trials))
        return trials


def in_the_middle(records: Path) -> dict[str, str]:
    """Hosts of the trials that have reported an epoch and have at least two before them: one more may be on its way."""
    reported = Counter(read_segments(records / "epochs", TABLES["epochs"])["trial_id"])
    return {trial: host for trial, host in hosts_of(records, "running").items() if 1 <= reported[trial] <= EPOCHS - 2}


def hosts_of(records: Path, status: str) -> dict[str, str]:
    """Host of each trial whose newest row has this status."""
    newest = newest_trials(records)
    found = newest[newest["status"] == status]
    return dict(zip(found["trial_id"], found["host"], strict=True))


def test_nodes_are_lost_and_join_and_the_tables_stay_those_of_one_node(cluster, tmp_path, monkeypatch, ray_here):
    nodes, store = cluster
    _, first, second = nodes.nodes
    for name, value in environment(store, nodes.host).items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("WBC_STUDY_CACHE", str(tmp_path / "cache"))
    url = f"s3://{BUCKET}/{tmp_path.name}"
    config = write_tiny(tmp_path, **WORK)
    shared = ("--set", "resources.gpu=0.5", "--set", "resources.pretraining_gpu=0")
    records = ObjectStore(f"{url}/tiny/records")

    def lost() -> set[str]:
        """Trials that the second node (any, where all have one name) stands still in the middle of."""
        study.freeze(first, second)
        records.download_tree(tmp_path / "seen")
        hosts = in_the_middle(tmp_path / "seen")
        found = {trial for trial, host in hosts.items() if host == "second" or not nodes.isolated}
        if not found:
            study.thaw()
        return found

    with Watched(nodes, command("submit", config, *shared, "--address", nodes.dashboard, "--root", url)) as study:
        # None may end before all are there: a machine of two cores needs longer to start four than to train one.
        study.until(lambda: study.freeze(first, second) == {"first": 2, "second": 2})
        study.thaw()
        begun = study.until(lost)
        second.kill()
        study.until(lambda: "second" not in [each["node_name"] for each in nodes.ask("nodes", state="ALIVE")])
        nodes.add("third", cpus=2, gpus=1)
        # What the lost node had begun waits, because the other is full until its trials go on.
        study.until(lambda: bool(study.freeze(first)) and study.look()["third"] > 0)
        study.thaw()
        study.finish()
        assert study.most == 4

    run_study(load_config(str(config)), tmp_path / "alone")
    invoke("fetch", "tiny", "--root", url, "--out", tmp_path / "tiny")
    alone = tmp_path / "alone" / "tiny"
    if nodes.isolated:
        hosts = hosts_of(tmp_path / "tiny" / "records", "completed")
        assert "second" not in {hosts[trial] for trial in begun}
        assert "third" in hosts.values()
    for name, table in content(alone).items():
        pd.testing.assert_frame_equal(content(tmp_path / "tiny")[name], table)
    assert report_tables(tmp_path / "tiny") == report_tables(alone)
