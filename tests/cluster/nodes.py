"""Ray nodes for tests: daemons with resources of their own and, where namespaces can be made, machines of their own.

Such a machine has its own address, host name, processes and disk. The disk is in memory, at the same path on every node, so that
a path of one node means nothing on another. Without namespaces the nodes are processes that share this machine's loopback.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tempfile
import urllib.request
from collections.abc import Collection
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Self
from urllib.parse import urlencode

import psutil
import pytest

from tests.study.servers import free_port

PROGRAMS = Path(sys.executable).parent
MACHINE = ["unshare", "--pid", "--fork", "--kill-child", "--mount-proc", "--uts", "--ipc"]
"""Runs a command with processes, mounts and a host name of its own. What it leaves behind dies with it."""


_MACHINE = """
hostname "$1" && mount -t tmpfs none "$3" && mount -t tmpfs none /dev/shm || exit
printf '127.0.0.1 localhost\\n%s %s\\n' "$2" "$1" >"$3/hosts" && mount --bind "$3/hosts" /etc/hosts || exit
shift 3
"$@"
exit
"""
"""What the first process of a machine does. The shell stays and takes care of orphans."""


def why_no_namespaces(*, bridge: bool = True) -> str:
    """Why no machines of their own can be made here; empty when they can."""
    if shutil.which("unshare") is None or shutil.which("ip") is None:
        return "unshare or ip is not installed: apt-get install util-linux iproute2"
    trials = [[*MACHINE, "--net", "sh", "-c", "mount -t tmpfs none /mnt && ip link set lo up"]]
    if bridge:
        name = f"wbc{os.getpid()}"
        trials += [["ip", "netns", "add", name], ["ip", "netns", "del", name]]
        trials += [["ip", "link", "add", name, "type", "bridge"], ["ip", "link", "del", name]]
    for trial in trials:
        tried = subprocess.run(trial, capture_output=True, text=True, check=False)
        if tried.returncode:
            return f"`{' '.join(trial)}`: {tried.stderr.strip()}"
    return ""


@dataclass
class Node:
    """One node that runs."""

    name: str
    address: str
    process: subprocess.Popen[bytes]
    output: Path

    def kill(self) -> None:
        """End the node as if its plug were pulled."""
        below = psutil.Process(self.process.pid).children(recursive=True) if self.process.poll() is None else []
        self.process.kill()
        self.process.wait()
        for process in below:
            with suppress(psutil.NoSuchProcess):
                process.kill()
        psutil.wait_procs(below, timeout=30)

    def processes(self, numbers: Collection[int]) -> list[psutil.Process]:
        """Its processes that have these numbers on the node and have not ended."""
        return [each for each in psutil.Process(self.process.pid).children(recursive=True) if _number(each) in numbers]


def _number(process: psutil.Process) -> int | None:
    """The number of a process on its own machine; None when it has ended."""
    try:
        status = Path(f"/proc/{process.pid}/status").read_text()
    except OSError:
        return None
    (line,) = [line for line in status.splitlines() if line.startswith("NSpid:")]
    return int(line.split()[-1])


class Cluster:
    """A head and what joins it. Leaves nothing behind."""

    def __init__(self, variables: dict[str, str] | None = None, *, isolated: bool = False):
        """Make the network, if the nodes shall have one.

        Args:
            variables: Environment of every node beside the usual.
            isolated: Whether nodes are machines of their own; see `why_no_namespaces`.
        """
        self.isolated = isolated
        self.variables = dict(variables or {})
        self.nodes: list[Node] = []
        # Not pytest's folder: the names of Ray's sockets below it would be too long.
        self.folder = Path(tempfile.mkdtemp(prefix="wbc-"))
        self._name = f"wbc{os.getpid()}"
        self._net = f"10.213.{os.getpid() % 250}"
        self.host = f"{self._net}.254" if isolated else "127.0.0.1"
        """Where the nodes reach this machine."""
        self._port, self._dashboard_port = (6379, 8265) if isolated else (free_port(), free_port())
        if isolated:
            _call("ip", "link", "add", self._name, "type", "bridge")
            _call("ip", "addr", "add", f"{self.host}/24", "dev", self._name)
            _call("ip", "link", "set", self._name, "up")

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for node in self.nodes:
            node.kill()
            if error is not None:
                sys.stdout.write(f"--- {node.name}\n{node.output.read_text()}\n")
            if self.isolated:
                subprocess.run(["ip", "netns", "del", f"{self._name}-{node.name}"], check=False)
        if self.isolated:
            subprocess.run(["ip", "link", "del", self._name], check=False)
        shutil.rmtree(self.folder, ignore_errors=True)

    @property
    def dashboard(self) -> str:
        """Address for jobs."""
        return f"http://{self.nodes[0].address}:{self._dashboard_port}"

    def add(self, name: str, *, cpus: int, gpus: int = 0) -> Node:
        """Start a node. The first one is the head; it answers when this returns."""
        address = f"{self._net}.{len(self.nodes) + 1}" if self.isolated else "127.0.0.1"
        disk = self.folder / ("disk" if self.isolated else name)
        disk.mkdir(exist_ok=True)
        start = [str(PROGRAMS / "ray"), "start", "--block", f"--node-ip-address={address}", f"--node-name={name}"]
        start += [f"--num-cpus={cpus}", f"--num-gpus={gpus}", "--object-store-memory=80000000"]
        start += ["--min-worker-port=0", "--max-worker-port=0", f"--dashboard-agent-listen-port={free_port()}"]
        if self.nodes:
            start += [f"--address={self.nodes[0].address}:{self._port}"]
        else:
            start += ["--head", f"--port={self._port}", f"--ray-client-server-port={free_port()}"]
            start += [f"--dashboard-host={address}", f"--dashboard-port={self._dashboard_port}"]
            start += [f"--temp-dir={disk / 'ray'}"]
        output = self.folder / f"{name}.txt"
        with output.open("wb") as written:
            process = subprocess.Popen(
                self._on_machine(name, address, disk, start) if self.isolated else start,
                stdout=written,
                stderr=written,
                env=self._environment(disk),
                cwd="/",
            )
        node = Node(name, address, process, output)
        self.nodes.append(node)
        while len(self.nodes) == 1 and not self.ask("nodes"):
            try:
                pytest.fail(f"{name} ended with {process.wait(timeout=0.2)}: {output.read_text()}")
            except subprocess.TimeoutExpired:
                continue
        return node

    def _environment(self, disk: Path) -> dict[str, str]:
        """Environment of a node: it has nothing of this process but its programs. The project comes with the job."""
        return {
            "PATH": f"{PROGRAMS}:{os.environ['PATH']}",
            "HOME": str(disk),
            "WBC_STUDY_CACHE": str(disk / "cache"),
            "RAY_AUTH_MODE": "disabled",
            "RAY_USAGE_STATS_ENABLED": "0",
            "RAY_worker_niceness": "0",
            # No worker process is begun before a task asks for one.
            "RAY_prestart_worker_first_driver": "0",
            # A node that is gone is missed within seconds.
            "RAY_health_check_period_ms": "1000",
            "RAY_DISABLE_IMPORT_WARNING": "1",
            "OMP_NUM_THREADS": "1",
            **self.variables,
        }

    def _on_machine(self, name: str, address: str, disk: Path, command: list[str]) -> list[str]:
        namespace, cable = f"{self._name}-{name}", f"{self._name}{len(self.nodes)}"
        _call("ip", "netns", "add", namespace)
        _call("ip", "link", "add", cable, "type", "veth", "peer", "name", "eth0", "netns", namespace)
        _call("ip", "link", "set", cable, "master", self._name, "up")
        for arguments in (
            ("addr", "add", f"{address}/24", "dev", "eth0"),
            ("link", "set", "eth0", "up"),
            ("link", "set", "lo", "up"),
            ("route", "add", "default", "via", self.host),
        ):
            _call("ip", "-n", namespace, *arguments)
        return [
            "ip",
            "netns",
            "exec",
            namespace,
            *MACHINE,
            "bash",
            "-c",
            _MACHINE,
            "bash",
            name,
            address,
            str(disk),
            *command,
        ]

    def ask(self, what: str, **wanted: str) -> list[dict[str, Any]]:
        """What the head knows of `nodes`, `actors` or `jobs`; empty as long as it does not answer."""
        query = [("limit", "1000")]
        for key, value in wanted.items():
            query += [("filter_keys", key), ("filter_predicates", "="), ("filter_values", value)]
        token = self.variables.get("RAY_AUTH_TOKEN")
        request = urllib.request.Request(
            f"{self.dashboard}/api/v0/{what}?{urlencode(query)}",
            headers={"Authorization": f"Bearer {token}"} if token else {},
        )
        try:
            with urllib.request.urlopen(request, timeout=30) as answer:
                found = json.load(answer)["data"]["result"]["result"]
        except (OSError, TypeError):
            return []
        return list(found)


def _call(*arguments: str) -> None:
    subprocess.run(arguments, check=True)
