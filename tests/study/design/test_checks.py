"""Whether arms that learn from masks have any to learn from."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from data_utils.arrays import ImageArrays
from data_utils.cache import prepare
from data_utils.config import DataConfig
from data_utils.errors import DataError
from study.config.study import StudyConfig
from study.design.checks import check_masks

CLASSES = ("Basophil", "Eosinophil", "Lymphocyte", "Monocyte", "Neutrophil")


@pytest.fixture
def cells(tmp_path: Path) -> Callable[..., ImageArrays]:
    """Makes 10 training images of every class, of which the first `masks` have one."""

    def make(masks: int) -> ImageArrays:
        rng = np.random.default_rng(0)
        for split, count in (("train", 10), ("val", 1), ("test", 1)):
            for name in CLASSES:
                for i in range(count):
                    image = tmp_path / "data" / "wbc" / split / "data" / name / f"{i}.png"
                    image.parent.mkdir(parents=True, exist_ok=True)
                    Image.fromarray(rng.integers(0, 256, (16, 16, 3), dtype=np.uint8)).save(image)
                    mask = tmp_path / "data" / "wbc" / split / "mask" / name / f"{i}.png"
                    if split == "train" and i < masks:
                        mask.parent.mkdir(parents=True, exist_ok=True)
                        Image.new("L", (16, 16), 255).save(mask)
        data = DataConfig(source="folder", root=tmp_path / "data", cache_dir=tmp_path / "cache")
        return prepare(data, "wbc")

    return make


def configured(**changes: object) -> StudyConfig:
    values = {
        "arms": {"fractions": [0.1, 1.0], "segmentation": [False, True]},
        "training": {"segmentation_weight": 0.3},
        "confirm": {"seeds": 1},
    }
    return StudyConfig.model_validate(values | changes)


def test_an_arm_without_any_mask_is_refused_with_where_they_belong(cells: Callable[..., ImageArrays]) -> None:
    with pytest.raises(DataError, match=r"arms\.segmentation asks .* none of the 50 .* wbc/train/mask/<Class>"):
        check_masks(configured(), {"wbc": cells(0)})


def test_pretraining_without_any_mask_is_refused(cells: Callable[..., ImageArrays]) -> None:
    config = configured(arms={"fractions": [1.0]}, training={}, pretrain={"cam16": {"segmentation_weight": 1.0}})
    without = cells(0)
    with pytest.raises(DataError, match=r"pretrain\.cam16\.segmentation_weight asks for masks"):
        check_masks(config, {"wbc": without, "cam16": without})
    # Given weights: cam16 is not trained, its images are not opened.
    assert check_masks(config, {"wbc": without}) == []


def test_a_fraction_whose_subset_has_no_mask_is_named(cells: Callable[..., ImageArrays]) -> None:
    few = check_masks(configured(), {"wbc": cells(1)})
    assert few and all("0.1 subset" in line for line in few)
    assert check_masks(configured(), {"wbc": cells(10)}) == []


def test_a_study_that_uses_no_masks_needs_none(cells: Callable[..., ImageArrays]) -> None:
    assert check_masks(StudyConfig(), {"wbc": cells(0), "cam16": cells(0)}) == []
