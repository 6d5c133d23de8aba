"""SLURM as a cluster of one node, from Debian's packages, on a machine of its own.

Ray's symmetric run ends with `ray stop`, which ends every Ray that it sees.

`python -m tests.cluster.slurm quick` runs a preset by hand.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Self

import psutil
import pytest

import study
from tests.cluster.nodes import MACHINE, why_no_namespaces

PROJECT = Path(study.__file__).parents[1]
SCRIPT = PROJECT / "study" / "cluster" / "deploy" / "slurm.sh"
NODE, ADDRESS = "node1", "10.213.250.1"

_CONFIG = """
ClusterName=test
SlurmctldHost={node}
SlurmUser=root
AuthInfo=socket={folder}/munge.socket
StateSaveLocation={folder}/state
SlurmdSpoolDir={folder}/spool
SlurmctldPidFile={folder}/slurmctld.pid
SlurmdPidFile={folder}/slurmd.pid
SlurmctldLogFile={folder}/slurmctld.log
SlurmdLogFile={folder}/slurmd.log
# Control groups and the accounting of processes need an init system.
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
JobAcctGatherType=jobacct_gather/none
SelectType=select/cons_tres
ReturnToService=2
MpiDefault=none
NodeName={node} CPUs={cpus} State=UNKNOWN
PartitionName=all Nodes=ALL Default=YES MaxTime=INFINITE State=UP
"""

_START = """
set -e
ip link set lo up
# SLURM listens on no machine that has a loopback only.
ip link add eth0 type veth peer name eth1
ip addr add {address}/24 dev eth0
ip link set eth0 up
hostname {node}
mount --bind {folder}/hosts /etc/hosts
mount -t tmpfs none /dev/shm
munged --foreground --force --key-file={folder}/munge.key --socket={folder}/munge.socket --pid-file={folder}/munged.pid \\
  --log-file={folder}/munged.log --seed-file={folder}/munged.seed &
until [ -S {folder}/munge.socket ]; do sleep 0.1; done
slurmctld -D -f {folder}/slurm.conf &
slurmd -D -f {folder}/slurm.conf -N {node} &
wait
"""


def why_no_slurm() -> str:
    """Why SLURM cannot be run here; empty when it can."""
    missing = [name for name in ("sbatch", "srun", "slurmctld", "slurmd", "munged") if not shutil.which(name)]
    if missing:
        return f"{', '.join(missing)}: not installed; apt-get install slurm-wlm munge"
    if os.geteuid() != 0:
        return "SLURM's daemons are run as root here"
    return why_no_namespaces(bridge=False)


class Slurm:
    """A controller and a node that run. Gone afterwards, with every job."""

    def __init__(self, cpus: int = 2):
        self._cpus = cpus
        reason = why_no_slurm()
        if reason:
            (pytest.fail if os.environ.get("CI", "").lower() in ("1", "true") else pytest.skip)(reason)
        self._folder = Path(tempfile.mkdtemp(prefix="wbc-slurm-"))
        values = {"folder": self._folder, "node": NODE, "address": ADDRESS, "cpus": cpus}
        (self._folder / "slurm.conf").write_text(_CONFIG.format(**values))
        (self._folder / "cgroup.conf").write_text("CgroupPlugin=cgroup/v1\n")
        (self._folder / "hosts").write_text(f"127.0.0.1 localhost\n{ADDRESS} {NODE}\n")
        (self._folder / "munge.key").write_bytes(os.urandom(128))
        (self._folder / "munge.key").chmod(0o400)
        for name in ("state", "spool"):
            (self._folder / name).mkdir()
        self._output = (self._folder / "output.txt").open("wb")
        self._process = subprocess.Popen(
            [*MACHINE, "--net", "bash", "-c", _START.format(**values)], stdout=self._output, stderr=self._output
        )
        try:
            while "idle" not in self.run("sinfo", "--noheader", "--format=%T", check=False):
                with suppress(subprocess.TimeoutExpired):
                    pytest.fail(f"SLURM ended with {self._process.wait(timeout=0.2)}:\n{self.logs()}")
        except BaseException:
            self.close()
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if error is not None:
            print(self.logs())
        self.close()

    def run(self, *arguments: str | Path, check: bool = True, **variables: str) -> str:
        """What a command prints on the node, errors included."""
        inside = psutil.Process(self._process.pid).children()
        if not inside:
            return ""
        enter = ["nsenter", f"--target={inside[0].pid}", "--mount", "--net", "--pid", "--uts", "--ipc"]
        done = subprocess.run(
            [*enter, *map(str, arguments)],
            capture_output=True,
            text=True,
            check=False,
            env={**os.environ, "SLURM_CONF": str(self._folder / "slurm.conf"), **variables},
        )
        if check and done.returncode:
            pytest.fail(f"{arguments[0]} ended with {done.returncode}: {done.stdout}{done.stderr}\n{self.logs()}")
        return done.stdout + done.stderr

    def submit(self, folder: Path, *arguments: str | Path) -> str:
        """Run the recipe to its end on this node with a preset or file, in a folder; returns what it printed."""
        self.run(
            *(
                "sbatch",
                "--wait",
                "--nodes=1",
                "--gpus-per-node=0",
                f"--cpus-per-task={self._cpus}",
                f"--chdir={folder}",
            ),
            *(SCRIPT, *arguments),
            check=False,
            WBC_STUDY_ENVIRONMENT=sys.prefix,
            WBC_STUDY_ROOT=str(folder / "studies"),
            WBC_STUDY_CACHE=str(folder / "cache"),
            RAY_TMPDIR=str(self._folder),
            PYTHONPATH=str(PROJECT),
        )
        return (folder / "wbc-study-1.log").read_text()

    def logs(self) -> str:
        """What the daemons wrote."""
        written = [self._folder / "output.txt", *sorted(self._folder.glob("*.log"))]
        return "\n".join(f"--- {path.name}\n{path.read_text(errors='replace')}" for path in written if path.is_file())

    def close(self) -> None:
        """End everything."""
        self._process.kill()
        self._process.wait()
        self._output.close()
        shutil.rmtree(self._folder, ignore_errors=True)


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as here, Slurm() as slurm:
        print(slurm.submit(Path(here), *sys.argv[1:]))
