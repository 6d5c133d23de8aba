"""The command line as tests call it: in a process of its own, or in this one."""

from __future__ import annotations

import subprocess
from pathlib import Path

from typer.testing import CliRunner

from study.commands.main import app
from tests.study.tiny import command


def run(*arguments: str | Path, code: int = 0) -> str:
    """Run the command in a process of its own; returns both outputs."""
    done = subprocess.run(command(*arguments), capture_output=True, text=True, check=False, timeout=300)
    assert done.returncode == code, done.stdout + done.stderr
    assert "Traceback" not in done.stdout + done.stderr
    return done.stdout + done.stderr


def invoke(*arguments: str | Path, code: int = 0) -> str:
    """Run the command in this process; its errors are raised."""
    result = CliRunner().invoke(app, [str(argument) for argument in arguments], catch_exceptions=False)
    assert result.exit_code == code, result.output
    return result.output
