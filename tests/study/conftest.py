"""Small plans and reports that several tests share."""

from __future__ import annotations

import hashlib
import subprocess
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest
from hypothesis import settings
from PIL import Image

from analysis.records.schema import TABLES
from analysis.records.segments import read_segments
from data_utils.cache import prepare
from data_utils.config import DataConfig
from study.config.files import check_config, read_yaml
from study.design.arms import Arm
from study.design.trials import EpochReport, TrialSpec
from study.search.plans import ArmPlan
from study.search.queue import TrialQueue
from study.search.searchers import FixedSearcher
from study.storage.records import RecordWriter
from tests.study.made_once import made_once
from tests.study.tiny import command, write_tiny

# How long an example takes on a busy machine is no property of the code.
settings.register_profile("study", deadline=None)
settings.load_profile("study")


@pytest.fixture
def make_report() -> Callable[..., EpochReport]:
    """Makes a report of an epoch with a given number of the 20 validation images classified correctly."""

    def make(epoch: int, correct: int = 10, loss: float = 0.5, seconds: float = 1.0) -> EpochReport:
        confusion = [0] * 25
        confusion[0], confusion[1] = correct, 20 - correct
        return EpochReport(
            epoch=epoch,
            steps=6 * epoch,
            learning_rate=1e-3,
            train_loss=loss,
            train_accuracy=0.5,
            val_loss=loss,
            confusion=tuple(confusion),
            train_images=12,
            parameters=345,
            seconds=seconds,
        )

    return make


@pytest.fixture
def draw_correct() -> Callable[[TrialSpec, int], int]:
    """How many of 20 images a trial classifies correctly after an epoch: any number, always the same."""
    return lambda spec, epoch: hashlib.sha256(f"{spec.trial_id}/{epoch}".encode()).digest()[0] % 21


@pytest.fixture
def one_arm() -> Callable[..., ArmPlan]:
    """Makes the plan of one arm that ignores results."""

    def make(
        budget: int = 2, epochs: int = 3, cost: int = 10, fraction: float = 1.0, fusion: str = "off", **more: object
    ) -> ArmPlan:
        points = [(1e-3 * (i + 1), 1e-4) for i in range(budget)]
        values = {"phase": "search", "searcher": FixedSearcher(points), "seeds": [7] * budget, **more}
        return ArmPlan(arm=Arm(fraction, fusion), epochs=epochs, cost=cost, **values)  # type: ignore[arg-type]  # a test's shorthand

    return make


@pytest.fixture
def replayed() -> Callable[[Path, Sequence[ArmPlan]], TrialQueue]:
    """Rebuilds a queue from the records alone, as a new process does."""

    def rebuild(folder: Path, plans: Sequence[ArmPlan], **options: object) -> TrialQueue:
        queue = TrialQueue(plans, RecordWriter(folder), **{"metric": "val_accuracy", **options})  # type: ignore[arg-type]  # a test's shorthand
        tables = {name: read_segments(folder / name, columns) for name, columns in TABLES.items()}
        queue.replay(tables["trials"], tables["epochs"], frozenset(tables["predictions"]["trial_id"]))
        return queue

    return rebuild


@pytest.fixture(scope="session")
def small_data(tmp_path_factory: pytest.TempPathFactory) -> DataConfig:
    """Some 120 generated images, smaller than any study would use."""
    sizes = {"train": 100, "validation": 10, "test": 10, "size": 16}
    return DataConfig.model_validate({"synthetic": sizes, "cache_dir": tmp_path_factory.mktemp("cache")})


@pytest.fixture(scope="session")
def small_arrays(small_data: DataConfig):
    return prepare(small_data, "wbc")


@pytest.fixture(scope="session")
def calm(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The run directory of a tiny study that ran without interruption; ``output.txt`` beside the runs has what it printed.

    All of pytest's processes have the same one: a test that runs a study in it, or writes there, takes a copy.
    """
    return made_once(tmp_path_factory, "calm", run_calmly) / "runs" / "tiny"


def run_calmly(folder: Path) -> None:
    """Run the tiny study as a user does, where modules of somebody's own have our names.

    Neither the command nor Ray's workers may take them for ours.
    """
    elsewhere = folder / "elsewhere"
    for name in ("analysis", "data_utils", "models", "study"):
        (elsewhere / name).mkdir(parents=True)
        (elsewhere / name / "__init__.py").write_text("raise RuntimeError('not ours')\n")
    python, *arguments = command("run", write_tiny(folder), "--root", folder / "runs")
    done = subprocess.run([python, "-P", *arguments], cwd=elsewhere, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr + done.stdout
    (folder / "output.txt").write_text(done.stdout)


@pytest.fixture(scope="session")
def calm_images(calm: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The test images of the calm study as files, ``<Class>/<content hash>.png``."""
    folder = tmp_path_factory.mktemp("calm_images")
    arrays = prepare(check_config(read_yaml(calm / "study.yaml"), "study.yaml").data, "wbc")
    for row in arrays.indices("test"):
        path = folder / arrays.classes[arrays.labels[row]] / f"{arrays.hashes[row]}.png"
        path.parent.mkdir(exist_ok=True)
        Image.fromarray(arrays.image(row)).save(path)
    return folder
