"""What the manifest says about versions, revision and hardware."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest

from study.storage import provenance
from study.storage.provenance import describe_environment


def test_the_environment_is_complete_and_fits_into_the_manifest() -> None:
    found = describe_environment()
    assert json.loads(json.dumps(found)) == found
    assert found["versions"]["python"] == ".".join(map(str, sys.version_info[:3]))
    assert {"torch", "ray", "optuna", "wbc-study"} < set(found["versions"])
    assert re.match(r"\d+\.\d+", found["versions"]["numpy"])
    hardware = found["hardware"]
    assert hardware["cores"] >= 1 and hardware["memory_bytes"] > 2**28
    assert isinstance(hardware["processor"], str)


def test_no_folder_of_this_machine_gets_into_the_command(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "argv", ["/home/someone/bin/wbc-study", "run", "quick"])
    assert describe_environment()["command"] == ["wbc-study", "run", "quick"]


def test_no_password_gets_into_the_command(monkeypatch: pytest.MonkeyPatch) -> None:
    url = "search.storage=postgresql://ann:s3cret@host/db"
    monkeypatch.setattr(sys, "argv", ["wbc-study", "run", "quick", "--set", url])
    assert describe_environment()["command"][-1] == "search.storage=postgresql://ann:***@host/db"


def test_a_package_that_is_missing_is_said_to_be(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(provenance, "_PACKAGES", ("no-such-package-anywhere",))
    assert describe_environment()["versions"]["no-such-package-anywhere"] == "not installed"


@pytest.fixture
def checkout(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A git repository with one commit, in which the package seems to lie."""

    def git(*arguments: str) -> None:
        identity = ["-c", "user.name=test", "-c", "user.email=test@example.org"]
        subprocess.run(["git", "-C", str(tmp_path), *identity, *arguments], check=True, capture_output=True)

    git("init")
    (tmp_path / "provenance.py").write_text("# first\n")
    git("add", ".")
    git("commit", "-m", "first")
    monkeypatch.setattr(provenance, "__file__", str(tmp_path / "provenance.py"))
    return tmp_path


def test_the_revision_tells_whether_files_differ_from_it(checkout: Path) -> None:
    revision = describe_environment()["git_revision"]
    assert re.fullmatch(r"[0-9a-f]{40,64}", revision)
    (checkout / "notes.txt").write_text("not part of the code\n")
    assert describe_environment()["git_revision"] == revision
    (checkout / "provenance.py").write_text("# changed\n")
    assert describe_environment()["git_revision"] == revision + "+"


def test_outside_a_checkout_there_is_no_revision(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(provenance, "__file__", str(tmp_path / "provenance.py"))
    monkeypatch.setenv("GIT_CEILING_DIRECTORIES", str(tmp_path.parent))
    assert describe_environment()["git_revision"] == ""
    # A job has no checkout, but its sender may have had one.
    monkeypatch.setenv("WBC_STUDY_REVISION", "0123abc+")
    assert describe_environment()["git_revision"] == "0123abc+"


def test_without_git_there_is_no_revision(checkout: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "")
    assert describe_environment()["git_revision"] == ""
