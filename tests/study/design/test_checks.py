"""A configuration that its images cannot serve is refused before anything is trained: masks and networks."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from data_utils.arrays import ImageArrays
from data_utils.cache import prepare
from data_utils.config import DataConfig
from data_utils.errors import DataError
from models.errors import WeightsError
from models.torchvision_classifiers import TorchvisionClassifier
from study.config.study import StudyConfig
from study.design.checks import check_masks, check_networks
from study.errors import UsageError

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


def configured_masks(**changes: object) -> StudyConfig:
    values = {
        "arms": {"fractions": [0.1, 1.0], "segmentation": [False, True]},
        "training": {"segmentation_weight": 0.3},
        "confirm": {"seeds": 1},
    }
    return StudyConfig.model_validate(values | changes)


def test_an_arm_without_any_mask_is_refused_with_where_they_belong(cells: Callable[..., ImageArrays]) -> None:
    with pytest.raises(DataError, match=r"arms\.segmentation asks .* none of the 50 .* wbc/train/mask/<Class>"):
        check_masks(configured_masks(), {"wbc": cells(0)})


def test_pretraining_without_any_mask_is_refused(cells: Callable[..., ImageArrays]) -> None:
    config = configured_masks(arms={"fractions": [1.0]}, training={}, pretrain={"cam16": {"segmentation_weight": 1.0}})
    without = cells(0)
    with pytest.raises(DataError, match=r"pretrain\.cam16\.segmentation_weight asks for masks"):
        check_masks(config, {"wbc": without, "cam16": without})
    # Given weights: cam16 is not trained, its images are not opened.
    assert check_masks(config, {"wbc": without}) == []


def test_a_fraction_whose_subset_has_no_mask_is_named(cells: Callable[..., ImageArrays]) -> None:
    few = check_masks(configured_masks(), {"wbc": cells(1)})
    assert few and all("0.1 subset" in line for line in few)
    assert check_masks(configured_masks(), {"wbc": cells(10)}) == []


def test_a_study_that_uses_no_masks_needs_none(cells: Callable[..., ImageArrays]) -> None:
    assert check_masks(StudyConfig(), {"wbc": cells(0), "cam16": cells(0)}) == []


def configured_networks(networks: object, size: int = 32, **training: object) -> StudyConfig:
    return StudyConfig.model_validate(
        {
            "arms": {"fractions": [1.0], "networks": networks},
            "data": {"image_size": size},
            "training": {"steps_per_epoch": 2, **training},
            "confirm": {"seeds": 1},
        }
    )


def test_each_network_is_described(small_arrays: ImageArrays, tmp_path: Path) -> None:
    torch.save(TorchvisionClassifier("shufflenet_v2_x0_5", 7).network.state_dict(), tmp_path / "weights.pth")
    networks = {"resnet18": None, "shufflenet_v2_x0_5": tmp_path / "weights.pth"}
    assert check_networks(configured_networks(networks), small_arrays) == [
        "resnet18: 11,179,077 parameters, random initial weights",
        f"shufflenet_v2_x0_5: 346,917 parameters, starts from {tmp_path / 'weights.pth'}",
    ]


def test_an_unknown_name_is_answered_with_close_ones(small_arrays: ImageArrays) -> None:
    with pytest.raises(UsageError, match="no classification network 'resnet19'; did you mean resnet18 or"):
        check_networks(configured_networks(["resnet19"]), small_arrays)
    # Of another task: torchvision knows it, and it gives no classes.
    with pytest.raises(UsageError, match="no classification network"):
        check_networks(configured_networks(["fcn_resnet50"]), small_arrays)


@pytest.mark.parametrize(("name", "side"), [("alexnet", 63), ("vit_b_16", 224)])
def test_images_that_are_too_small_are_refused_with_the_size_that_would_do(
    small_arrays: ImageArrays, name: str, side: int
) -> None:
    with pytest.raises(
        UsageError, match=rf"{name} cannot look at images of 32x32 px .* Set data\.image_size to {side}"
    ):
        check_networks(configured_networks([name]), small_arrays)
    assert check_networks(configured_networks([name], side), small_arrays)


def test_images_scored_at_their_own_size_have_to_fit_too(small_arrays: ImageArrays) -> None:
    config = configured_networks(["alexnet"], 64)
    config = config.model_copy(update={"data": config.data.model_copy(update={"validation_size": "original"})})
    with pytest.raises(UsageError, match=r"16x16 px \(data\.validation_size: original\)"):
        check_networks(config, small_arrays)


def test_a_last_batch_of_one_image_is_refused_where_it_cannot_be_learnt_from(small_arrays: ImageArrays) -> None:
    # 100 images: 33 batches of 3, and one left over.
    with pytest.raises(UsageError, match="cannot learn from a batch of one image"):
        check_networks(configured_networks(["resnet18"], steps_per_epoch=None, batch_size=3), small_arrays)
    assert check_networks(configured_networks(["resnet18"], steps_per_epoch=None, batch_size=4), small_arrays)
    assert check_networks(configured_networks(["resnet18"], 64, steps_per_epoch=None, batch_size=3), small_arrays)


def test_a_weights_file_of_another_network_is_refused(small_arrays: ImageArrays, tmp_path: Path) -> None:
    torch.save(TorchvisionClassifier("squeezenet1_1", 5).network.state_dict(), tmp_path / "other.pth")
    with pytest.raises(WeightsError, match=r"other\.pth does not hold the weights of resnet18: 100 missing"):
        check_networks(configured_networks({"resnet18": tmp_path / "other.pth"}), small_arrays)
