"""Ray: started quietly on this machine, or joined where it runs already."""

from __future__ import annotations

import logging
import os
import signal
import sys
import threading
import time
from contextlib import chdir, contextmanager, nullcontext, suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import psutil

from study.errors import RayLost, UsageError
from study.execution.supervisor import is_supervised, kill_descendants

if TYPE_CHECKING:
    from collections.abc import Iterator

WORKER_ENVIRONMENT = {
    # A process that reserved no GPU must not see any.
    "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "1",
}
"""Environment of processes that train. Ray started here inherits it; a cluster must be started with it, or a job bring it."""

_QUIET = WORKER_ENVIRONMENT | {
    "RAY_USAGE_STATS_ENABLED": "0",
    # Ray starts workers at nice 15: with anything else busy on the machine they would starve.
    "RAY_worker_niceness": "0",
    # Per-trial loggers and snapshots copy the driver's staging folder again and again; our records replace them.
    "TUNE_DISABLE_AUTO_CALLBACK_LOGGERS": "1",
    "TUNE_GLOBAL_CHECKPOINT_S": "86400",
    "TUNE_DISABLE_STRICT_METRIC_CHECKING": "1",
    # Ctrl-C ends the study at once: every reported epoch is recorded already.
    "TUNE_DISABLE_SIGINT_HANDLER": "1",
    "RAY_CHDIR_TO_TRIAL_DIR": "0",
    "TUNE_PRINT_ALL_TRIAL_ERRORS": "0",
    "TUNE_WARN_THRESHOLD_S": "10",
    "RAY_AIR_NEW_OUTPUT": "0",
}
"""Environment of Ray's processes; what the user has set already stays."""

_HERE = {
    # On this machine a daemon that does not answer is dead, and the study waits for its supervisor: not a minute, as for the
    # head of a cluster, which may come back.
    "RAY_gcs_rpc_server_reconnect_timeout_s": "5",
}
"""The same for Ray started on this machine alone."""

_OBJECT_STORE_BYTES = 100 * 2**20
"""Images travel as memory-mapped files, not as objects: Ray's smallest comfortable store is enough."""


@contextmanager
def ray_session(address: str | None) -> Iterator[None]:
    """Have Ray for the length of the block and leave no process behind.

    Args:
        address: None starts Ray on this machine; ``auto`` or an address joins a cluster.

    Raises:
        UsageError: there is no cluster at the address.
    """
    for name, value in (_QUIET | (_HERE if address is None else {})).items():
        os.environ.setdefault(name, value)
    import ray
    from ray.exceptions import RayError
    from ray.tune.error import TuneError

    for name in ("ray", "ray.tune", "ray.air", "ray.train"):
        logging.getLogger(name).setLevel(logging.ERROR)
    if ray.is_initialized():
        # The caller of the Python interface has set up Ray; it stays theirs.
        yield
        return
    on_termination = signal.getsignal(signal.SIGTERM)
    # Ray puts the driver's working directory first where its workers look for modules, and a user may well have a folder
    # `models` of their own there. Our paths are absolute, and this folder holds no modules.
    with chdir(sys.prefix):
        _join_ray(address)
    watching = _watch_daemons() if address is None and is_supervised() else nullcontext()
    if threading.current_thread() is threading.main_thread():
        # Ray's own handler would end the process with status 15.
        signal.signal(signal.SIGTERM, on_termination)
    try:
        with watching:
            yield
    except (RayError, TuneError) as error:
        raise RayLost(f"Ray failed ({type(error).__name__}: {str(error).strip().splitlines()[-1]})") from error
    finally:
        ray.shutdown()


@dataclass(frozen=True)
class RayStart:
    """How Ray started on this machine."""

    seconds: float
    """Seconds that it took."""
    cpus: float
    """CPU cores that it offers."""
    gpus: float
    """GPUs that it offers."""


def ray_version() -> str:
    """Version of the installed Ray."""
    import ray

    return str(ray.__version__)


def measure_start() -> RayStart:
    """Start Ray on this machine as a study does, and stop it again.

    Raises:
        RayLost: Ray does not start.
    """
    import ray

    began = time.perf_counter()
    with ray_session(None):
        resources = ray.cluster_resources()
        return RayStart(time.perf_counter() - began, resources.get("CPU", 0), resources.get("GPU", 0))


def _join_ray(address: str | None) -> None:
    """Start Ray on this machine, or join a cluster."""
    import ray

    options: dict[str, Any] = {"log_to_driver": False, "logging_level": logging.ERROR, "configure_logging": False}
    if address is None:
        try:
            # `local`: a cluster that happens to run on this machine is somebody else's.
            ray.init("local", include_dashboard=False, object_store_memory=_OBJECT_STORE_BYTES, **options)
        except Exception as error:  # Ray raises nothing more specific when its daemons do not come up in time
            ray.shutdown()
            raise RayLost(f"Ray did not start on this machine ({error})") from error
    else:
        try:
            ray.init(address, **options)
        except (ConnectionError, ValueError) as error:
            raise UsageError(
                f"--address {address}: no Ray cluster answers there ({error}). Start one with `ray start --head`"
            ) from error


@contextmanager
def _watch_daemons() -> Iterator[None]:
    """End this process when one of the daemons that it started dies: its supervisor takes the study up again.

    Ray mostly ends the process itself. Between two experiments it does not notice, and the next one would wait for ever for a
    node that is gone.
    """
    daemons = [process for process in psutil.Process().children() if process.name() in ("raylet", "gcs_server")]
    done = threading.Event()

    def lost(daemon: psutil.Process) -> bool:
        with suppress(psutil.NoSuchProcess):
            return daemon.status() == psutil.STATUS_ZOMBIE
        return True

    def watch() -> None:
        while not done.wait(1.0):
            if any(map(lost, daemons)):
                kill_descendants()
                os._exit(1)

    threading.Thread(target=watch, daemon=True).start()
    try:
        yield
    finally:
        done.set()
