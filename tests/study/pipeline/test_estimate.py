"""What a study would cost."""

from __future__ import annotations

import pytest

from data_utils.arrays import ImageArrays
from data_utils.config import DataConfig
from study.config.study import StudyConfig
from study.pipeline.estimate import (
    ArmEstimate,
    ImageCounts,
    count_images,
    estimate_arms,
    estimate_seconds,
    pretraining_image_steps,
)


def configured(**arms: object) -> StudyConfig:
    return StudyConfig.model_validate(
        {
            "arms": {"fractions": [1.0], **arms},
            "controls": ["twin", "published"],
            "training": {"epochs": 4, "steps_per_epoch": 3, "batch_size": 5},
            "search": {"mode": "qmc", "trials_per_arm": 6},
            "confirm": {"seeds": 2},
        }
    )


def arms_of(config: StudyConfig, arrays: ImageArrays) -> list[ArmEstimate]:
    return estimate_arms(config, count_images(config, arrays))


def test_every_arm_costs_the_same_controls_included(small_arrays: ImageArrays) -> None:
    arms = arms_of(configured(), small_arrays)
    assert [arm.arm for arm in arms] == ["WBC_100/off", "WBC_100/sum", "WBC_100/off-twin", "WBC_100/sum-published"]
    # 8 trials of 4 epochs, each of 3 steps of 5 images and a validation of 10.
    assert {(arm.image_steps, arm.scored_images, arm.encoded_crops) for arm in arms} == {(480, 320, 0)}


def test_live_features_cost_a_pass_through_every_encoder_of_the_arm(small_arrays: ImageArrays) -> None:
    arms = arms_of(configured(features="live", encoder_sets=[["prcc"]]), small_arrays)
    assert {arm.arm: arm.encoded_crops for arm in arms} == {
        "WBC_100/off": 0,
        "WBC_100/sum": 960,
        "WBC_100/sum(prcc)": 480,
        "WBC_100/off-twin": 0,
        "WBC_100/sum-published": 0,
    }


def test_only_encoders_that_an_arm_needs_are_pretrained(small_arrays: ImageArrays) -> None:
    images = dict.fromkeys(("wbc", "prcc", "cam16"), small_arrays)
    config = configured(fusion=["off", "sum", "finetune"], encoders=["prcc"])
    assert pretraining_image_steps(config, images) == 100 * (10 + 50)
    assert pretraining_image_steps(configured(fusion=["off", "sum"], encoders=["prcc"]), images) == 100 * 10


def test_scored_images_cost_what_their_pixels_cost(small_arrays: ImageArrays) -> None:
    # Crops of 32 px, scored at 16, 32 and 64 px: a quarter, once and four times the work of a forward pass.
    def seconds(size: int | str) -> float:
        config = configured().model_copy(update={"data": DataConfig.model_validate({"validation_size": size})})
        images = count_images(config, small_arrays)
        return estimate_seconds(config, images, seconds_per_image_step=3.0, pretraining_image_steps=0, slots=1)

    half, full, double = seconds("original"), seconds("crop"), seconds(64)
    # 4 arms score 320 images each, at a third of 3 s.
    assert (full - half, double - full) == pytest.approx((0.75 * 4 * 320, 3 * 4 * 320))


def test_a_network_costs_what_its_own_steps_cost(small_arrays: ImageArrays) -> None:
    config = configured(networks=["resnet18"])
    images = count_images(config, small_arrays)
    assert [arm.classifier for arm in estimate_arms(config, images)] == ["", "", "resnet18", "", ""]
    same, slower = (
        estimate_seconds(
            config,
            images,
            seconds_per_image_step=1.0,
            pretraining_image_steps=0,
            slots=1,
            classifier_seconds={"resnet18": seconds},
        )
        for seconds in (1.0, 3.0)
    )
    # 480 images trained on, and 320 scored at a third.
    assert slower - same == pytest.approx(2 * (480 + 320 / 3))


def test_more_slots_divide_the_work_but_not_the_start() -> None:
    config, images = configured(), ImageCounts({1.0: 100}, 10, 32.0**2)
    one, four, nothing = (
        estimate_seconds(config, images, seconds_per_image_step=each, pretraining_image_steps=500, slots=slots)
        for each, slots in ((0.1, 1), (0.1, 4), (0.0, 1))
    )
    assert one - nothing == pytest.approx(4 * (four - nothing))
