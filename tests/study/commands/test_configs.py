"""What can be configured, as the commands show it."""

import json

import yaml

from tests.study.commands.calls import invoke


def test_config_show_is_complete_and_can_be_run_again(tmp_path):
    shown = invoke("config", "show", "quick", "--set", "training.epochs=2")
    values = yaml.safe_load(shown)
    assert values["training"]["epochs"] == 2
    (tmp_path / "again.yaml").write_text(shown)
    assert invoke("config", "show", tmp_path / "again.yaml") == shown


def test_config_schema_documents_every_setting():
    schema = json.loads(invoke("config", "schema"))
    for name, model in [("StudyConfig", schema), *schema["$defs"].items()]:
        for key, setting in model["properties"].items():
            assert setting.get("description"), f"{name}.{key} has no description"
