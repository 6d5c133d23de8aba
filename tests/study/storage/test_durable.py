"""A file is there completely or not at all."""

from __future__ import annotations

import errno
import os
import subprocess
import sys
from pathlib import Path

import pytest

import study
from study.storage.durable import write_durably


def test_content_is_written_and_replaced(tmp_path: Path) -> None:
    write_durably(tmp_path / "file", b"first")
    write_durably(tmp_path / "file", b"second")
    assert (tmp_path / "file").read_bytes() == b"second"
    assert [path.name for path in tmp_path.iterdir()] == ["file"]


def test_file_and_folder_are_on_the_disk_before_it_returns(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    # Without the second one a power loss can take the name away again.
    synced = []
    monkeypatch.setattr(os, "fsync", lambda descriptor: synced.append(Path(f"/proc/self/fd/{descriptor}").readlink()))
    write_durably(tmp_path / "file", b"content")
    assert [path.name.startswith(".file") for path in synced] == [True, False]
    assert synced[1] == tmp_path.resolve()


def test_a_full_disk_leaves_the_old_content_and_no_temporary_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_durably(tmp_path / "file", b"old")

    def full(descriptor: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="No space left"):
        write_durably(tmp_path / "file", b"new")
    assert [(path.name, path.read_bytes()) for path in tmp_path.iterdir()] == [("file", b"old")]


def test_a_write_that_is_cut_short_leaves_nothing(tmp_path: Path) -> None:
    # A real one: the operating system takes 4,096 bytes and refuses the rest.
    code = (
        "import resource, sys; from pathlib import Path; from study.storage.durable import write_durably\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (4096, 4096))\n"
        "try:\n    write_durably(Path(sys.argv[1]), b'x' * 100_000)\n"
        "except OSError as error:\n    print(error.strerror)\n"
    )
    environment = {**os.environ, "PYTHONPATH": str(Path(study.__file__).parents[1])}
    done = subprocess.run(
        [sys.executable, "-c", code, str(tmp_path / "file")],
        capture_output=True,
        text=True,
        check=True,
        env=environment,
    )
    assert done.stdout == "File too large\n"
    assert list(tmp_path.iterdir()) == []
