"""What is published of a study has its numbers, and names neither a machine nor a picture."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np

from analysis import load_study
from analysis.tables.evaluation import evaluation_tables
from tests.analysis.conftest import RIGHT, RunDirectory, fill
from tests.reference_study import _rounded, publish


def save(directory: RunDirectory) -> Path:
    """As a finished study lies on disk."""
    path = directory.save(parquet=True)
    audit = {
        "wbc": {"images": 40, "unreadable": [{"path": "train/jane_doe.jpg", "reason": "truncated"}], "duplicates": []}
    }
    (path / "audit.json").write_text(json.dumps(audit))
    return path


def test_numbers_stay_and_machine_folders_and_file_names_go(tmp_path: Path) -> None:
    directory = fill(RunDirectory(tmp_path / "run"))
    directory.config["data"]["root"] = "/home/ann/cells"
    directory.config["pretrain"] = {"cam16": {"weights": "/home/ann/cells/published/cam16.pth"}}
    directory.manifest["command"] = ["__main__.py", "run", "/home/ann/mine.yaml"]
    directory.trial("lost", status="failed", error="Traceback ...\nUnreadableImage: /home/ann/cells/jane_doe.jpg")
    directory.evaluate("zheng", RIGHT)
    about = directory.path / "evaluations" / "zheng" / "evaluation.json"
    found = {"data": "/home/ann/cells/zheng", "unreadable": {"jane_doe.jpg": "truncated"}}
    about.write_text(json.dumps(json.loads(about.read_text()) | found))
    study = load_study(save(directory))
    named = [*study.images["path"], *study.trials["host"]]
    assert all(named)
    publish(study.path, tmp_path / "published")
    published = load_study(tmp_path / "published")
    assert published.accuracy_table().equals(study.accuracy_table())
    assert published.verdicts().equals(study.verdicts())
    assert [table.display().to_csv() for table in evaluation_tables(published)] == [
        table.display().to_csv() for table in evaluation_tables(study)
    ]
    assert published.config["pretrain"]["cam16"]["weights"] == "DATA/published/cam16.pth"
    assert published.manifest["command"][2] == "mine.yaml"
    for path in (tmp_path / "published").rglob("*"):
        if path.is_file() and path.suffix != ".js":
            content = path.read_bytes()
            assert b"/home/ann" not in content and b"jane_doe" not in content and b"smear/" not in content
            assert not any(f'"{name}"'.encode() in content for name in named)
    assert set(published.trials["host"]) == {""}
    assert not set(published.images["path"]) & set(study.images["path"])


def test_what_lay_there_is_replaced(tmp_path: Path) -> None:
    (tmp_path / "published").mkdir()
    (tmp_path / "published" / "old.txt").touch()
    publish(save(fill(RunDirectory(tmp_path / "run"))), tmp_path / "published")
    assert not (tmp_path / "published" / "old.txt").exists()


def test_rounding_saves_digits_and_never_changes_an_answer() -> None:
    draw = np.random.default_rng(0)
    probabilities = draw.dirichlet(np.ones(5), 500).astype(np.float32)
    rounded = np.stack([_rounded(row) for row in probabilities])
    assert np.abs(rounded / probabilities - 1).max() <= 2**-10
    assert len(np.unique(rounded)) < len(np.unique(probabilities))
    close = np.array([0.4, np.nextafter(np.float32(0.4), np.float32(1)), 0.2, 0, 0], dtype=np.float32)
    assert _rounded(close).argmax() == 1
