"""A study's process that dies is replaced; one that ends is not. Real processes that really die."""

import json
import os
import signal
import subprocess
import sys
import time

import psutil
import pytest

SUPERVISE = """
import json, sys
from study.execution.supervisor import supervise

sys.executable, said = sys.argv[1], []
code = supervise(["run"], said.append, {int(code): meaning for code, meaning in json.loads(sys.argv[2]).items()})
print(json.dumps([code, said]))
"""
"""In a process of its own: a supervisor kills all that its process has started, and of a test's that is other tests' servers."""


@pytest.fixture
def supervise(tmp_path):
    """supervise(script, final codes) -> exit code, and what was said of a study for which a shell script stands."""

    def supervise(script: str, final_codes: dict[int, int]) -> tuple[int, list[str]]:
        program = tmp_path / "python"
        program.write_text(f"#!/bin/sh\necho started >> {tmp_path}/starts\n{script}\n")
        program.chmod(0o755)
        command = [sys.executable, "-c", SUPERVISE, str(program), json.dumps(final_codes)]
        code, said = json.loads(subprocess.run(command, capture_output=True, text=True, check=True).stdout)
        return code, said

    return supervise


@pytest.mark.parametrize(("code", "meaning"), [(0, 0), (70, 1), (130, 130)])
def test_final_codes_are_passed_on(supervise, tmp_path, code, meaning):
    assert supervise(f"exit {code}", {0: 0, 70: 1, 130: 130}) == (meaning, [])
    assert (tmp_path / "starts").read_text().count("started") == 1


def test_a_dying_process_is_taken_up_again_three_times_then_given_up_with_the_reason(supervise, tmp_path):
    code, said = supervise("kill -KILL $$", {0: 0})
    assert code == 1
    assert (tmp_path / "starts").read_text().count("started") == 4
    assert len(said) == 4
    assert "SIGKILL" in said[0]
    assert said[-1].startswith("Failed")


def test_a_process_that_recovers_ends_well(supervise, tmp_path):
    code, said = supervise(f"if [ -e {tmp_path}/once ]; then exit 0; fi; touch {tmp_path}/once; exit 1", {0: 0})
    assert code == 0 and len(said) == 1
    assert "exit code 1" in said[0]


def test_processes_that_outlive_the_study_are_killed(supervise, tmp_path):
    # Nothing of its output is read: were it not killed, the test would wait for its end instead of failing.
    supervise(f"sleep 1000 > /dev/null 2>&1 & echo $! > {tmp_path}/orphan; kill -KILL $$", {0: 0, -9: -9})
    assert not psutil.pid_exists(int((tmp_path / "orphan").read_text()))


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_signals_reach_the_study_once_and_its_answer_counts(tmp_path, number):
    code = (
        "import sys, pathlib; from study.execution import supervisor;"
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
