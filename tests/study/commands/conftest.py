"""A small folder of images and a study of it, and a Ray that does not start."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from PIL import Image

from study.errors import RayLost
from study.execution import ray_session
from tests.study.tiny import write_tiny

CLASSES = ("Basophil", "Eosinophil", "Lymphocyte", "Monocyte", "Neutrophil")


@pytest.fixture
def wbc(tmp_path: Path) -> Path:
    """A small folder source: 6 images of each class to train on, 2 to validate on."""
    for split, count in (("train", 6), ("val", 2)):
        for label, name in enumerate(CLASSES):
            for i in range(count):
                path = tmp_path / "data" / "wbc" / split / "data" / name / f"{i}.png"
                path.parent.mkdir(parents=True, exist_ok=True)
                Image.new("RGB", (20, 20), (40 * label, 10 * i, 90 if split == "val" else 0)).save(path)
    return tmp_path / "data"


@pytest.fixture
def wbc_config(tmp_path: Path, wbc: Path) -> Path:
    """The configuration of a study without encoders of the images of `wbc`."""
    return write_tiny(
        tmp_path,
        data={"source": "folder", "root": str(wbc), "cache_dir": str(tmp_path / "cache")},
        arms={"fusion": ["off"]},
    )


@pytest.fixture
def broken_ray(monkeypatch: pytest.MonkeyPatch) -> None:
    """Ray does not start."""

    @contextmanager
    def refused(address: str | None) -> Iterator[None]:
        raise RayLost("Ray did not start on this machine (no port)")
        yield

    monkeypatch.setattr(ray_session, "ray_session", refused)
