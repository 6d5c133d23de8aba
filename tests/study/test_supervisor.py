"""A study's process that dies is replaced; one that ends is not. Real processes that really die."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest

from study import supervisor


@pytest.fixture
def act(tmp_path, monkeypatch):
    """Let a shell script stand for the study: act(script) -> path of a file that the script may write to."""

    def make(script: str) -> Path:
        program = tmp_path / "python"
        program.write_text(f"#!/bin/sh\necho started >> {tmp_path}/starts\n{script}\n")
        program.chmod(0o755)
        monkeypatch.setattr(sys, "executable", str(program))
        return tmp_path / "starts"

    return make


@pytest.mark.parametrize(("code", "meaning"), [(0, 0), (70, 1), (130, 130)])
def test_final_codes_are_passed_on(act, code, meaning):
    starts = act(f"exit {code}")
    assert supervisor.supervise(["run"], pytest.fail, {0: 0, 70: 1, 130: 130}) == meaning
    assert starts.read_text().count("started") == 1


def test_a_dying_process_is_taken_up_again_three_times_then_given_up_with_the_reason(act):
    starts = act("kill -KILL $$")
    said: list[str] = []
    assert supervisor.supervise(["run"], said.append, {0: 0}) == 1
    assert starts.read_text().count("started") == 4
    assert len(said) == 4
    assert "SIGKILL" in said[0]
    assert said[-1].startswith("Failed")


def test_a_process_that_recovers_ends_well(act, tmp_path):
    act(f"if [ -e {tmp_path}/once ]; then exit 0; fi; touch {tmp_path}/once; exit 1")
    said: list[str] = []
    assert supervisor.supervise(["run"], said.append, {0: 0}) == 0
    assert len(said) == 1
    assert "exit code 1" in said[0]


def test_processes_that_outlive_the_study_are_killed(act, tmp_path):
    act(f"sleep 1000 & echo $! > {tmp_path}/orphan; kill -KILL $$")
    supervisor.supervise(["run"], lambda _: None, {0: 0, -9: -9})
    assert not psutil.pid_exists(int((tmp_path / "orphan").read_text()))


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_signals_reach_the_study_once_and_its_answer_counts(tmp_path, number):
    code = (
        "import sys, pathlib; from study import supervisor;"
        f"sys.executable = {str(tmp_path / 'python')!r};"
        "sys.exit(supervisor.supervise(['run'], print, {130: 130}))"
    )
    program = tmp_path / "python"
    program.write_text(
        f"#!/bin/bash\ntrap 'echo got >> {tmp_path}/signals; exit 130' INT TERM\ntouch {tmp_path}/ready\n"
        "while true; do read -t 0.1 < /dev/zero || true; done\n"
    )
    program.chmod(0o755)
    process = subprocess.Popen([sys.executable, "-c", code])
    deadline = time.monotonic() + 60
    while not (tmp_path / "ready").exists():
        assert time.monotonic() < deadline
        time.sleep(0.02)
    os.kill(process.pid, number)
    assert process.wait(timeout=60) == 130
    assert (tmp_path / "signals").read_text() == "got\n"
