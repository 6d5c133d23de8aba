"""Searches whose trials train nothing."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

from tests.benchmarks.driver_scale import Spent


@pytest.mark.slow
def test_a_search_of_waiting_trials_ends_and_says_what_the_driver_spent() -> None:
    program = [sys.executable, "-m", "tests.benchmarks.driver_scale", "run", "--trials", "16"]
    done = subprocess.run(program, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    spent = Spent(**json.loads(done.stdout.splitlines()[-1]))
    assert spent.trials == 15 and spent.begun and spent.cpu > 0 and spent.wall > 0
