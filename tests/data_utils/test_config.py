from pathlib import Path

import pytest
from pydantic import ValidationError

from data_utils.config import BloodMnistConfig, DataConfig, PcamConfig, SyntheticConfig


def test_defaults_need_no_download() -> None:
    config = DataConfig()
    assert config.source == "synthetic"
    assert config.synthetic == SyntheticConfig()


def test_every_field_is_documented() -> None:
    for model in (DataConfig, SyntheticConfig, BloodMnistConfig, PcamConfig):
        assert all(field.description for field in model.model_fields.values())


def test_configuration_survives_a_round_trip_through_json() -> None:
    config = DataConfig(
        source="folder", root=Path("somewhere"), validation_size=96, stored_size=128, crop_scale=(0.2, 1)
    )
    assert DataConfig.model_validate_json(config.model_dump_json()) == config


@pytest.mark.parametrize(
    ("settings", "named"),
    [
        ({"source": "folder"}, "data.root"),
        ({"prcc_source": "folder"}, "the source of prcc is `folder`"),
        ({"wbc_source": "pcam"}, "wbc_source"),
        ({"source": "bloodmnist"}, "source"),
        ({"bloodmnist": {"size": 96}}, "bloodmnist.size"),
        ({"pcam": {"train": 1}}, "pcam.train"),
        ({"image_size": 0}, "image_size"),
        ({"validation_size": 2}, "data.validation_size"),
        ({"stored_size": -1}, "data.stored_size"),
        ({"crop_scale": (0.5, 0.1)}, "data.crop_scale"),
        ({"crop_scale": (0.5, 1.5)}, "data.crop_scale"),
        ({"crop_ratio": (0, 1)}, "data.crop_ratio"),
        ({"flip": 1.5}, "flip"),
        ({"image_sise": 32}, "image_sise"),
        ({"synthetic": {"trian": 10}}, "trian"),
    ],
)
def test_a_mistake_names_its_field(settings: dict[str, object], named: str) -> None:
    with pytest.raises(ValidationError, match=named):
        DataConfig.model_validate(settings)


def test_configuration_cannot_be_changed() -> None:
    with pytest.raises(ValidationError, match="frozen"):
        DataConfig().image_size = 64  # type: ignore[misc]  # the point of the test
