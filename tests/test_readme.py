"""README says what is so: its tables are those of the reference study, its commands exist."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
import typer
from PIL import Image
from torch import nn

from analysis import Study, load_study
from analysis.pooled import mean_differences
from analysis.report import write_report
from analysis.tables import Column, Table, tables
from data_utils import cache
from data_utils.audit import audit
from data_utils.config import DataConfig
from data_utils.decoding import decode_image
from data_utils.sources import CLASSES, Item, Source
from models import fusion, named_networks
from study.command_line import app
from study.config import StudyConfig
from tests.analysis.conftest import RunDirectory, fill
from tests.benchmarks.speed_table import GOALS, read_json
from tests.readme_tables import PICTURE, README, REFERENCE, SPEED, filled, fingerprint, marked

TEXT = README.read_text(encoding="utf-8")


def test_tables_and_picture_are_those_of_the_reference_study() -> None:
    study = load_study(REFERENCE)
    assert filled(TEXT, study) == TEXT, "python -m tests.readme_tables --write"
    picture = REFERENCE / f"{PICTURE}.svg"
    assert f"]({picture.relative_to(README.parent)})" in TEXT
    assert fingerprint(study) in picture.read_text(encoding="utf-8"), "python -m tests.readme_tables --write"
    size = sum(path.stat().st_size for path in REFERENCE.rglob("*") if path.is_file())
    assert size < 8e6, f"ray_results/reference/ takes {size / 1e6:.1f} MB"


def test_numbers_in_the_prose_are_those_of_the_records() -> None:
    prose = re.sub(r"<!-- table.*?/table -->", "", TEXT, flags=re.DOTALL)
    prose = " ".join(prose.partition("## The reference study")[2].partition("## What comes out")[0].split())
    for folder, arms, metric, numbers in (
        ("reference", ("sum", "off"), "macro_f1", "({3:+.3f} and {4:+.3f}, p {p3:.3f} and below 0.001)"),
        ("reference", ("off-classical", "off"), "macro_f1", "`off-classical`, {3:+.3f} and {4:+.3f})"),
        ("reference", ("sum", "sum-random"), "macro_f1", "that is {4:+.3f}, p {p4:.2f}"),
        ("reference", ("sum", "sum-random"), "macro_f1", "(p {p1:.2f} to {p2:.2f})"),
        ("reference", ("sum-published", "off"), "accuracy", "it lies {1:.1f} points of accuracy above `off`"),
        ("reference", ("sum-published", "off"), "accuracy", "(interval {low1:+.1f} to {high1:+.1f})"),
        ("reference", ("sum-published", "off"), "accuracy", "with all labels {below4:.1f} below, a loss (p {p4:.2f})"),
        ("reference_stand_ins", ("sum", "off"), "macro_f1", "({3:+.3f} and {4:+.3f}, p {p3:.3f} and {p4:.3f})"),
        ("reference_stand_ins", ("sum", "sum-random"), "macro_f1", "({3:+.3f} and {4:+.3f}, p {p3:.2f} both)"),
    ):
        verdicts = load_study(REFERENCE.parent / folder).verdicts()
        rows = verdicts[verdicts["metric"] == metric].assign(baseline=verdicts["baseline"].str.partition("/")[2])
        rows = rows[(rows["setting"] == arms[0]) & (rows["baseline"] == arms[1])].to_dict("records")
        scale = 100 if metric == "accuracy" else 1
        values: dict[str, Any] = {}
        for row in rows:
            place = str([0.01, 0.1, 0.5, 1.0].index(row["fraction"]) + 1)
            values |= {f"_{place}": scale * row["difference"], f"below{place}": -scale * row["difference"]}
            values |= {
                f"p{place}": row["p_holm"],
                f"low{place}": scale * row["low"],
                f"high{place}": scale * row["high"],
            }
        expected = re.sub(r"\{(\d)", r"{_\1", numbers).format(**values)
        assert expected in prose, f"{folder}: README does not say {expected!r}"
    means = mean_differences(load_study(REFERENCE).answers).set_index(["metric", "setting", "baseline_setting"])
    off, random = (means.loc[("macro_f1", "sum", baseline)] for baseline in ("off", "sum-random"))
    assert f"{off['difference']:.3f} more than `off` (95 % interval {off['low']:+.3f} to {off['high']:+.3f})" in prose
    assert f"{random['difference']:.3f} more than the same fusion" in prose
    assert f"({random['low']:+.3f} to {random['high']:+.3f}, p {random['p']:.3f})" in prose
    recall = load_study(REFERENCE).table("test_recall")
    recall = recall[recall["subset"].isin(["WBC_50", "WBC_100"])].set_index("setting")["test_recall_basophil"]
    assert (recall["without"] == 0).all() and (9 * recall["with (sum)"]).round().eq(5).all()  # `off` none, `sum` five


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


def test_the_example_of_a_source_becomes_splits_cache_and_audit(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    draw, folder = np.random.default_rng(0), tmp_path / "cells"
    folder.mkdir()
    (folder / "notes.txt").touch()
    for name in CLASSES["wbc"]:
        for number in range(10):
            Image.fromarray(draw.integers(0, 256, (40, 40, 3), dtype=np.uint8)).save(
                folder / f"{name.lower()}_{number}.png"
            )
    config = DataConfig(source="folder", root=folder, image_size=16, stored_size=32, cache_dir=tmp_path / "cache")
    source = block("NamedFiles")["NamedFiles"](config)
    assert [item.label for item in source.items] == [label for label in range(5) for _ in range(10)]
    for name in ("domain", "classes", "items", "identity", "subsets", "read", "read_mask", "mask_name", "has_mask"):
        assert hasattr(source, name) and hasattr(Source, name)
    monkeypatch.setattr(cache, "open_source", lambda config, domain: source)
    arrays = cache.prepare(config, "wbc")
    assert len(arrays) == 50 and set(arrays.splits) == {"train", "val", "test"}
    findings = audit({"wbc": arrays}, (0.5, 1.0), 0)["wbc"]
    assert findings["images_total"] == 50 and not findings["leaks"] and not findings["unreadable"]
    assert sum(findings["fractions"]["1"]["classes"].values()) == (arrays.splits == "train").sum()
