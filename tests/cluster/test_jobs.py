"""A study as a job of a real Ray cluster with a token, over HTTP."""

from __future__ import annotations

import re
import signal
import subprocess
import time
from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

import psutil
import pytest

from analysis.records.object_store import ObjectStore
from tests.cluster.nodes import Cluster, Node
from tests.study.object_storage import BUCKET, KEY, SECRET, FaultyProxy, environment, files_with
from tests.study.processes import below, title, trials_below
from tests.study.tiny import command, invoke, write_tiny

pytestmark = [pytest.mark.cluster, pytest.mark.slow, pytest.mark.timeout(2400)]

TOKEN = "b1946ac92492d2347c6235b4d2611184b1946ac92492d2347c6235b4d2611184"


@pytest.fixture(scope="module")
def cluster(s3_server: FaultyProxy) -> Iterator[Cluster]:
    variables = environment(s3_server) | {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": TOKEN}
    with Cluster(variables) as cluster:
        cluster.add("head", cpus=2)
        yield cluster


@pytest.fixture
def with_token(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """The token in this process's environment, as a user has it: in a file."""
    (tmp_path / "token").write_text(TOKEN)
    monkeypatch.setenv("RAY_AUTH_MODE", "token")
    monkeypatch.setenv("RAY_AUTH_TOKEN_PATH", str(tmp_path / "token"))


def call(*arguments: str | Path, code: int = 0) -> str:
    """What a command prints, errors included."""
    done = subprocess.run(command(*arguments), capture_output=True, text=True, check=False)
    assert done.returncode == code, done.stdout + done.stderr
    return done.stdout + done.stderr


def read_until(stream: Iterator[str], wanted: str) -> str:
    """Lines up to one in which the pattern is found."""
    read = ""
    for line in stream:
        read += line
        if re.search(wanted, line):
            return read
    pytest.fail(f"no {wanted!r} in: {read}")


@contextmanager
def after_an_epoch(store: ObjectStore, head: Node, before: Collection[str] = ()) -> Iterator[None]:
    """Wait for a trial's epoch that was not recorded before, and let the trials stand still within.

    However long a command takes, what it is asked about has not gone on.
    """
    while True:
        still = trials_below(head.process.pid)
        for process in still:
            with suppress(psutil.NoSuchProcess):
                process.suspend()
        if still and store.listing("records/epochs").keys() - set(before):
            break
        _resume(still)
        time.sleep(0.1)
    try:
        yield
    finally:
        _resume(still)


def _resume(processes: Sequence[psutil.Process]) -> None:
    for process in processes:
        with suppress(psutil.NoSuchProcess):
            process.resume()


def test_a_job_outlives_its_client_is_watched_and_stopped_and_a_new_head_continues_it(
    cluster, s3, with_token, tmp_path
):
    url = f"s3://{BUCKET}/{tmp_path.name}"
    changes = {"data": {"cache_dir": None}, "training": {"epochs": 8}, "confirm": {"seeds": 0}}
    config = write_tiny(tmp_path, arms={"fractions": [1.0], "fusion": ["off"]}, resources={"workers": 1}, **changes)
    at = ("--address", cluster.dashboard)
    submit = command("submit", config, *at, "--root", url)

    client = subprocess.Popen(submit, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    job_id = re.search(r"Job (\S+)", read_until(client.stdout, "Writing to s3"))[1]
    client.kill()
    client.wait()

    (head,) = cluster.nodes
    titles = {title(process) for process in below(head.process.pid)}
    store = ObjectStore(f"{url}/tiny")
    with after_an_epoch(store, head):
        titles |= {title(process) for process in below(head.process.pid)}
        assert f"Job {job_id} running since" in call("job", "status", job_id, *at)
        assert "tiny: running in search" in invoke("status", "tiny", "--root", url)
        assert "Writing to s3" in call("job", "logs", job_id, *at)
        assert "The same `wbc-study submit` continues" in call("job", "stop", job_id, *at)
    while ("STOPPED", job_id) not in [(each["status"], each["submission_id"]) for each in cluster.ask("jobs")]:
        time.sleep(0.2)
    state = call("job", "status", job_id, *at)
    assert "stopped since" in state and f"wbc-study fetch tiny --root {url}" in state

    before = store.listing("records/epochs")
    second = subprocess.Popen(submit, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    read_until(second.stdout, "Continuing s3")
    second.send_signal(signal.SIGINT)
    said = second.communicate()[0]
    assert second.returncode == 130 and "the job goes on" in said
    again = re.search(r"job logs --follow (\S+)", said)[1]
    with after_an_epoch(store, head, before):
        assert f"Job {again} running since" in call("job", "status", again, *at)
        # The head's plug is pulled: the cluster that takes its place knows of no job, and the store of all that was done.
        cluster.nodes.pop().kill()
    cluster.add("head again", cpus=2)
    assert "no such job" in call("job", "status", again, *at, code=2)
    # To whoever looks soon enough its claim is still fresh.
    assert re.search("tiny: (running|interrupted) in search", invoke("status", "tiny", "--root", url))
    third = re.search(r"Job (\S+)", call("submit", config, *at, "--root", url, "--detach"))[1]
    printed = call("job", "logs", third, *at, "--follow")
    assert f"Job {third} succeeded since" in printed and printed.count("Continuing s3") == 1
    assert "Validation accuracy" in printed

    invoke("fetch", "tiny", "--root", url, "--out", tmp_path / "fetched")
    assert (tmp_path / "fetched" / "report" / "index.html").is_file()
    assert '"git_revision": ""' not in (tmp_path / "fetched" / "manifest.json").read_text()
    for secret in (TOKEN, SECRET, KEY):
        assert secret not in printed and not any(secret in title for title in titles)
        assert files_with(secret, cluster.folder, tmp_path / "fetched") == []


def test_without_the_token_a_client_is_refused(cluster, monkeypatch):
    monkeypatch.setenv("RAY_AUTH_MODE", "disabled")
    said = call("job", "status", "any", "--address", cluster.dashboard, code=2)
    assert "asks for a token" in said and "RAY_AUTH_TOKEN_PATH" in said
    monkeypatch.setenv("RAY_AUTH_MODE", "token")
    monkeypatch.setenv("RAY_AUTH_TOKEN", "0" * 64)
    assert "asks for a token" in call("job", "logs", "any", "--address", cluster.dashboard, code=2)


def test_an_unknown_job_is_refused_with_those_that_are_there(cluster, with_token):
    said = call("job", "stop", "nothing-1234", "--address", cluster.dashboard, code=2)
    assert "'nothing-1234': no such job" in said
