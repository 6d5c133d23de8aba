"""One piece of work that three programs do: this project, Ray Tune as its guides show it, and a loop without Ray.

All of them read the same image files, train the same networks on the same labelled subsets at the same points of the searched
space, for the same number of epochs and gradient steps with the same batches, and validate after each epoch on the same images.
Encoders are given (with random weights, which cost what pretrained ones cost), so that none of them pretrains.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Self

import yaml
from PIL import Image

REAL_CELLS = Path("../shared/data")
"""Where real cells are looked for; a measure that needs them says so when they are missing."""

FRACTIONS = (0.01, 0.1, 0.5, 1.0)
FUSIONS = ("off", "sum")
ENCODERS = ("prcc", "cam16")
TRIALS = 2
"""Number of trials of each arm."""

LOADER_WORKERS = 2
"""Processes of a DataLoader; Ray's guide has more, which two cores cannot serve."""


@dataclass(frozen=True)
class Work:
    """What is to be done, in terms that a program without this project's configuration understands."""

    images: str
    """Folder of ``<split>/data/<Class>/``."""
    subsets: dict[str, list[str]]
    """Fraction -> training images below `images`; ``val`` -> those of validation."""
    weights: dict[str, str]
    """Encoder -> file."""
    points: list[tuple[float, float]]
    """Learning rate and weight decay of each trial of an arm."""
    width: int
    image_size: int
    batch_size: int
    epochs: int
    steps_per_epoch: int
    crop_scale: tuple[float, float]
    flip: float

    def save(self, path: Path) -> Path:
        """Write it for another process."""
        path.write_text(json.dumps(asdict(self)), encoding="utf-8")
        return path

    @classmethod
    def load(cls, path: Path | str) -> Self:
        """Read what `save` wrote."""
        return cls(**json.loads(Path(path).read_text(encoding="utf-8")))


def study_settings(name: str, scratch: Path, **data: Any) -> dict[str, Any]:
    """Configuration of the study: the preset quick with fewer trials and given encoders, everything else as it is.

    Args:
        name: Name of the run directory.
        scratch: Folder of the encoders, and of the image cache, which the study has to build.
        data: Settings of `data` beside those of the preset.
    """
    from study.config.files import load_config

    preset = load_config("quick", []).model_dump(mode="json")
    return preset | {
        "name": name,
        "data": preset["data"] | {"source": "folder", "cache_dir": str(scratch / "cache"), **data},
        "training": preset["training"] | {"epochs": 3},
        # The first points of tpe are quasi-random: the other programs are told the same ones. No rung before the last epoch.
        "search": preset["search"] | {"trials_per_arm": TRIALS, "tpe_startup": TRIALS, "grace_epochs": 3},
        "pretrain": {encoder: {"weights": str(scratch / f"{encoder}.safetensors")} for encoder in ENCODERS},
        "confirm": {"seeds": 0},
    }


def write_encoders(scratch: Path, width: int) -> None:
    """Encoders of the study's width."""
    from models.autoencoder import Autoencoder
    from models.checkpoints import save_tensors
    from models.classifier import ResidualClassifier
    from models.initialisation import initialise, stream

    networks = {"prcc": initialise(Autoencoder(width), stream(0, "prcc")), "cam16": ResidualClassifier(2, width)}
    for name, network in networks.items():
        save_tensors(scratch / f"{name}.safetensors", network.state_dict())


def export_embedded_cells(root: Path, cache: Path) -> Path:
    """The generated cells of the preset quick as files, so that every program reads and decodes them."""
    from data_utils.cache import prepare
    from study.config.files import load_config

    config = load_config("quick", [f"data.cache_dir={cache}"]).data
    arrays = prepare(config, "wbc")
    for i in range(len(arrays)):
        folder = root / "wbc" / str(arrays.splits[i]) / "data" / arrays.classes[arrays.labels[i]]
        folder.mkdir(parents=True, exist_ok=True)
        Image.fromarray(arrays.image(i)).save(folder / f"{i:05}.png")
    return root


def prepare_work(settings: dict[str, Any], scratch: Path) -> tuple[Path, Path]:
    """Write down one piece of work for all programs.

    Args:
        settings: See `study_settings`.
        scratch: An empty folder.

    Returns:
        The study's configuration and the `Work` for the others.
    """
    from data_utils.cache import prepare
    from data_utils.fractions import select_fraction
    from study.config.files import check_config
    from study.search.sequences import quasi_random_points

    config = check_config(settings, "compared work")
    write_encoders(scratch, config.model.width)
    elsewhere = config.data.model_copy(update={"cache_dir": scratch / "cache of the comparison"})
    arrays = prepare(elsewhere, "wbc")
    subsets = {
        str(fraction): arrays.paths[select_fraction(arrays, fraction, config.seed)].tolist() for fraction in FRACTIONS
    }
    points = quasi_random_points(config.search, config.seed, TRIALS)
    assert config.training.steps_per_epoch is not None
    assert config.data.root is not None
    work = Work(
        images=str(config.data.root / "wbc"),
        subsets={**subsets, "val": arrays.paths[arrays.indices("val")].tolist()},
        weights={encoder: str(config.pretrain.of(encoder).weights) for encoder in ENCODERS},
        points=[(point.learning_rate, point.weight_decay) for point in points],
        width=config.model.width,
        image_size=config.data.image_size,
        batch_size=config.training.batch_size,
        epochs=config.training.epochs,
        steps_per_epoch=config.training.steps_per_epoch,
        crop_scale=config.data.crop_scale,
        flip=config.data.flip,
    )
    study_file = scratch / "study.yaml"
    study_file.write_text(yaml.safe_dump(settings), encoding="utf-8")
    return study_file, work.save(scratch / "work.json")
