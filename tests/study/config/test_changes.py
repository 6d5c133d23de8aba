"""Which changes make another study, which extend one, and which are none."""

from __future__ import annotations

from typing import Any

import pytest

from data_utils.config import FREE, MOVABLE
from study.config import changes
from study.config.changes import compare_configs, flatten, grown_settings, marked_settings
from study.config.files import load_config
from study.config.settings import BUDGET, CHOICES, CONTROLS, COUNT, MASK_WEIGHT, NETWORKS
from study.config.study import StudyConfig


def test_every_setting_that_may_change_is_marked_and_no_other() -> None:
    assert marked_settings() == {
        FREE: (
            "name",
            "about",
            "data.downloads",
            "data.cache_dir",
            "search.storage",
            "resources.address",
            "resources.gpu",
            "resources.accelerator",
            "resources.pretraining_gpu",
            "resources.workers",
            "tracking.tensorboard",
            "tracking.mlflow",
            "tracking.wandb",
        ),
        MOVABLE: ("data.root", "data.groups", "pretrain.prcc.weights", "pretrain.cam16.weights", "search.warm_start"),
        BUDGET: ("search.trials_per_arm",),
        COUNT: ("confirm.seeds",),
        CHOICES: ("arms.fractions", "arms.fusion", "arms.encoder_sets", "arms.segmentation"),
        NETWORKS: ("arms.networks",),
        CONTROLS: ("controls",),
        MASK_WEIGHT: ("training.segmentation_weight",),
    }


def test_every_mark_has_a_rule() -> None:
    assert set(changes._RULES) == set(marked_settings())


SETTINGS = tuple(flatten(StudyConfig().model_dump()))
MARKED = {key for keys in marked_settings().values() for key in keys}


def with_another_value(settings: Any, key: str) -> Any:
    """A configuration in which one setting has a value that it cannot have by default; nothing is validated."""
    name, _, rest = key.partition(".")
    value = with_another_value(getattr(settings, name), rest) if rest else "another value"
    return settings.model_copy(update={name: value})


@pytest.mark.filterwarnings("ignore:Pydantic serializer warnings")
@pytest.mark.parametrize("key", [key for key in SETTINGS if key not in MARKED])
def test_a_change_of_a_setting_without_a_mark_makes_another_study(key: str) -> None:
    differences = compare_configs(StudyConfig(), with_another_value(StudyConfig(), key))
    assert [line.partition(":")[0] for line in differences] == [key]


@pytest.mark.filterwarnings("ignore:Pydantic serializer warnings")
@pytest.mark.parametrize("key", marked_settings()[FREE])
def test_a_change_of_a_free_setting_makes_the_same_study(key: str) -> None:
    assert compare_configs(StudyConfig(), with_another_value(StudyConfig(), key)) == []


@pytest.mark.parametrize("key", marked_settings()[MOVABLE])
def test_what_is_compared_by_its_fingerprint_may_move_but_not_come_or_go(key: str) -> None:
    none, here, there = (load_config("quick", [f"{key}={place}"]) for place in ("null", "/here", "/there"))
    assert compare_configs(here, there) == []
    assert compare_configs(none, here) == [f"{key}: (none) -> /here"]
    assert compare_configs(here, none) == [f"{key}: /here -> (none)"]


def test_a_difference_is_shown_with_both_values() -> None:
    old = load_config("quick")
    new = load_config("quick", ["search.mode=qmc", "training.steps_per_epoch=null", "data.synthetic.seed=1"])
    assert sorted(compare_configs(old, new)) == [
        "data.synthetic.seed: 0 -> 1",
        "search.mode: tpe -> qmc",
        "training.steps_per_epoch: 6 -> (none)",
    ]


def test_where_and_how_fast_a_study_runs_is_no_difference() -> None:
    old = load_config("quick")
    new = load_config(
        "quick",
        ["about=other", "resources.workers=7", "resources.gpu=1", "data.cache_dir=/elsewhere"],
        name="moved",
    )
    assert compare_configs(old, new) == []
    # The number of threads changes results in the last digits.
    assert compare_configs(old, load_config("quick", ["resources.cpu=2"])) == ["resources.cpu: 1 -> 2"]


def test_arms_with_masks_extend_a_study_without_any() -> None:
    masks = ["arms.segmentation=[false,true]", "training.segmentation_weight=0.3"]
    old, new = load_config("quick"), load_config("quick", masks)
    assert compare_configs(old, new) == []
    assert grown_settings(old, new) == {
        "arms.segmentation": "arms.segmentation: True added",
        "training.segmentation_weight": "training.segmentation_weight: 0.3",
    }
    # What was trained with one weight is no part of a study with another.
    other = load_config("quick", [masks[0], "training.segmentation_weight=1"])
    assert compare_configs(new, other) == ["training.segmentation_weight: 0.3 -> 1.0"]
    searched = ["search.also.training.segmentation_weight=[0.1,1]", masks[0]]
    assert "search.also.training.segmentation_weight" in str(compare_configs(old, load_config("quick", searched)))


def test_networks_extend_a_study_and_any_other_change_of_them_is_one() -> None:
    def with_networks(networks: str) -> StudyConfig:
        return load_config("quick", [f"arms.networks={networks}"])

    plain, none, given = load_config("quick"), with_networks("[resnet18]"), with_networks("{resnet18: a.pth}")
    both = with_networks("{alexnet: b.pth, resnet18: null}")
    for old, new, added in ((plain, none, "resnet18"), (plain, given, "resnet18"), (none, both, "alexnet")):
        assert compare_configs(old, new) == []
        assert grown_settings(old, new) == {"arms.networks": f"arms.networks: {added} added"}
    assert compare_configs(none, plain) == ["arms.networks.resnet18: no weights -> (none)"]
    assert compare_configs(none, given) == ["arms.networks.resnet18: no weights -> a.pth"]
    # The same weights at another place: their fingerprint is compared.
    assert compare_configs(given, with_networks("{resnet18: elsewhere/a.pth}")) == []


def test_further_settings_are_another_search() -> None:
    new = load_config("quick", ["search.also.training.sampling=[natural,balanced]"])
    assert compare_configs(load_config("quick"), new) == [
        "search.also.training.sampling: (none) -> ['natural', 'balanced']"
    ]


def test_controls_sets_and_modes_extend_a_study() -> None:
    old = load_config("quick", ["controls={random: [0.01]}"])
    new = load_config(
        "quick",
        [
            "controls={random: [0.1, 0.01], twin: all}",
            "arms.encoder_sets=[[prcc], [cam16]]",
            "arms.fusion=[off, sum, gated]",
        ],
    )
    assert compare_configs(old, new) == []
    assert grown_settings(old, new) == {
        "arms.fusion": "arms.fusion: gated added",
        "arms.encoder_sets": "arms.encoder_sets: cam16, prcc added",
        "controls.random": "controls.random: added at 0.1",
        "controls.twin": "controls.twin: added at 0.01, 0.1, 0.5, 1.0",
    }
    # Backwards it would leave records of arms that the study does not have.
    assert {line.partition(":")[0] for line in compare_configs(new, old)} == {
        "arms.fusion",
        "arms.encoder_sets",
        "controls.random",
        "controls.twin",
    }


def test_the_same_control_arms_are_the_same_study_however_they_are_written() -> None:
    listed = load_config("quick", ["controls=[twin]"])
    named = load_config("quick", ["controls={twin: [1.0, 0.5, 0.1, 0.01]}"])
    assert compare_configs(listed, named) == compare_configs(named, listed) == []


def test_the_same_study_written_otherwise_is_the_same_study() -> None:
    plain = load_config("quick", ["search.trials_per_arm=null", "arms.fractions=[0.1, 1.0]"])
    other = load_config("quick", ["search.trials_per_arm=8", "arms.fractions=[1.0, 0.1]", "arms.fusion=[sum, off]"])
    assert compare_configs(plain, other) == []
    assert grown_settings(plain, other) == {}
    # Two fractions are not one, whatever their order.
    fewer = load_config("quick", ["search.trials_per_arm=8", "arms.fractions=[1.0]"])
    assert compare_configs(other, fewer) == ["arms.fractions: [1.0, 0.1] -> [1.0]"]
