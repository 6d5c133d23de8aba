"""From presets, files and --set to a checked configuration, and what a user is told who made a mistake."""

from __future__ import annotations

import math
from pathlib import Path

import pytest
import yaml

from study.config.changes import compare_configs
from study.config.files import check_config, list_presets, load_config, read_yaml
from study.config.study import StudyConfig
from study.design.arms import list_arms
from study.design.points import Point
from study.errors import UsageError
from study.search.sequences import grid_points
from study.storage.run_directory import RunDirectory


def message_of(*arguments: object, **options: object) -> str:
    with pytest.raises(UsageError) as caught:
        load_config(*arguments, **options)  # type: ignore[arg-type]  # passed on
    return str(caught.value)


def write(path: Path, text: str) -> str:
    path.write_text(text)
    return str(path)


def test_every_preset_loads_and_says_what_it_is_for() -> None:
    assert list_presets() == ["cluster", "local", "published", "quick"]
    for preset in list_presets():
        config = load_config(preset, ["data.root=/somewhere"])
        assert config.name == preset
        assert len(config.about) > 50
        assert len(list_arms(config)) == 8


@pytest.mark.parametrize("preset", ["local", "published", "cluster"])
def test_a_preset_for_own_images_asks_for_their_folder(preset: str) -> None:
    message = message_of(preset)
    assert message.startswith(f"preset {preset}: data.root is missing")
    assert "\n" not in message


def test_the_published_preset_is_the_published_recipe() -> None:
    config = load_config("published", ["data.root=/somewhere"])
    assert config.model_dump(
        include={
            "arms": True,
            "model": True,
            "training": True,
            "data": {"image_size", "validation_size", "stored_size", "crop_scale", "crop_ratio", "flip"},
            "pretrain": True,
        }
    ) == {
        "arms": {
            "fractions": (0.01, 0.1, 0.5, 1.0),
            "fusion": ("off", "sum"),
            "encoders": ("prcc", "cam16"),
            "segmentation": (False,),
            "encoder_sets": (),
            "networks": {},
            "features": "cached",
        },
        "model": {"width": 32, "norm_momentum": 0.1},
        "training": {
            "epochs": 25,
            "steps_per_epoch": None,
            "batch_size": 8,
            "schedule": "plateau",
            "plateau_patience": 5,
            "plateau_factor": 0.5,
            "loss_weights": "none",
            "effective_beta": 0.999,
            "sampling": "natural",
            "segmentation_weight": 0.0,
            "frozen_epochs": 0,
            "stain_jitter": 0.0,
            "brightness": 0.0,
            "contrast": 0.0,
            "saturation": 0.0,
            "hue": 0.0,
            "precision": "float32",
        },
        "data": {
            "image_size": 224,
            "validation_size": "original",
            "stored_size": "original",
            "crop_scale": (0.08, 1.0),
            "crop_ratio": (0.75, 4 / 3),
            "flip": 0.5,
        },
        "pretrain": {
            "prcc": {
                "weights": None,
                "epochs": 10,
                "batch_size": 4,
                "learning_rate": 0.001,
                "weight_decay": 1e-5,
                "segmentation_weight": 0.0,
            },
            "cam16": {
                "weights": None,
                "epochs": 50,
                "batch_size": 32,
                "learning_rate": 0.001,
                "weight_decay": 1e-4,
                "segmentation_weight": 0.0,
            },
        },
    }
    assert Point(0.001, 0.0001) in grid_points(config.search)
    assert (config.search.mode, config.search.scheduler, config.search.metric) == ("grid", "none", "val_accuracy")


def test_the_quick_preset_stays_quick() -> None:
    config = load_config("quick")
    assert (config.model.width, config.data.image_size, config.data.source) == (16, 32, "synthetic")
    images = config.data.synthetic
    trials = config.search.budget + config.confirm.seeds
    seen = sum(
        trials
        * config.training.epochs
        * config.training.steps_in_epoch(math.ceil(arm.fraction * images.train))
        * config.training.batch_size
        for arm in list_arms(config)
    )
    seen += config.pretrain.prcc.epochs * images.prcc + config.pretrain.cam16.epochs * images.cam16_train
    assert seen <= 50_000


def test_a_file_is_named_after_itself_and_a_study_after_its_folder(tmp_path: Path) -> None:
    assert load_config(write(tmp_path / "mine.yaml", "seed: 3")).name == "mine"
    folder = tmp_path / "pilot"
    folder.mkdir()
    assert load_config(write(folder / "study.yaml", "seed: 3")).name == "pilot"
    assert load_config(write(tmp_path / "own.yaml", "name: chosen")).name == "chosen"
    assert load_config(str(tmp_path / "own.yaml"), name="other").name == "other"


def test_an_empty_file_means_the_defaults(tmp_path: Path) -> None:
    assert load_config(write(tmp_path / "study.yaml", "# nothing\n"), name="study") == StudyConfig()


def test_what_a_run_directory_holds_is_the_same_configuration(tmp_path: Path) -> None:
    directory = RunDirectory(tmp_path / "quick")
    config = load_config("quick", ["search.learning_rate=[1e-5, 3e-3]", "resources.gpu=0.5"])
    directory.write_config(config)
    assert load_config(str(directory.config_file)) == config


def test_an_unknown_preset_is_told_the_nearest(tmp_path: Path) -> None:
    message = message_of("publishd")
    assert "local, published, quick" in message
    assert "Did you mean 'published'?" in message
    assert "Did you mean" not in message_of(str(tmp_path))


def test_a_bare_off_is_a_word(tmp_path: Path) -> None:
    # YAML 1.1 takes it for false.
    path = write(tmp_path / "mine.yaml", "arms:\n  fusion: [off, sum]\n")
    assert load_config(path).arms.fusion == ("off", "sum")
    assert load_config(path, ["arms.fusion=[off]"]).arms.fusion == ("off",)


@pytest.mark.parametrize("text", ["a: [1, 2", "\tx: 1", "a: b: c"])
def test_a_file_that_is_not_yaml_is_named(tmp_path: Path, text: str) -> None:
    path = write(tmp_path / "broken.yaml", text)
    assert message_of(path).startswith(f"{path}: not readable as YAML")


def test_a_picture_is_not_a_configuration(tmp_path: Path) -> None:
    path = tmp_path / "cell.png"
    path.write_bytes(b"\x89PNG\r\n\x1a\n\xff\xfe")
    assert f"{path}: not readable as YAML" in message_of(str(path))


def test_yaml_that_is_no_mapping_is_refused(tmp_path: Path) -> None:
    path = write(tmp_path / "list.yaml", "- 1\n- 2\n")
    assert message_of(path) == f"{path}: found list, expected settings such as `search: {{mode: tpe}}`"


@pytest.mark.parametrize(
    ("override", "expected"),
    [
        ("search.trials_per_am=3", "search.trials_per_am: unknown key; did you mean 'trials_per_arm'?"),
        ("serach.mode=tpe", "serach: unknown key; did you mean 'search'?"),
        ("data.synthetic.trian=20", "data.synthetic.trian: unknown key; did you mean 'train'?"),
        ("pretrain.prcc.epoch=3", "pretrain.prcc.epoch: unknown key; did you mean 'epochs'?"),
        ("confirm.zzz=3", "confirm.zzz: unknown key; known keys here: seeds"),
    ],
)
def test_an_unknown_key_is_told_the_nearest(override: str, expected: str) -> None:
    assert message_of("quick", [override]) == f"preset quick: {expected}"


def test_all_mistakes_are_listed_at_once() -> None:
    lines = message_of("quick", ["training.epochs=0", "serach.mode=tpe", "search.mode=best"]).splitlines()
    assert lines[0] == "preset quick: wrong configuration:"
    assert sorted(line.split(":")[0].strip() for line in lines[1:]) == ["search.mode", "serach", "training.epochs"]
    assert any("found 'best'" in line and "'grid'" in line for line in lines)
    assert any("found 0" in line for line in lines)


@pytest.mark.parametrize("fraction", [0, -0.1, 1.5, 10])
def test_a_fraction_outside_its_range_is_named_with_its_place(fraction: float) -> None:
    message = message_of("quick", [f"arms.fractions=[0.5, {fraction}]"])
    assert message.startswith(f"preset quick: arms.fractions.1: found {fraction}")


def test_a_list_of_which_nothing_is_right_is_not_called_empty() -> None:
    with pytest.raises(UsageError) as caught:
        load_config("quick", ["arms.fractions=[0, 1.5]"])
    assert [line.split(":")[0].strip() for line in str(caught.value).splitlines()[1:]] == [
        "arms.fractions.0",
        "arms.fractions.1",
    ]
    with pytest.raises(UsageError, match="at least 1 item"):
        load_config("quick", ["arms.fractions=[]"])


def test_a_grid_of_another_size_says_how_to_mend_it() -> None:
    grid = ["search.mode=grid", "search.grid_learning_rate=[1e-3, 3e-3]", "search.grid_weight_decay=[0, 1e-4, 1e-2]"]
    message = message_of("quick", [*grid, "search.trials_per_arm=5"])
    assert message.startswith("preset quick: search.trials_per_arm is 5, but the grid has 2 x 3 = 6 points")
    assert "Set search.trials_per_arm to 6" in message
    assert load_config("quick", [*grid, "search.trials_per_arm=null"]).search.budget == 6


def test_a_bad_name_is_shown() -> None:
    assert "found '../up', expected a name that can be one folder" in message_of("quick", name="../up")


@pytest.mark.parametrize(
    ("override", "found"),
    [
        # YAML 1.1 takes all but the first and the last for text.
        ("1.0e-3", 1e-3),
        ("1e-3", 1e-3),
        ("1E-3", 1e-3),
        (".1e-2", 1e-3),
        ("0.001", 1e-3),
    ],
)
def test_numbers_may_be_written_as_people_write_them(override: str, found: float) -> None:
    config = load_config("quick", [f"pretrain.prcc.learning_rate={override}"])
    assert config.pretrain.prcc.learning_rate == found


def test_set_reads_lists_words_integers_and_nothing() -> None:
    config = load_config(
        "quick",
        [
            "search.learning_rate=[1e-4, 2e-2]",
            "search.mode=random",
            "search.trials_per_arm=1e1",
            "training.steps_per_epoch=null",
            "arms.fusion=[off]",
            "about=a = b",
            " seed =4",
        ],
    )
    assert config.search.learning_rate == (1e-4, 2e-2)
    assert (config.search.mode, config.search.budget) == ("random", 10)
    assert config.training.steps_per_epoch is None
    assert config.arms.fusion == ("off",)
    assert config.about == "a = b"
    assert config.seed == 4


def test_a_later_set_wins() -> None:
    assert load_config("quick", ["seed=1", "seed=2"]).seed == 2


@pytest.mark.parametrize("override", ["seed", "=3", " =3", ""])
def test_set_without_key_or_value_is_explained(override: str) -> None:
    assert "expected key=value, such as search.trials_per_arm=8" in message_of("quick", [override])


def test_set_with_a_broken_value_is_shown() -> None:
    assert message_of("quick", ["seed=[1"]).startswith("--set 'seed=[1': the value is not readable")


def test_set_below_a_value_is_explained() -> None:
    assert "'mode' is a value, not a group of settings" in message_of("quick", ["search.mode.x=1"])


def test_a_value_in_the_place_of_a_group_is_explained() -> None:
    assert message_of("quick", ["training=5"]).startswith("preset quick: training: found 5")


def test_what_the_wrong_file_was_is_said(tmp_path: Path) -> None:
    path = write(tmp_path / "mine.yaml", "sed: 3")
    assert message_of(path) == f"{path}: sed: unknown key; did you mean 'seed'?"


def test_what_was_written_by_hand_is_checked_like_any_other() -> None:
    values = yaml.safe_load("search: {mode: tpe, trials_per_arm: many}")
    with pytest.raises(UsageError, match=r"study\.yaml: search\.trials_per_arm: found 'many'"):
        check_config(values, "study.yaml")


SECRET_URL = "postgresql://ann:s3cret@host:5432/optuna"
MASKED_URL = "postgresql://ann:***@host:5432/optuna"


def test_the_password_of_the_storage_is_never_written_or_printed(tmp_path: Path) -> None:
    config = load_config("quick", [f"search.storage={SECRET_URL}"])
    assert config.search.storage == SECRET_URL
    directory = RunDirectory(tmp_path / "run")
    directory.write_config(config)
    assert MASKED_URL in directory.config_file.read_text()
    for text in (directory.config_file.read_text(), repr(config), config.model_dump_json(), str(config.model_dump())):
        assert "s3cret" not in text
    # Where the storage is does not make it another study.
    again = check_config(read_yaml(directory.config_file), "study.yaml")
    assert compare_configs(again, config) == []
    assert compare_configs(load_config("quick"), config) == []


@pytest.mark.parametrize(
    "override", ["search.storage=pg://ann:s3cret@host/db", "search.storage=[postgresql://ann:s3cret@host/db"]
)
def test_a_wrong_storage_is_refused_without_its_password(override: str) -> None:
    with pytest.raises(UsageError, match=r"://ann:\*\*\*@host/db") as caught:
        load_config("quick", [override])
    assert "s3cret" not in str(caught.value)
