"""Small run directories, written as the record schema says."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import numpy as np
import pandas as pd
import pytest
import yaml

from analysis import Study, load_study, write_report
from analysis.records.schema import (
    CURVE_COLUMNS,
    EPOCH_COLUMNS,
    EVALUATION_COLUMNS,
    EVALUATION_IMAGE_COLUMNS,
    IMAGE_COLUMNS,
    PREDICTION_COLUMNS,
    TRIAL_COLUMNS,
    arm_name,
)

CLASSES = ["Basophil", "Eosinophil", "Lymphocyte", "Monocyte", "Neutrophil"]
VALIDATION = np.array([1, 3, 10, 2, 24])  # images of each class, 40 in all

RIGHT = {
    f"{fraction}-{fusion}-c{seed}": 20 + 4 * (fusion == "sum") + seed - 100
    for fraction in ("0.01", "1.0")
    for fusion in ("off", "sum")
    for seed in (101, 102)
}
"""Confirmed run of `fill` -> how many of 40 images of another data set it gets right, for `RunDirectory.evaluate`."""


class RunDirectory:
    """Writes a run directory; every method adds rows, `save` writes them."""

    def __init__(self, path: Path, name: str = "tiny") -> None:
        self.path = path
        self.config: dict[str, Any] = {
            "name": name,
            "data": {"source": "synthetic"},
            "search": {"metric": "val_accuracy"},
        }
        self.manifest: dict[str, Any] = {"schema_version": 1, "classes": CLASSES, "git_revision": "abc123"}
        self.rows: dict[str, list[dict[str, Any]]] = {"trials": [], "epochs": [], "predictions": []}
        self.images: list[dict[str, Any]] = []
        self.sequence = 0

    def add(self, table: str, **row: Any) -> None:
        self.rows[table].append({"sequence": self.sequence, **row})
        self.sequence += 1

    def trial(
        self,
        trial_id: str,
        fraction: float = 0.01,
        fusion: str = "off",
        phase: str = "search",
        *,
        index: int = 0,
        seed: int = 0,
        status: str = "completed",
        correct: list[int] | None = None,
        losses: list[float | None] | None = None,
        control: str = "",
        encoders: tuple[str, ...] = (),
        error: str = "",
        learning_rate: float = 1e-3,
        **more: Any,
    ) -> None:
        """A trial with one epoch per entry of ``correct``, the number of correct answers among 40 images."""
        correct = correct or []
        losses = losses or [2.0 - 0.1 * position for position in range(len(correct))]
        row = {
            "trial_id": trial_id,
            "phase": phase,
            "arm": arm_name(fraction, fusion, control, encoders),
            "fraction": fraction,
            "fusion": fusion,
            "encoders": "" if fusion == "off" else "+".join(encoders or ("prcc", "cam16")),
            "control": control,
            "index": index,
            "seed": seed,
            "learning_rate": learning_rate,
            "weight_decay": 1e-4,
            "train_images": round(1000 * fraction),
            "parameters": 719013,
            "tune_id": f"t{self.sequence}",
            "host": "here",
            "time": 1.0e9,
            **more,
        }
        self.add("trials", **row, status="running", epochs=0, error="")
        for position, (right, loss) in enumerate(zip(correct, losses, strict=True)):
            self.add(
                "epochs",
                trial_id=trial_id,
                epoch=position + 1,
                steps=10 * (position + 1),
                learning_rate=learning_rate,
                train_loss=1.5,
                train_accuracy=0.5,
                val_loss=loss,
                confusion=confusion(right).ravel().tolist(),
                rung=None,
                decision="continue",
                seconds=0.5,
                time=1.0e9,
            )
        if status != "running":
            self.add("trials", **row, status=status, epochs=len(correct), error=error)

    def predict(self, trial_id: str, epoch: int, split: str, right: int) -> None:
        """Predictions whose confusion matrix is ``confusion(right)``."""
        number = 0
        for label, row in enumerate(confusion(right)):
            for predicted, count in enumerate(row):
                for _ in range(count):
                    probabilities = [0.1] * 5
                    probabilities[predicted] = 0.6
                    self.add(
                        "predictions",
                        trial_id=trial_id,
                        epoch=epoch,
                        split=split,
                        image=f"{split}{number:03}",
                        label=label,
                        probabilities=probabilities,
                    )
                    number += 1

    def add_images(self, *splits: str) -> None:
        for split in splits:
            labels = np.repeat(np.arange(5), VALIDATION)
            for number, label in enumerate(labels):
                path = f"{split}/{CLASSES[label]}/{number:06}"
                self.images.append(
                    {"image": f"{split}{number:03}", "path": path, "split": split, "label": int(label), "group": ""}
                )

    def evaluate(self, name: str, right: dict[str, int], left_out: dict[str, int] | None = None) -> None:
        """An evaluation on other data: trial id -> how many of its 40 images are right."""
        folder = self.path / "evaluations" / name
        folder.mkdir(parents=True, exist_ok=True)
        rows = []
        for trial_id, number in right.items():
            pairs = [
                (label, guess) for label, row in enumerate(confusion(number)) for guess in np.repeat(np.arange(5), row)
            ]
            for image, (label, guess) in enumerate(pairs):
                probabilities = [0.1] * 5
                probabilities[guess] = 0.6
                row = {"trial_id": trial_id, "image": f"o{image:03}", "label": label, "probabilities": probabilities}
                rows.append(row)
        pd.DataFrame(rows, columns=list(EVALUATION_COLUMNS)).to_parquet(folder / "predictions.parquet")
        shown = [{"image": f"o{number:03}", "path": f"smear/{number}.jpg", "label": 0} for number in range(40)]
        pd.DataFrame(shown, columns=list(EVALUATION_IMAGE_COLUMNS)).to_parquet(folder / "images.parquet")
        about = {"name": name, "images": 40, "left_out": left_out or {}, "unreadable": {}}
        (folder / "evaluation.json").write_text(json.dumps(about), encoding="utf-8")

    def curve(self, encoder: str, **columns: list[float]) -> None:
        folder = self.path / "pretrain" / encoder
        folder.mkdir(parents=True, exist_ok=True)
        frame = pd.DataFrame({name: columns.get(name) for name in CURVE_COLUMNS})
        frame.to_parquet(folder / "curve.parquet")

    def save(self, parquet: bool = False, per_segment: int = 7) -> Path:
        """Write everything; as parquet, or as several .jsonl segments per table."""
        self.path.mkdir(parents=True, exist_ok=True)
        (self.path / "study.yaml").write_text(yaml.safe_dump(self.config), encoding="utf-8")
        if self.manifest:
            (self.path / "manifest.json").write_text(json.dumps(self.manifest), encoding="utf-8")
        if self.images:
            pd.DataFrame(self.images, columns=list(IMAGE_COLUMNS)).to_parquet(self.path / "images.parquet")
        schemas = {"trials": TRIAL_COLUMNS, "epochs": EPOCH_COLUMNS, "predictions": PREDICTION_COLUMNS}
        for table, rows in self.rows.items():
            folder = self.path / "records" / table
            if not rows:
                continue
            folder.mkdir(parents=True, exist_ok=True)
            step = len(rows) if parquet else per_segment
            for start in range(0, len(rows), step):
                part = rows[start : start + step]
                name = f"{part[0]['sequence']:08}-{part[-1]['sequence']:08}"
                if parquet:
                    frame = pd.DataFrame(part, columns=list(schemas[table]))
                    if table == "epochs":
                        frame["rung"] = frame["rung"].astype("Int64")
                    frame.to_parquet(folder / f"{name}.parquet")
                else:
                    text = "".join(json.dumps(row) + "\n" for row in part)
                    (folder / f"{name}.jsonl").write_text(text, encoding="utf-8")
        return self.path


def confusion(right: int) -> np.ndarray[Any, np.dtype[np.int64]]:
    """40 validation images, ``right`` of them correct: the most frequent classes first, errors go to neutrophil."""
    matrix = np.zeros((5, 5), dtype=np.int64)
    for label in (4, 2, 1, 3, 0):
        hit = min(right, int(VALIDATION[label]))
        right -= hit
        matrix[label, label] = hit
        matrix[label, 2 if label == 4 else 4] += VALIDATION[label] - hit
    return matrix


@pytest.fixture
def run_directory(tmp_path: Path) -> Callable[..., RunDirectory]:
    """Makes an empty run directory ``<tmp>/ray_results/<folder>``."""

    def make(folder: str = "tiny", name: str = "tiny") -> RunDirectory:
        return RunDirectory(tmp_path / "ray_results" / folder, name)

    return make


def fill(directory: RunDirectory, confirm: bool = True, test: bool = True) -> RunDirectory:
    """2 fractions x off/sum, 3 search trials and 2 seeds of confirmation each, 6 epochs."""
    directory.add_images("val", *(["test"] if test else []))
    for fraction, base in ((0.01, 24), (1.0, 32)):
        for fusion, plus in (("off", 0), ("sum", 3)):
            arm = f"{fraction}-{fusion}"
            top = base + plus
            directory.trial(f"{arm}-0", fraction, fusion, index=0, correct=[20, 21, 22, 22, 22, 21])
            directory.trial(
                f"{arm}-1", fraction, fusion, index=1, correct=[20, 22, top, 23, 22, 21], learning_rate=3e-3
            )
            directory.trial(f"{arm}-2", fraction, fusion, index=2, status="stopped", correct=[18, 19])
            for seed in (101, 102) if confirm else ():
                name = f"{arm}-c{seed}"
                gain = seed - 101
                directory.trial(
                    name,
                    fraction,
                    fusion,
                    "confirm",
                    index=gain,
                    seed=seed,
                    correct=[20, 21, 22, top - 1 + 2 * gain, 22, 21],
                    learning_rate=3e-3,
                )
                directory.predict(name, 4, "val", top - 1 + 2 * gain)
                if test:
                    directory.predict(name, 4, "test", top - 2 + 2 * gain)
    return directory


@pytest.fixture(scope="session")
def finished_once(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished study; see `fill`. Nobody writes into it: `finished` is a copy."""
    directory = fill(RunDirectory(tmp_path_factory.mktemp("once") / "ray_results" / "tiny"))
    directory.curve(
        "cam16",
        epoch=[1, 2, 3],
        train_loss=[0.7, 0.5, 0.4],
        val_loss=[0.6, 0.45, 0.5],
        val_accuracy=[0.6, 0.8, 0.7],
        seconds=[1.0, 1.0, 1.0],
    )
    directory.curve(
        "prcc",
        epoch=[1, 2],
        train_loss=[0.02, 0.01],
        val_loss=[0.03, 0.011],
        val_accuracy=[float("nan")] * 2,
        seconds=[2.0, 2.0],
    )
    return directory.save()


@pytest.fixture
def finished(finished_once: Path, tmp_path: Path) -> Path:
    """A finished study of the test's own; see `fill`."""
    return Path(shutil.copytree(finished_once, tmp_path / "ray_results" / "tiny"))


@pytest.fixture(scope="session")
def finished_study(finished_once: Path) -> Study:
    """The finished study as loaded, for tests that only look: what one of them computes, the others have."""
    return load_study(finished_once)


@pytest.fixture(scope="session")
def report_once(finished_study: Study, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder of the finished study's report, for tests that only look."""
    return write_report(finished_study, tmp_path_factory.mktemp("report") / "report").parent


@pytest.fixture
def fill_directory() -> Callable[..., RunDirectory]:
    """The function `fill`, for variants of the finished study."""
    return fill


@pytest.fixture(scope="session")
def chromium() -> Iterator[Any]:
    """Chromium of the system, driven by Playwright; in CI it must be there."""
    program = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
    if program is None and not os.environ.get("CI"):
        pytest.skip("there is no Chromium here: apt-get install chromium")
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        # Software rendering, also of WebGL, and as root in a container.
        browser = playwright.chromium.launch(
            executable_path=program, args=["--no-sandbox", "--enable-unsafe-swiftshader"]
        )
        yield browser
        browser.close()


@pytest.fixture
def watched_page(chromium: Any) -> Iterator[Any]:
    """A page that may neither complain nor ask anything of another machine; what it did is checked at the end."""
    page = chromium.new_page(viewport={"width": 1440, "height": 1000})
    page.set_default_timeout(120_000)  # of a busy machine; a page that is ready does not wait
    complaints: list[str] = []
    page.on("console", lambda message: complaints.append(message.text) if message.type == "error" else None)
    page.on("pageerror", lambda error: complaints.append(str(error)))
    page.on("dialog", lambda dialog: (complaints.append(dialog.message), dialog.dismiss()))

    def check(request: Any) -> None:
        address = urlsplit(request.url)
        if address.scheme not in ("file", "data", "blob", "about") and address.hostname != "127.0.0.1":
            complaints.append(f"request to {request.url}")

    page.on("request", check)
    yield page
    page.close()
    assert complaints == []
