"""What is checked before anything is written."""

import json
import shutil

import pytest

from study.config.files import load_config
from study.errors import UsageError
from study.pipeline.run import run_study
from tests.study.tiny import write_tiny

pytestmark = pytest.mark.slow


def test_changed_images_are_refused(calm, tmp_path):
    shutil.copytree(calm, tmp_path / "tiny")
    manifest = json.loads((tmp_path / "tiny" / "manifest.json").read_text())
    manifest["fingerprints"]["wbc"] = "0" * 64
    manifest["phases"]["report"]["state"] = "running"
    (tmp_path / "tiny" / "manifest.json").write_text(json.dumps(manifest))
    with pytest.raises(UsageError, match="fingerprint"):
        run_study(load_config(str(calm.parent.parent / "tiny.yaml")), tmp_path)


def test_changed_encoders_are_refused(calm, tmp_path):
    shutil.copytree(calm, tmp_path / "tiny")
    manifest = json.loads((tmp_path / "tiny" / "manifest.json").read_text())
    manifest["phases"]["report"]["state"] = "running"
    (tmp_path / "tiny" / "manifest.json").write_text(json.dumps(manifest))
    weights = tmp_path / "tiny" / "pretrain" / "prcc" / "weights.safetensors"
    weights.write_bytes((tmp_path / "tiny" / "pretrain" / "cam16" / "weights.safetensors").read_bytes())
    with pytest.raises(UsageError, match=r"prcc/weights\.safetensors are not what the study began with"):
        run_study(load_config(str(calm.parent.parent / "tiny.yaml")), tmp_path)


def test_a_control_whose_package_is_missing_is_refused_before_anything_is_written(tmp_path, monkeypatch):
    monkeypatch.setattr("study.pipeline.preparation.find_spec", lambda name: None)
    config = load_config(str(write_tiny(tmp_path, controls=["classical"])))
    with pytest.raises(UsageError, match="needs scikit-image"):
        run_study(config, tmp_path / "runs")
    assert not (tmp_path / "runs").exists() or not list((tmp_path / "runs").rglob("manifest.json"))
