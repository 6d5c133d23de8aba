"""A study as a job of a Ray cluster, submitted and watched over HTTP by a client that may go away."""

from __future__ import annotations

import asyncio
import logging
import re
import shlex
import tempfile
import time
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING
from uuid import uuid4

from study.cluster.packing import CONFIG_FILE, check_travels, pack
from study.config.secrets import mask_password
from study.errors import StudyFailed, UsageError
from study.execution.ray_session import WORKER_ENVIRONMENT
from study.storage.provenance import REVISION_VARIABLE, git_revision

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from ray.job_submission import JobSubmissionClient

    from study.config.study import StudyConfig

_STOPPING = {"RAY_JOB_STOP_WAIT_TIME_S": "30"}
"""A study that is stopped lets go of its address in the store; Ray would kill it after three seconds."""
_RECONNECTS = 5
"""How often in a row a lost connection is taken up again."""
_PAUSE_SECONDS = 1.0
"""Seconds between two looks at a job."""


@dataclass(frozen=True)
class Job:
    """A job as the cluster knows it."""

    job_id: str
    state: str
    """PENDING, RUNNING, STOPPED, SUCCEEDED or FAILED."""
    message: str
    """Ray's explanation of the state."""
    study: str
    """Name of the study; empty when another program submitted the job."""
    root: str
    """Where the study is written; empty when another program submitted the job."""
    began: float | None
    """Seconds since 1970."""
    ended: float | None
    """Seconds since 1970."""
    exit_code: int | None
    """Exit code of the study's process, once it has ended by itself."""

    @property
    def is_over(self) -> bool:
        """Whether the job has ended."""
        return self.state in ("STOPPED", "SUCCEEDED", "FAILED")


class JobClient:
    """Jobs of one cluster. Ray's token, where the cluster asks for one, is that of this process's environment."""

    def __init__(self, address: str):
        """Connect.

        Args:
            address: ``http://HEAD:8265``, that of the dashboard.

        Raises:
            UsageError: nothing answers there, or the token is missing or wrong.
        """
        self._address = address
        if not address.startswith(("http://", "https://")):
            raise UsageError(
                f"--address {address}: expected http://HEAD:8265, the address of the cluster's dashboard. On a node of the"
                " cluster itself, `wbc-study run ... --address auto` needs no job"
            )
        with self._explained():
            from ray.job_submission import JobSubmissionClient

            logging.getLogger("ray").setLevel(logging.ERROR)  # it tells how a package is uploaded
            self._client: JobSubmissionClient = JobSubmissionClient(address)

    def submit(self, config: StudyConfig, root: str, variables: Mapping[str, str]) -> str:
        """Send the project and a configuration, and have the cluster run the study.

        Args:
            config: Complete; its paths are those of the cluster's nodes.
            root: Absolute path that all nodes share, or an address in an object store.
            variables: Environment of the job, without secrets: see `chosen_variables`.

        Returns:
            The job's id.

        Raises:
            UsageError: the configuration or root means nothing on another machine, or holds a password.
        """
        check_travels(config, root)
        with tempfile.TemporaryDirectory() as folder, self._explained():
            pack(config, Path(folder))
            return str(
                self._client.submit_job(
                    # Python's safe path must not hide the packages: Ray puts their folder into PYTHONPATH.
                    entrypoint=f"python -m study run {CONFIG_FILE} --root {shlex.quote(root)} --address auto",
                    submission_id=f"{re.sub(r'[^A-Za-z0-9_-]', '-', config.name)}-{uuid4().hex[:8]}",
                    runtime_env={
                        "working_dir": folder,
                        "env_vars": {REVISION_VARIABLE: git_revision(), **_STOPPING, **WORKER_ENVIRONMENT, **variables},
                    },
                    metadata={"study": config.name, "root": root},
                )
            )

    def find(self, job_id: str) -> Job:
        """What the cluster says of a job.

        Raises:
            UsageError: it does not know it.
        """
        with self._explained():
            try:
                found = self._client.get_job_info(job_id)
            except RuntimeError as error:
                if "does not exist" not in str(error):
                    raise
                known = [each.submission_id for each in self._client.list_jobs() if "study" in (each.metadata or {})]
                raise UsageError(
                    f"{job_id!r}: no such job at {self._address}. There: {', '.join(map(str, known)) or 'none of a study'}."
                    " A cluster forgets its jobs when its head is restarted; the study's records stay"
                ) from error
        metadata = found.metadata or {}
        return Job(
            job_id=job_id,
            state=str(found.status.value),
            message=found.message or "",
            study=metadata.get("study", ""),
            root=metadata.get("root", ""),
            began=found.start_time / 1000 if found.start_time else None,
            ended=found.end_time / 1000 if found.end_time else None,
            exit_code=found.driver_exit_code,
        )

    def logs(self, job_id: str) -> str:
        """Everything that a job has printed until now."""
        self.find(job_id)
        with self._explained():
            return str(self._client.get_job_logs(job_id))

    def stop(self, job_id: str) -> bool:
        """Ask a job to end, as Ctrl-C would.

        Returns:
            Whether it was running.
        """
        self.find(job_id)
        with self._explained():
            return bool(self._client.stop_job(job_id))

    def follow(self, job_id: str, write: Callable[[str], None]) -> Job:
        """Pass on what a job prints until it ends.

        Raises:
            StudyFailed: the connection was lost several times in a row; the job may go on.
        """
        from aiohttp import ClientError

        written = lost = 0

        async def tail() -> None:
            nonlocal written
            seen = 0  # a new connection begins with the first line again
            async for lines in self._client.tail_job_logs(job_id):
                write(lines[max(0, written - seen) :])
                seen += len(lines)
                written = max(written, seen)

        while True:
            try:
                asyncio.run(tail())
                job = self.find(job_id)
            except (RuntimeError, OSError, ClientError) as error:
                lost += 1
                if lost > _RECONNECTS:
                    raise StudyFailed(
                        f"{self._address}: the connection was lost ({error}). The job may go on; `wbc-study job status"
                        f" {job_id} --address {self._address}` says so"
                    ) from error
                time.sleep(_PAUSE_SECONDS)
                continue
            if job.is_over:
                return job
            lost = 0
            time.sleep(_PAUSE_SECONDS)

    @contextmanager
    def _explained(self) -> Iterator[None]:
        """Ray's errors in words that say what to do."""
        from ray.exceptions import AuthenticationError

        try:
            yield
        except AuthenticationError as error:
            raise UsageError(
                f"--address {self._address}: the cluster asks for a token, and none or a wrong one was given. Set"
                " RAY_AUTH_MODE=token and RAY_AUTH_TOKEN_PATH (a file with the cluster's token) or RAY_AUTH_TOKEN"
            ) from error
        except ConnectionError as error:
            raise UsageError(
                f"--address {self._address}: no Ray dashboard answers there. Start it with `ray start --head`, or forward its"
                " port: ssh -L 8265:127.0.0.1:8265 HEAD"
            ) from error
        except RuntimeError as error:
            if isinstance(error, StudyFailed):
                raise
            if "ray[default]" in str(error):
                raise UsageError('jobs need `pip install "wbc-study[cluster]"`') from error
            raise StudyFailed(f"{self._address}: {mask_password(str(error).strip())}") from error
