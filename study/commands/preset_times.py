"""What studies of the presets would take here, from a few measured training steps."""

from __future__ import annotations

import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from study.config.files import load_config
from study.pipeline.estimate import ImageCounts, estimate_seconds, seconds_per_image_step, slots_here

if TYPE_CHECKING:
    from study.config.study import StudyConfig

_PROBED_PIXELS = 200_000
"""Most pixels of a measured training step: 4 crops of 224 px, which take a second on a slow core."""

PUBLISHED_TRAIN = {0.01: 82, 0.1: 842, 0.5: 4223, 1.0: 8447}
PUBLISHED_VALIDATION, PUBLISHED_SIDE = 1728, 575
"""Blood cells of the published study, and their side in px: what presets that bring no images are reckoned on."""


@dataclass(frozen=True)
class PresetTime:
    """What the study of one preset would take."""

    preset: str
    images_per_second: float
    """Training images of one trial in a second."""
    slots: int
    """Trials that run at once."""
    seconds: float
    """Seconds that the whole study takes when no trial is stopped early."""
    on: str
    """The images that it is reckoned on, in words."""


def estimate_presets(names: tuple[str, ...] = ("quick", "local", "published")) -> list[PresetTime]:
    """Measure training steps of each preset for some seconds and reckon what its study would take here.

    `quick` brings its own images; the others are reckoned on as many blood cells as the published study had, with encoders that
    exist already. `wbc-study run CONFIG --dry-run` says it for your own images.
    """
    return [_estimate(name) for name in names]


def _estimate(name: str) -> PresetTime:
    # The folder source needs a root to be valid; nothing is read from it.
    config = load_config(name, [] if name == "quick" else ["data.root=."])
    measured = _measure(config)
    if name == "quick":
        images, pretraining = _generated_counts(config), _generated_pretraining(config)
        on = f"{config.data.synthetic.train:,} generated cells"
    else:
        images, pretraining = _published_counts(config), 0
        on = f"{max(images.train.values()):,} cells, no pretraining"
    slots = slots_here(config)
    seconds = estimate_seconds(
        config, images, seconds_per_image_step=measured, pretraining_image_steps=pretraining, slots=slots
    )
    return PresetTime(name, 1 / measured, slots, seconds, on)


def _generated_counts(config: StudyConfig) -> ImageCounts:
    """Blood cells that the preset generates."""
    synthetic = config.data.synthetic
    train = {fraction: max(1, round(fraction * synthetic.train)) for fraction in config.arms.fractions}
    return ImageCounts(train, synthetic.validation, float(config.data.image_size**2))


def _generated_pretraining(config: StudyConfig) -> int:
    """Generated images that pass the encoders in pretraining, all epochs."""
    synthetic, pretrain = config.data.synthetic, config.pretrain
    return synthetic.prcc * pretrain.prcc.epochs + synthetic.cam16_train * pretrain.cam16.epochs


def _published_counts(config: StudyConfig) -> ImageCounts:
    """Blood cells of the published study, at the size at which the preset validates."""
    wanted = config.data.validation_size
    sides = {"original": PUBLISHED_SIDE, "crop": config.data.image_size}
    side = sides[wanted] if isinstance(wanted, str) else wanted
    return ImageCounts(PUBLISHED_TRAIN, PUBLISHED_VALIDATION, float(side**2))


def _measure(config: StudyConfig) -> float:
    """Seconds that a training step takes for each image, with the threads of one trial, on a few generated images."""
    from data_utils.cache import prepare
    from data_utils.config import DataConfig

    stored = config.data.stored_size
    side = stored if isinstance(stored, int) else max(config.data.image_size, 48)
    few: dict[str, int] = {"train": 20, "validation": 5, "test": 5, "size": side}
    with tempfile.TemporaryDirectory() as folder:
        data = DataConfig.model_validate(
            {"image_size": config.data.image_size, "synthetic": few, "cache_dir": Path(folder)}
        )
        arrays = prepare(data, "wbc")
        batch = max(2, min(config.training.batch_size, _PROBED_PIXELS // config.data.image_size**2))
        training = config.training.model_copy(update={"batch_size": batch})
        return seconds_per_image_step(config.model_copy(update={"data": data, "training": training}), arrays, batches=3)
