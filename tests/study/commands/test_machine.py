"""What is found on this machine, and what is made of it."""

from __future__ import annotations

from collections import namedtuple
from pathlib import Path

import psutil
import pytest

from study.commands import machine
from study.commands.machine import BAD, GOOD, NOTE, examine


@pytest.mark.usefixtures("broken_ray")
def test_what_would_stop_a_study_is_named(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    memory = namedtuple("memory", "available total")(2**30, 4 * 2**30)
    monkeypatch.setattr(psutil, "virtual_memory", lambda: memory)
    found = {finding.what: finding for finding in examine(tmp_path / "new" / "runs", tmp_path)}
    assert found["memory"].state == BAD and "1.0 GiB free of 4.0; a study needs 2 GiB" in found["memory"].found
    assert found["Ray"].state == BAD and "no port" in found["Ray"].found
    # A folder that is not there yet lies on the disk of the next one above.
    assert (
        found["disk, studies"].state in (GOOD, NOTE) and str(tmp_path / "new" / "runs") in found["disk, studies"].found
    )
    assert "cores" in found["CPU"].found and "torch" in found["GPU"].found


def test_little_shared_memory_is_worth_knowing_and_none_is_not_there(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    usage = namedtuple("usage", "free")
    for free, state in ((2**30, GOOD), (2**26, NOTE)):
        monkeypatch.setattr(machine.shutil, "disk_usage", lambda folder, free=free: usage(free))
        found = machine._shared_memory(tmp_path)
        assert found is not None and found.state == state
        assert ("Ray will use the disk" in found.found) == (state == NOTE)
    assert machine._shared_memory(tmp_path / "nowhere") is None


def test_a_machine_without_a_browser_is_told_what_needs_one() -> None:
    assert machine._browser(lambda name: None).state == NOTE
    assert (
        machine._browser(lambda name: f"/bin/{name}" if name == "google-chrome" else None).found == "/bin/google-chrome"
    )
