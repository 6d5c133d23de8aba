"""README says what is so: its tables are those of the reference study, its commands exist."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import torch
import typer
from PIL import Image
from torch import nn

from analysis import Study, load_study
from analysis.report import write_report
from analysis.tables import Column, Table, tables
from data_utils.config import DataConfig
from data_utils.decoding import decode_image
from data_utils.sources import CLASSES, Item, Source
from models import fusion, named_networks
from study.command_line import app
from study.config import StudyConfig
from tests.analysis.conftest import RunDirectory, fill
from tests.benchmarks.speed_table import GOALS, read_json
from tests.readme_tables import PICTURE, README, REFERENCE, SPEED, filled, marked

TEXT = README.read_text(encoding="utf-8")


def test_tables_are_those_of_the_reference_study() -> None:
    assert filled(TEXT, load_study(REFERENCE)) == TEXT, "python -m tests.readme_tables --write"
    assert (REFERENCE / f"{PICTURE}.svg").is_file()
    size = sum(path.stat().st_size for path in REFERENCE.rglob("*") if path.is_file())
    assert size < 8e6, f"ray_results/reference/ takes {size / 1e6:.1f} MB"


def test_the_report_of_the_reference_study_is_that_of_its_records(tmp_path: Path) -> None:
    write_report(load_study(REFERENCE), tmp_path, images=False)
    for table in sorted((REFERENCE / "report" / "tables").glob("*.csv")):
        # Another processor may round the last digits in another way.
        made, kept = (pd.read_csv(path) for path in (tmp_path / "tables" / table.name, table))
        pd.testing.assert_frame_equal(made, kept, rtol=1e-5, atol=1e-9, obj=f"{table.name}, by tests.reference_study")
    assert len(list((tmp_path / "tables").iterdir())) == len(list((REFERENCE / "report" / "tables").iterdir()))


def test_the_table_of_speed_has_every_measure_with_its_goal() -> None:
    figures, machine = read_json(SPEED)
    assert [figure.id for figure in figures] == list(GOALS) and None not in [figure.value for figure in figures]
    rows = json.loads(SPEED.read_text(encoding="utf-8"))
    assert [(row["measure"], row["goal"]) for row in rows] == [(goal.measure, str(goal)) for goal in GOALS.values()]
    assert [row["reached"] for row in rows] == [figure.reached for figure in figures]
    # That README shows them is compared with the other tables above.
    assert f"<!-- speed -->\nOn {machine}:" in TEXT


def test_readme_has_places_for_tables_that_every_study_has(tmp_path: Path) -> None:
    study = load_study(fill(RunDirectory(tmp_path)).save())
    assert marked(TEXT)
    assert set(marked(TEXT)) <= {table.name for table in tables(study)}


def test_a_place_is_filled_with_table_and_caption_and_filling_again_changes_nothing(tmp_path: Path) -> None:
    study = load_study(fill(RunDirectory(tmp_path)).save())
    text = "before\n<!-- table: test_metrics -->\nold\n<!-- /table -->\nafter\n"
    once = filled(text, study)
    assert "| WBC\\_100 | with (sum) |" in once and "old" not in once
    assert "Nothing was chosen on the test images" in once
    assert once.startswith("before\n") and once.endswith("<!-- /table -->\nafter\n")
    assert filled(once, study) == once
    with pytest.raises(KeyError, match="no_such"):
        filled(text.replace("test_metrics", "no_such"), study)


def test_every_command_and_option_in_readme_exists_and_every_command_is_in_readme() -> None:
    group: Any = typer.main.get_command(app)
    known: dict[str, Any] = {}
    for name, command in group.commands.items():
        inner = getattr(command, "commands", None)
        known |= {f"{name} {sub}": each for sub, each in inner.items()} if inner else {name: command}
    shown = set()
    for line in re.findall(r"wbc-study ([a-z][^`\n#|]*)", TEXT):
        words = line.split()
        name = next((key for key in (" ".join(words[:2]), words[0]) if key in known), None)
        assert name is not None, f"README shows `wbc-study {line.strip()}`, which is no command"
        shown.add(name)
        options = {option for parameter in known[name].params for option in parameter.opts}
        for option in re.findall(r"(?<!\S)--[a-z-]+", line):
            assert option in options, f"README shows {option} for wbc-study {name}"
    assert set(known) - shown == set()


def test_settings_named_in_readme_exist() -> None:
    def names(model: Any, prefix: str = "") -> set[str]:
        found = set()
        for key, field in model.model_fields.items():
            found.add(prefix + key)
            if hasattr(field.annotation, "model_fields"):
                found |= names(field.annotation, f"{prefix}{key}.")
        return found

    known = names(StudyConfig)
    sections = {name.partition(".")[0] for name in known if "." in name}
    for name in re.findall(r"`(?:--set )?([a-z]+(?:\.[a-z_0-9]+)+)", TEXT):
        if name.partition(".")[0] in sections and not name.endswith((".yaml", ".py", ".pth", ".journal")):
            # A setting of free names, such as search.also, ends before them.
            assert any(name == each or name.startswith(f"{each}.training") for each in known), name


def block(name: str) -> dict[str, Any]:
    """The names that README's block with this definition defines, with what it may take for granted."""
    (code,) = [each for each in re.findall(r"```python\n(.*?)```", TEXT, re.DOTALL) if f" {name}" in each]
    scope: dict[str, Any] = {"nn": nn, "Tensor": torch.Tensor, "Mapping": Mapping, "Study": Study, "pd": pd}
    scope |= {"Table": Table, "Column": Column, "Item": Item, "CLASSES": CLASSES, "DataConfig": DataConfig}
    scope |= {"decode_image": decode_image, "_zero_linear": fusion._zero_linear}
    exec(code, scope)
    return scope


def test_the_example_of_a_statistic_is_a_table_of_the_study(tmp_path: Path) -> None:
    table = block("hardest_images")["hardest_images"](load_study(fill(RunDirectory(tmp_path)).save()))
    assert len(table.display()) == 20 and table.frame["wrong"].max() == 8


def test_the_example_of_a_fusion_starts_as_off_and_learns_from_latents() -> None:
    head, features, latents = nn.Linear(6, 3), torch.rand(4, 6), {"prcc": torch.rand(4, 5)}
    made = block("ProductFusion")["ProductFusion"](6, {"prcc": 5})
    logits = made(features, head, latents)
    assert torch.equal(logits, head(features))
    logits.square().sum().backward()
    assert made.maps["prcc"].weight.grad.abs().sum() > 0


def test_the_example_of_a_classifier_can_be_an_arm(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setitem(named_networks.OWN, "patches", block("Patches")["Patches"])
    assert "patches" in named_networks.known_networks()
    assert named_networks.count_parameters("patches", 5) == 64 * (3 * 64 + 1) + 5 * 65
    assert named_networks.find_refusal("patches", 7, 7) and not named_networks.find_refusal("patches", 8, 8)
    network = named_networks.NamedNetwork("patches", 5)
    torch.save(named_networks.NamedNetwork("patches", 9).network.state_dict(), tmp_path / "weights.pth")
    network.start_from(named_networks.read_network_weights("patches", tmp_path / "weights.pth", 5))
    assert network(torch.rand(2, 3, 32, 32)).shape == (2, 5)


def test_the_example_of_a_source_has_the_images_of_its_folder(tmp_path: Path) -> None:
    for name in ("basophil_1.png", "neutrophil_7.png", "notes.txt"):
        Image.new("RGB", (4, 4), (9, 9, 9)).save(tmp_path / name, "PNG")
    source = block("NamedFiles")["NamedFiles"](DataConfig(source="folder", root=tmp_path))
    assert [(item.path, item.label) for item in source.items] == [("basophil_1.png", 0), ("neutrophil_7.png", 4)]
    assert source.read(1).tolist() == [[[9, 9, 9]] * 4] * 4
    for name in ("domain", "classes", "items", "identity", "subsets", "read", "read_mask", "mask_name", "has_mask"):
        assert hasattr(source, name) and hasattr(Source, name)
