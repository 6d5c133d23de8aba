"""Checks of a configuration against its images, before anything is trained: masks to learn from, networks that fit."""

from __future__ import annotations

import difflib
from typing import TYPE_CHECKING

from data_utils.errors import DataError
from data_utils.fractions import select_fraction
from study.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from data_utils.arrays import ImageArrays
    from study.config.study import StudyConfig


def check_masks(config: StudyConfig, arrays: Mapping[str, ImageArrays]) -> list[str]:
    """Look for masks before anything is trained.

    Args:
        config: Configuration of the study.
        arrays: Images by domain, of the domains that the study trains on; cam16 may be missing.

    Returns:
        A line for each fraction that has no mask in the subset of some seed: arms with masks equal those without there.

    Raises:
        DataError: an arm or the pretraining is to learn from masks, but no training image has one.
    """
    wanted = {"arms.segmentation": ("wbc", any(config.arms.segmentation))}
    wanted["pretrain.cam16.segmentation_weight"] = ("cam16", config.pretrain.cam16.segmentation_weight > 0)
    for setting, (domain, asked) in wanted.items():
        if not asked or domain not in arrays:
            continue
        train = arrays[domain].indices("train")
        if not arrays[domain].masked[train].any():
            raise DataError(
                f"{setting} asks for masks, but none of the {len(train):,} training images of {domain} has one; expected files"
                f" such as {domain}/train/mask/<Class>/<name of the image>.png. Add masks, or leave {setting} out"
            )
    if not any(config.arms.segmentation):
        return []
    cells, lines = arrays["wbc"], []
    for fraction in sorted(config.arms.fractions):
        seeds = (config.seed, *config.confirm_seeds())
        without = [seed for seed in seeds if not cells.masked[select_fraction(cells, fraction, seed)].any()]
        if without:
            lines.append(
                f"no image of the {fraction:.10g} subset has a mask with seed {', '.join(map(str, without))}: there,"
                " learning from masks changes nothing"
            )
    return lines


def check_networks(config: StudyConfig, cells: ImageArrays) -> list[str]:
    """Check every network of `arms.networks`.

    Args:
        config: Configuration of the study.
        cells: Images of blood cells.

    Returns:
        A line for each network: its size, and where its weights come from.

    Raises:
        UsageError: torchvision has no such network, or it cannot look at images of the configured size.
        WeightsError: a weights file is missing, damaged or of another network.
    """
    # They bring torch with them, which few callers need.
    from models.torchvision_classifiers import count_parameters, known_classifiers, read_classifier_weights

    lines = []
    known = known_classifiers() if config.arms.networks else []
    for name in config.arms.networks:
        if name not in known:
            close = difflib.get_close_matches(name, known, n=3)
            hint = f"did you mean {' or '.join(close)}?" if close else f"it has {', '.join(known)}"
            raise UsageError(f"arms.networks: torchvision has no classification network {name!r}; {hint}")
    classes = len(cells.classes)
    for name, path in config.arms.networks.items():
        _check_sizes(config, cells, name)
        if path is not None:
            read_classifier_weights(name, path, classes)
        origin = "random initial weights" if path is None else f"starts from {path}"
        lines.append(f"{name}: {count_parameters(name, classes):,} parameters, {origin}")
    return lines


def _check_sizes(config: StudyConfig, cells: ImageArrays, name: str) -> None:
    """Refuse a network that cannot look at crops or at whole images, or not learn from the smallest batch."""
    from models.torchvision_classifiers import find_refusal, smallest_side

    crop, wanted = config.data.image_size, config.data.validation_size
    shown = [("data.image_size", crop, crop)]
    if wanted == "original":
        heights, widths = cells.heights, cells.widths
        shown += [("data.validation_size: original", int(f(heights)), int(f(widths))) for f in (min, max)]
    elif wanted != "crop":
        shown.append(("data.validation_size", wanted, wanted))
    for setting, height, width in shown:
        reason = find_refusal(name, height, width)
        if reason:
            side = smallest_side(name, min(height, width))
            advice = f"Set {setting.split(':')[0]} to {side}" if side else "Choose another size"
            raise UsageError(
                f"arms.networks: {name} cannot look at images of {width}x{height} px ({setting}): {reason}. {advice}, or leave"
                " this network out"
            )
    if _has_single_image(config, cells):
        reason = find_refusal(name, crop, crop, images=1, training=True)
        if reason:
            raise UsageError(
                f"arms.networks: {name} cannot learn from a batch of one image of {crop} px ({reason}), and an epoch has one."
                " Change training.batch_size, set training.steps_per_epoch, or enlarge data.image_size"
            )


def _has_single_image(config: StudyConfig, cells: ImageArrays) -> bool:
    """Whether any batch of any trial holds one image only."""
    size = config.training.batch_size
    if size == 1 or config.training.steps_per_epoch is not None:
        return size == 1
    seeds = (config.seed, *config.confirm_seeds())
    return any(
        len(select_fraction(cells, fraction, seed)) % size == 1 for fraction in config.arms.fractions for seed in seeds
    )
