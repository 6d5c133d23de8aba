"""What a study would cost."""

from __future__ import annotations

from data_utils.arrays import ImageArrays
from study.config import StudyConfig
from study.estimate import estimate_arms, pretraining_image_steps


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


def test_every_arm_costs_the_same_controls_included(small_arrays: ImageArrays) -> None:
    arms = estimate_arms(configured(), small_arrays)
    assert [arm.arm for arm in arms] == ["WBC_100/off", "WBC_100/sum", "WBC_100/off-twin", "WBC_100/sum-published"]
    # 8 trials of 4 epochs, each of 3 steps of 5 images and a validation of 10.
    assert {(arm.image_steps, arm.scored_images, arm.encoded_crops) for arm in arms} == {(480, 320, 0)}


def test_live_features_cost_a_pass_through_every_encoder_of_the_arm(small_arrays: ImageArrays) -> None:
    arms = estimate_arms(configured(features="live", encoder_sets=[["prcc"]]), small_arrays)
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
