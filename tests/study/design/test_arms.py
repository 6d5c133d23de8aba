"""Which arms a configuration compares."""

from __future__ import annotations

import pytest

from study.config.study import StudyConfig
from study.design.arms import Arm, encoder_ids, latent_encoder_ids, list_arms, pretrained_encoders, trained_encoders


def configured(controls: object = (), **arms: object) -> StudyConfig:
    return StudyConfig.model_validate({"arms": arms, "controls": controls})


def names(config: StudyConfig) -> list[str]:
    return [arm.name for arm in list_arms(config)]


def test_the_default_study_compares_eight_arms_from_the_smallest_fraction_on() -> None:
    assert names(StudyConfig()) == [
        "WBC_1/off",
        "WBC_1/sum",
        "WBC_10/off",
        "WBC_10/sum",
        "WBC_50/off",
        "WBC_50/sum",
        "WBC_100/off",
        "WBC_100/sum",
    ]


def test_only_arms_with_fusion_have_encoders() -> None:
    arms = list_arms(configured(fractions=(0.5,), encoders=("cam16",)))
    assert [arm.encoders for arm in arms] == [(), ("cam16",)]


def test_fractions_are_sorted_and_modes_keep_their_order() -> None:
    arms = list_arms(configured(fractions=(1.0, 0.125), fusion=("sum", "off")))
    assert [(arm.fraction, arm.fusion) for arm in arms] == [(0.125, "sum"), (0.125, "off"), (1.0, "sum"), (1.0, "off")]
    assert arms[0].name == "WBC_12.5/sum"


def test_a_control_is_another_arm_than_the_one_it_controls() -> None:
    assert Arm(0.1, "sum", ("prcc",), "random").name == "WBC_10/sum-random"


def test_arms_with_masks_stand_beside_those_without() -> None:
    masks = {"arms": {"fractions": [0.5], "segmentation": [False, True]}, "training": {"segmentation_weight": 0.3}}
    arms = list_arms(StudyConfig.model_validate(masks))
    assert [arm.name for arm in arms] == ["WBC_50/off", "WBC_50/off+masks", "WBC_50/sum", "WBC_50/sum+masks"]
    assert [arm.segmentation for arm in arms] == [False, True, False, True]
    controlled = list_arms(StudyConfig.model_validate({**masks, "controls": ["random", "published", "twin"]}))
    assert [arm.name for arm in controlled[len(arms) :]] == [
        "WBC_50/off-twin",
        "WBC_50/sum-random",
        "WBC_50/sum-random+masks",
        "WBC_50/sum-published",
    ]


def test_sets_of_encoders_are_arms_of_their_own_and_the_first_set_keeps_its_name() -> None:
    arms = list_arms(configured(fractions=(0.1,), fusion=("off", "sum", "gated"), encoder_sets=(("prcc",), ("cam16",))))
    assert {arm.name: arm.encoders for arm in arms} == {
        "WBC_10/off": (),
        "WBC_10/sum": ("prcc", "cam16"),
        "WBC_10/sum(prcc)": ("prcc",),
        "WBC_10/sum(cam16)": ("cam16",),
        "WBC_10/gated": ("prcc", "cam16"),
        "WBC_10/gated(prcc)": ("prcc",),
        "WBC_10/gated(cam16)": ("cam16",),
    }


def test_finetune_starts_from_cam16_whatever_is_fused() -> None:
    config = configured(fractions=(0.1,), fusion=("off", "finetune"), encoders=("prcc",), encoder_sets=(("cam16",),))
    assert {arm.name: arm.encoders for arm in list_arms(config)} == {"WBC_10/off": (), "WBC_10/finetune": ("cam16",)}
    assert trained_encoders(config) == ("cam16",)
    # No latent vector is computed for it.
    assert latent_encoder_ids(list_arms(config)) == ()


def test_every_arm_has_the_controls_that_fit_it() -> None:
    config = configured(
        ["random", "shuffled", "published", "twin"],
        fractions=(0.1,),
        fusion=("off", "sum", "finetune"),
        encoder_sets=(("prcc",),),
    )
    assert names(config) == [
        "WBC_10/off",
        "WBC_10/sum",
        "WBC_10/sum(prcc)",
        "WBC_10/finetune",
        "WBC_10/off-twin",
        "WBC_10/sum-random",
        "WBC_10/sum-shuffled",
        "WBC_10/sum(prcc)-random",
        "WBC_10/sum(prcc)-shuffled",
        "WBC_10/finetune-random",
        "WBC_10/sum-published",
    ]


def test_controls_may_name_their_fractions() -> None:
    config = configured({"random": [1.0], "twin": "all"}, fractions=(0.1, 1.0))
    assert [name for name in names(config) if "-" in name] == [
        "WBC_10/off-twin",
        "WBC_100/off-twin",
        "WBC_100/sum-random",
    ]


def test_random_encoders_are_other_networks_and_need_no_images_of_their_own() -> None:
    arms = list_arms(configured(["random"], fractions=(0.1,), encoders=("cam16",)))
    assert encoder_ids(arms) == latent_encoder_ids(arms) == ("cam16", "cam16-random")
    assert pretrained_encoders(arms) == ("cam16",)


def test_the_published_control_is_scored_without_latents() -> None:
    arms = {arm.control: arm for arm in list_arms(configured(["published", "shuffled"], fractions=(0.1,)))}
    assert not arms["published"].fuses_latents
    assert arms["shuffled"].fuses_latents
    # But its noise is made of them.
    assert latent_encoder_ids([arms["published"]]) == ("prcc", "cam16")


def test_an_arm_cannot_be_changed() -> None:
    with pytest.raises(AttributeError):
        Arm(0.1, "off").fraction = 1.0  # type: ignore[misc]  # what the test is about


def test_networks_stand_beside_off_and_those_with_weights_have_a_random_control() -> None:
    networks = {"resnet18": None, "convnext_tiny": "weights.pth"}
    config = configured(["random", "twin"], fractions=(0.1,), networks=networks)
    arms = {arm.name: arm for arm in list_arms(config)}
    assert list(arms) == [
        "WBC_10/off",
        "WBC_10/sum",
        "WBC_10/resnet18",
        "WBC_10/convnext_tiny",
        "WBC_10/off-twin",
        "WBC_10/sum-random",
        "WBC_10/convnext_tiny-random",
    ]
    assert arms["WBC_10/resnet18"] == Arm(0.1, "off", classifier="resnet18")
    assert encoder_ids([arms["WBC_10/convnext_tiny"]]) == ("convnext_tiny",)
    assert encoder_ids([arms["WBC_10/convnext_tiny-random"], arms["WBC_10/resnet18"]]) == ()
    # They are no encoders: nothing is pretrained and no latent vector computed for them.
    named = [arm for arm in arms.values() if arm.classifier]
    assert pretrained_encoders(named) == latent_encoder_ids(named) == ()
    listed = configured(fractions=(0.1,), fusion=("off",), networks=["resnet18"])
    assert names(listed) == ["WBC_10/off", "WBC_10/resnet18"]


def test_the_classical_floor_stands_beside_off_and_needs_no_network() -> None:
    config = configured({"classical": [0.01], "twin": [0.01]}, fractions=(0.01, 1.0), fusion=("off",))
    assert names(config) == ["WBC_1/off", "WBC_1/off-twin", "WBC_1/off-classical", "WBC_100/off"]
    arms = list_arms(config)
    assert encoder_ids(arms) == () and pretrained_encoders(arms) == ()
    assert latent_encoder_ids(arms) == ("handcrafted",)
    assert [arm.latent_folders for arm in arms] == [{}, {}, {"handcrafted": "handcrafted"}, {}]
