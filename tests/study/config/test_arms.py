"""Settings of what is compared: fusions and encoders."""

from __future__ import annotations

import yaml

from analysis.records.schema import Fusion
from models.fusion import FUSION_MODULES
from study.config.arms import LATENT_FUSIONS, ArmsConfig, PretrainConfig
from study.config.study import StudyConfig
from study.design.arms import trained_encoders


def test_encoders_are_needed_by_fusion_only() -> None:
    assert trained_encoders(StudyConfig()) == ("prcc", "cam16")
    assert trained_encoders(StudyConfig(arms=ArmsConfig(fusion=("off",)))) == ()


def test_pretraining_settings_are_found_by_name() -> None:
    config = PretrainConfig()
    assert config.of("prcc") is config.prcc and config.of("cam16") is config.cam16


def test_the_models_build_every_fusion_of_latent_vectors_and_no_other() -> None:
    assert tuple(FUSION_MODULES) == LATENT_FUSIONS
    assert set(Fusion) - set(LATENT_FUSIONS) == {Fusion.OFF, Fusion.FINETUNE}


def test_fusions_are_dumped_and_described_as_plain_text() -> None:
    config = StudyConfig()
    assert yaml.safe_load(yaml.safe_dump(config.model_dump(mode="json")))["arms"]["fusion"] == ["off", "sum"]
    assert "fusion=('off', 'sum')" in repr(config)
    schema = StudyConfig.model_json_schema()
    listed = schema["$defs"]["ArmsConfig"]["properties"]["fusion"]["items"]
    assert listed == {"enum": ["off", "sum", "concat", "gated", "finetune"], "type": "string"}
    assert "Fusion" not in schema["$defs"]
