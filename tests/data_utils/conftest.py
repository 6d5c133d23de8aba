"""Small data sets on disk, with the layout of the coursework."""

import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from data_utils.arrays import ImageArrays
from data_utils.config import DataConfig

WBC = ("Basophil", "Eosinophil", "Lymphocyte", "Monocyte", "Neutrophil")


def counts(arrays: ImageArrays, split: str) -> list[int]:
    """Count the images of a split by label."""
    return np.bincount(arrays.labels[arrays.indices(split)], minlength=5).tolist()


def with_settings(config: DataConfig, **settings: object) -> DataConfig:
    """Return the configuration with some settings changed."""
    return DataConfig.model_validate({**config.model_dump(), **settings})


def write_image(path: Path, seed: int, size: tuple[int, int] = (20, 24)) -> Path:
    """Write a random picture of (height, width) whose pixels depend on the seed only."""
    path.parent.mkdir(parents=True, exist_ok=True)
    pixels = np.random.default_rng(seed).integers(0, 256, (*size, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(path)
    return path


@pytest.fixture
def write() -> Callable[..., Path]:
    return write_image


@pytest.fixture(scope="session")
def written_root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What every `root` is a copy of."""
    root = tmp_path_factory.mktemp("written")
    for label, name in enumerate(WBC):
        for i in range(10):
            write_image(root / "wbc" / "train" / "data" / name / f"{i}.png", 1000 * label + i)
        for i in range(2):
            write_image(root / "wbc" / "val" / "data" / name / f"{i}.png", 1000 * label + 500 + i)
            mask = root / "wbc" / "train" / "mask" / name / f"{i}.png"
            mask.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(np.repeat(np.array([[0, 128, 255] * 8], np.uint8), 20, axis=0)).save(mask)
    return root


@pytest.fixture
def root(written_root: Path, tmp_path: Path) -> Path:
    """A folder with wbc: 10 training images (2 with masks) and 2 validation images of every class."""
    return shutil.copytree(written_root, tmp_path / "data", copy_function=shutil.copyfile)


@pytest.fixture
def copy_subset(root: Path) -> Callable[[str, int], Path]:
    """Makes a ready-made subset of the first training images of every class; returns the folder of its classes."""

    def copy(percent: str, count: int) -> Path:
        data = root / f"WBC_{percent}" / "train" / "data"
        for folder in (root / "wbc" / "train" / "data").iterdir():
            (data / folder.name).mkdir(parents=True)
            for path in sorted(folder.iterdir())[:count]:
                shutil.copy(path, data / folder.name)
        return data

    return copy


@pytest.fixture
def config(root: Path, tmp_path: Path) -> DataConfig:
    return DataConfig(source="folder", root=root, cache_dir=tmp_path / "cache")


@pytest.fixture
def real_data() -> Path:
    folder = Path(__file__).resolve().parents[3] / "shared" / "data"
    if not (folder / "wbc").is_dir():
        pytest.skip("the real data set ../shared/data is not on this machine")
    return folder
