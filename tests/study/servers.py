"""Real servers for tests: a PostgreSQL of its own and Optuna's dashboard, both on this machine only."""

from __future__ import annotations

import json
import os
import pwd
import secrets
import shutil
import socket
import subprocess
import sys
import tempfile
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import pytest

PASSWORD = "s3cret/with:signs"


def free_port() -> int:
    """A port that nobody listens on now, below those that Linux gives to whoever asks for any: nobody else takes it soon."""
    while True:
        port = secrets.choice(range(20_000, 32_000))
        with socket.socket() as listener, suppress(OSError):
            listener.bind(("", port))
            return port


def _binaries() -> Path:
    """Folder of PostgreSQL's programs; Debian keeps them off the PATH."""
    found = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"))
    on_path = shutil.which("initdb")
    if found:
        return found[-1].parent
    if on_path:
        return Path(on_path).parent
    reason = "PostgreSQL is not installed: apt-get install postgresql"
    if os.environ.get("CI", "").lower() in ("1", "true"):
        pytest.fail(reason)
    pytest.skip(reason)


class Postgres:
    """A PostgreSQL server in a folder of its own, run by an unprivileged user: it refuses to run as root."""

    def __init__(self, folder: Path):
        self._binaries, self._folder = _binaries(), folder
        # The Debian package makes the user postgres.
        self._user = pwd.getpwnam("postgres").pw_name if os.geteuid() == 0 else None
        password_file = folder / "password"
        password_file.write_text(PASSWORD)
        if self._user is not None:
            for path in (folder, password_file):
                shutil.chown(path, self._user)
        self.port = free_port()
        self._call(
            *("initdb", "--username=ann", "--auth=scram-sha-256", f"--pwfile={password_file}", "--no-sync"),
            *("--encoding=UTF8", "--locale=C", f"--pgdata={folder / 'data'}"),
        )
        self.start()

    @property
    def url(self) -> str:
        """URL of its database, with the password."""
        return f"postgresql://ann:{urllib.parse.quote(PASSWORD, safe='')}@127.0.0.1:{self.port}/postgres"

    def start(self) -> None:
        """Start and wait until it answers."""
        options = f"-c listen_addresses=127.0.0.1 -p {self.port} -k {self._folder} -c fsync=off"
        self._call("pg_ctl", "start", "--wait", f"--log={self._folder / 'log'}", f"--options={options}")

    def stop(self) -> None:
        """End it at once, as if the machine were lost; connections break."""
        self._call("pg_ctl", "stop", "--wait", "--mode=immediate")

    def _call(self, program: str, *arguments: str) -> None:
        done = subprocess.run(
            [str(self._binaries / program), *arguments],
            env={"PGDATA": str(self._folder / "data"), "LC_ALL": "C"},
            cwd=self._folder,
            user=self._user,
            # Not a pipe: the server would keep it open.
            stdin=subprocess.DEVNULL,
            stdout=(self._folder / "output").open("a"),
            stderr=subprocess.STDOUT,
            check=False,
        )
        assert done.returncode == 0, (self._folder / "output").read_text()


@contextmanager
def running_postgres() -> Iterator[Postgres]:
    """A server that is gone afterwards."""
    # pytest's own folders are closed to other users.
    with tempfile.TemporaryDirectory(prefix="wbc-postgres-", ignore_cleanup_errors=True) as folder:
        server = Postgres(Path(folder))
        try:
            yield server
        finally:
            if (Path(folder) / "data" / "postmaster.pid").exists():
                server.stop()


class Dashboard:
    """Optuna's dashboard as a process of its own."""

    def __init__(self, process: subprocess.Popen[bytes], port: int):
        self._process, self._address = process, f"http://127.0.0.1:{port}/api"

    def get(self, path: str) -> Any:
        """What its API answers; waits while it starts."""
        while True:
            try:
                with urllib.request.urlopen(f"{self._address}/{path}", timeout=30) as answer:
                    return json.load(answer)
            except urllib.error.HTTPError:
                raise
            except urllib.error.URLError:
                try:
                    code = self._process.wait(timeout=0.2)
                except subprocess.TimeoutExpired:
                    continue
                pytest.fail(f"optuna-dashboard ended with {code}")

    def studies(self) -> dict[str, int]:
        """Names and ids of the Optuna studies."""
        return {each["study_name"]: each["study_id"] for each in self.get("studies")["study_summaries"]}

    def trials(self, study: str) -> list[dict[str, Any]]:
        """Trials of a study by its name."""
        return list(self.get(f"studies/{self.studies()[study]}?after=0")["trials"])


@contextmanager
def running_dashboard(storage: str) -> Iterator[Dashboard]:
    """The dashboard of a storage."""
    port = free_port()
    arguments = ["--host", "127.0.0.1", "--port", str(port), "--quiet", storage]
    code = "from optuna_dashboard._cli import main; main()"
    with subprocess.Popen([sys.executable, "-c", code, *arguments]) as process:
        try:
            yield Dashboard(process, port)
        finally:
            process.kill()
