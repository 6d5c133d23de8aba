"""Whether arms that learn from masks have any to learn from."""

from __future__ import annotations

from typing import TYPE_CHECKING

from data_utils.errors import DataError
from data_utils.fractions import select_fraction

if TYPE_CHECKING:
    from collections.abc import Mapping

    from data_utils.cache import ImageArrays
    from study.config.study import StudyConfig


def check_masks(config: StudyConfig, arrays: Mapping[str, ImageArrays]) -> list[str]:
    """Look for masks before anything is trained.

    Args:
        config: Of the study.
        arrays: Images of the domains that it trains on, by domain; cam16 may be missing.

    Returns:
        A line for each fraction of which a seed's subset has no mask: its arms with masks equal those without.

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
