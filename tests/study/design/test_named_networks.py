"""Networks that cannot be trained are refused before anything is."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from data_utils.arrays import ImageArrays
from models.errors import WeightsError
from models.torchvision_classifiers import TorchvisionClassifier
from study.config.study import StudyConfig
from study.design.named_networks import check_networks
from study.errors import UsageError


def configured(networks: object, size: int = 32, **training: object) -> StudyConfig:
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
    assert check_networks(configured(networks), small_arrays) == [
        "resnet18: 11,179,077 parameters, random initial weights",
        f"shufflenet_v2_x0_5: 346,917 parameters, starts from {tmp_path / 'weights.pth'}",
    ]


def test_an_unknown_name_is_answered_with_close_ones(small_arrays: ImageArrays) -> None:
    with pytest.raises(UsageError, match="no classification network 'resnet19'; did you mean resnet18 or"):
        check_networks(configured(["resnet19"]), small_arrays)
    # Of another task: torchvision knows it, and it gives no classes.
    with pytest.raises(UsageError, match="no classification network"):
        check_networks(configured(["fcn_resnet50"]), small_arrays)


@pytest.mark.parametrize(("name", "side"), [("alexnet", 63), ("vit_b_16", 224)])
def test_images_that_are_too_small_are_refused_with_the_size_that_would_do(
    small_arrays: ImageArrays, name: str, side: int
) -> None:
    with pytest.raises(
        UsageError, match=rf"{name} cannot look at images of 32x32 px .* Set data\.image_size to {side}"
    ):
        check_networks(configured([name]), small_arrays)
    assert check_networks(configured([name], side), small_arrays)


def test_images_scored_at_their_own_size_have_to_fit_too(small_arrays: ImageArrays) -> None:
    config = configured(["alexnet"], 64)
    config = config.model_copy(update={"data": config.data.model_copy(update={"validation_size": "original"})})
    with pytest.raises(UsageError, match=r"16x16 px \(data\.validation_size: original\)"):
        check_networks(config, small_arrays)


def test_a_last_batch_of_one_image_is_refused_where_it_cannot_be_learnt_from(small_arrays: ImageArrays) -> None:
    # 100 images: 33 batches of 3, and one left over.
    with pytest.raises(UsageError, match="cannot learn from a batch of one image"):
        check_networks(configured(["resnet18"], steps_per_epoch=None, batch_size=3), small_arrays)
    assert check_networks(configured(["resnet18"], steps_per_epoch=None, batch_size=4), small_arrays)
    assert check_networks(configured(["resnet18"], 64, steps_per_epoch=None, batch_size=3), small_arrays)


def test_a_weights_file_of_another_network_is_refused(small_arrays: ImageArrays, tmp_path: Path) -> None:
    torch.save(TorchvisionClassifier("squeezenet1_1", 5).network.state_dict(), tmp_path / "other.pth")
    with pytest.raises(WeightsError, match=r"other\.pth does not hold the weights of resnet18: 100 missing"):
        check_networks(configured({"resnet18": tmp_path / "other.pth"}), small_arrays)
