"""Settings, their defaults and their limits."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from study.config.changes import flatten
from study.config.files import load_config
from study.config.study import ResourcesConfig, StudyConfig


@given(seed=st.integers(0, 10_000), count=st.integers(0, 20))
def test_winners_are_confirmed_with_other_seeds_than_they_were_chosen_with(seed: int, count: int) -> None:
    seeds = StudyConfig.model_validate({"seed": seed, "confirm": {"seeds": count}}).confirm_seeds()
    assert len(set(seeds)) == count
    assert seed not in seeds


@pytest.mark.parametrize("name", ["pilot", "a b", "2024-05-01", "weiß", "a.b"])
def test_a_name_that_can_be_a_folder_is_accepted(name: str) -> None:
    assert StudyConfig(name=name).name == name


@pytest.mark.parametrize("name", ["", ".", "..", "a/b", "a\\b", "a\0b", "-x", "../up"])
def test_a_name_that_cannot_be_one_folder_is_refused(name: str) -> None:
    with pytest.raises(ValidationError, match="a name that can be one folder"):
        StudyConfig(name=name)


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"arms": {"fractions": [0.1, 0.1]}}, "each value once"),
        ({"arms": {"fusion": []}}, "at least 1 item"),
        ({"arms": {"fusion": ["sum", "product"]}}, "'off', 'sum', 'concat', 'gated' or 'finetune'"),
        ({"search": {"learning_rate": [1e-2, 1e-4]}}, "the lower first"),
        ({"search": {"weight_decay": [0, 1e-4]}}, "two positive numbers"),
        ({"search": {"weight_decay": [1e-4, float("inf")]}}, "finite"),
        ({"search": {"grid_learning_rate": [1e-3, 1e-3]}}, "distinct values"),
        ({"search": {"grid_weight_decay": [-1e-3]}}, "at least 0"),
        ({"search": {"grid_weight_decay": [float("nan")]}}, "finite"),
        ({"search": {"reduction_factor": 1}}, "greater than 1"),
        ({"search": {"mode": "grid", "trials_per_arm": 8}}, "3 x 3 = 9 points"),
        ({"search": {"also": {"training.epochs": [1, 2]}}}, "found training.epochs, expected one of training.loss"),
        ({"search": {"also": {"model.width": [8, 16]}}}, "found model.width, expected one of training.loss"),
        ({"search": {"also": {"training.sampling": ["natural", "even"]}}}, "training.sampling: found 'even'"),
        ({"search": {"also": {"training.sampling": ["natural", "natural"]}}}, "each once"),
        ({"search": {"also": {"training.sampling": []}}}, "at least one choice"),
        ({"search": {"also": {"training.sampling": {"low": 0, "high": 1}}}}, "it is no number"),
        ({"search": {"also": {"training.effective_beta": {"low": 0, "high": 1}}}}, "found 1.0: .*less than 1"),
        ({"search": {"also": {"training.effective_beta": {"low": 0.9, "high": 0.1}}}}, "the lower first"),
        ({"search": {"also": {"training.effective_beta": {"low": 0, "high": 0.1, "log": True}}}}, "above 0"),
        (
            {"search": {"mode": "grid", "also": {"training.effective_beta": {"low": 0, "high": 0.9}}}},
            "effective_beta has a range, but a grid visits listed values",
        ),
        (
            {"search": {"mode": "grid", "trials_per_arm": 9, "also": {"training.sampling": ["natural", "balanced"]}}},
            "3 x 3 x 2 = 18 points",
        ),
        ({"resources": {"gpu": -1}}, "0 or more"),
        ({"resources": {"workers": "many"}}, "auto"),
        ({"resources": {"workers": 0}}, "found 0, expected `auto` or 1 or more"),
        ({"training": {"epochs": 0}}, "greater than or equal to 1"),
        ({"training": {"loss_weights": "balanced"}}, "'none', 'inverse' or 'effective'"),
        ({"training": {"effective_beta": 1}}, "less than 1"),
        ({"arms": {"segmentation": [True]}}, "training.segmentation_weight is 0. Set it"),
        ({"training": {"segmentation_weight": 0.1}}, "no arm learns from masks"),
        ({"search": {"also": {"training.segmentation_weight": [0.1, 1]}}}, "no arm learns from masks"),
        ({"pretrain": {"prcc": {"segmentation_weight": 0.1}}}, "kidney tissue has no masks"),
        ({"seed": -1}, "greater than or equal to 0"),
    ],
    ids=str,
)
def test_values_that_no_study_can_have_are_refused(values: dict[str, object], message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        StudyConfig.model_validate(values)


def test_settings_cannot_be_changed_after_they_were_checked() -> None:
    with pytest.raises(ValidationError, match="frozen"):
        StudyConfig().training.epochs = 3  # type: ignore[misc]  # what the test is about


def test_every_setting_says_what_it_is() -> None:
    def undocumented(model: type, place: str = "") -> list[str]:
        found = []
        for name, field in model.model_fields.items():  # type: ignore[attr-defined]  # a pydantic model
            if not field.description:
                found.append(place + name)
            if hasattr(field.annotation, "model_fields"):
                found += undocumented(field.annotation, f"{place}{name}.")
        return found

    assert undocumented(StudyConfig) == []


def test_a_configuration_survives_json() -> None:
    # Workers are told their settings as JSON.
    config = StudyConfig.model_validate({"search": {"learning_rate": [1e-5, 0.3]}, "resources": {"gpu": 0.25}})
    assert StudyConfig.model_validate_json(config.model_dump_json()) == config


def test_workers_may_be_counted_or_left_to_the_cluster() -> None:
    assert ResourcesConfig().workers == "auto"
    assert ResourcesConfig(workers=3).workers == 3


def test_controls_are_a_list_or_name_their_fractions() -> None:
    listed = StudyConfig.model_validate({"controls": ["random", "twin"]})
    assert listed.controls == {"random": "all", "twin": "all"}
    some = StudyConfig.model_validate({"controls": {"random": [0.1, 0.01], "twin": "all"}})
    assert some.controls == {"random": (0.01, 0.1), "twin": "all"}
    assert some.has_control("random", 0.1) and not some.has_control("random", 0.5)
    assert some.has_control("twin", 0.5) and not some.has_control("shuffled", 0.1)
    assert StudyConfig.model_validate(some.model_dump(mode="json")) == some


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"controls": ["random", "random"]}, "each control once"),
        ({"controls": ["placebo"]}, "'random', 'shuffled', 'published', 'twin' or 'classical'"),
        (
            {"controls": {"random": [0.2]}},
            r"controls\.random: found \[0\.2\], expected `all` or some of arms\.fractions",
        ),
        ({"controls": {"twin": []}}, r"controls\.twin: found \[\]"),
        (
            {"controls": ["twin"], "arms": {"fusion": ["sum"]}},
            "controls.twin is compared with arms whose fusion is off",
        ),
        ({"controls": ["shuffled"], "arms": {"fusion": ["off", "finetune"]}}, "sum or concat or gated"),
        ({"arms": {"encoder_sets": [["cam16", "prcc"]]}}, "another set than arms.encoders"),
        ({"arms": {"encoder_sets": [["prcc"], ["prcc"]]}}, r"found \['prcc'\]"),
        ({"arms": {"encoder_sets": [[]]}}, "at least one encoder"),
        ({"arms": {"networks": ["resnet18", "resnet18"]}}, "each network once"),
        ({"arms": {"networks": ["resnet18"], "fusion": ["sum"]}}, "resnet18 is compared with `off` without masks"),
        ({"controls": ["random"], "arms": {"fusion": ["off"], "networks": ["resnet18"]}}, "sum or concat or gated"),
    ],
)
def test_a_control_or_set_that_compares_with_nothing_is_refused(values: dict[str, object], message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        StudyConfig.model_validate(values)


def test_every_path_is_made_absolute_and_nothing_else_changes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    paths = ("data.root", "data.groups", "data.cache_dir", "data.downloads", "search.warm_start")
    paths += ("pretrain.prcc.weights", "pretrain.cam16.weights", "arms.networks.resnet18")
    config = load_config("quick", [f"{name}={name}" for name in paths])
    given, absolute = (flatten(each.model_dump()) for each in (config, config.with_absolute_paths()))
    assert {name: value for name, value in absolute.items() if value != given[name]} == {
        name: tmp_path / name for name in paths
    }
    remote = load_config("quick", ["data.root=s3://bucket/images"])
    assert remote.with_absolute_paths().data.root == "s3://bucket/images"
