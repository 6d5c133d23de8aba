"""README says what is so: its tables are those of the reference study, its commands exist."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
import typer
from PIL import Image
from sklearn.metrics import f1_score
from torch import nn

from analysis import Study, load_study
from analysis.figures.registry import captioned
from analysis.report.page import write_report
from analysis.statistics.pooled import mean_differences
from analysis.statistics.predictions import study_predictions
from analysis.tables.registry import tables
from analysis.tables.table import Column, Content
from analysis.wording.sections import Entry, Level, Section
from data_utils import cache as image_cache
from data_utils.audit import audit
from data_utils.config import DataConfig
from data_utils.decoding import decode_image
from data_utils.sources.source import CLASSES, Item, Source
from models import fusion, torchvision_classifiers
from study.commands.main import app
from study.config.study import StudyConfig
from tests.analysis.conftest import RunDirectory, fill
from tests.benchmarks.speed_table import GOALS, read_json
from tests.readme_tables import PICTURE, README, REFERENCE, SPEED, filled, fingerprint, marked

TEXT = README.read_text(encoding="utf-8")
SUBSETS = ("WBC_1", "WBC_10", "WBC_50", "WBC_100")


def test_tables_and_picture_are_those_of_the_reference_study() -> None:
    study = published(REFERENCE.name)
    assert filled(TEXT, study) == TEXT, "python -m tests.readme_tables --write"
    picture = REFERENCE / f"{PICTURE}.svg"
    assert f"]({picture.relative_to(README.parent)})" in TEXT
    assert fingerprint(captioned(study, PICTURE)) in picture.read_text(encoding="utf-8"), (
        "python -m tests.readme_tables --write"
    )
    size = sum(path.stat().st_size for path in REFERENCE.rglob("*") if path.is_file())
    assert size < 8e6, f"ray_results/reference/ takes {size / 1e6:.1f} MB"


@cache
def published(folder: str) -> Study:
    return load_study(REFERENCE.parent / folder)


class Shown:
    """The differences of a published study between two settings in one metric, by fraction, as README writes them."""

    def __init__(self, folder: str, setting: str, baseline: str, metric: str = "macro_f1"):
        study = published(folder)
        rows = study.verdicts()
        rows = rows[(rows["metric"] == metric) & (rows["setting"] == setting)]
        self.rows = rows[rows["baseline"].str.endswith(f"/{baseline}")].set_index("subset")
        self.p = self.rows["p_holm"]
        self.scale, self.form = (100, "+.1f") if metric == "accuracy" else (1, "+.3f")
        means = mean_differences(study.answers)
        means = means[(means["metric"] == metric) & (means["setting"] == setting)]
        (self.mean,) = means[means["baseline_setting"] == baseline].to_dict("records")

    def difference(self, subset: str, column: str = "difference") -> str:
        return format(self.scale * self.rows.loc[subset, column], self.form)


def test_differences_in_the_prose_are_those_of_the_records() -> None:
    prose = re.sub(r"<!-- table.*?/table -->", "", TEXT, flags=re.DOTALL)
    prose = " ".join(prose.partition("## The reference study")[2].partition("## What comes out")[0].split())
    some, whole = "WBC_50", "WBC_100"
    off, random = Shown("reference", "sum", "off"), Shown("reference", "sum", "sum-random")
    mean = off.mean
    assert (
        f"{mean['difference']:.3f} more than `off` (95 % interval {mean['low']:+.3f} to {mean['high']:+.3f})" in prose
    )
    mean = random.mean
    assert f"{mean['difference']:.3f} more than the same fusion" in prose
    assert f"({mean['low']:+.3f} to {mean['high']:+.3f}, p {mean['p']:.3f}, not adjusted)" in prose
    assert off.p[whole] < 0.001
    said = f"({off.difference(some)} and {off.difference(whole)}, adjusted p {off.p[some]:.3f} and below 0.001)"
    assert said in prose
    assert random.p.min() > 0.05 and f"(adjusted p {random.p.min():.2f} to {random.p.max():.2f})" in prose
    assert f"that is {random.difference(whole)}, p {random.p[whole]:.2f}:" in prose
    assert (
        f"{Shown('reference', 'off-classical', 'off').mean['difference']:+.3f} over `off` over all fractions" in prose
    )
    placebo = Shown("reference", "sum-published", "off", "accuracy")
    assert f"{placebo.difference('WBC_1').lstrip('+')} points of accuracy above `off`" in prose
    assert f"(interval {placebo.difference('WBC_1', 'low')} to {placebo.difference('WBC_1', 'high')})" in prose
    assert placebo.rows.loc[whole, "verdict"] == "loss"
    assert f"with all labels {placebo.difference(whole).lstrip('-')} below, a loss (p {placebo.p[whole]:.2f})" in prose
    accuracy = [Shown("reference", "sum", baseline, "accuracy") for baseline in ("off", "sum-random")]
    assert not any(
        each.rows["verdict"].isin(["gain", "above off only", "above random only"]).any() for each in accuracy
    )
    assert "no evidence of a gain at any fraction" in prose and accuracy[0].rows.loc["WBC_1", "high"] > 0.09
    off, random = Shown("reference_stand_ins", "sum", "off"), Shown("reference_stand_ins", "sum", "sum-random")
    assert f"({off.difference(some)} and {off.difference(whole)}, p {off.p[some]:.3f} and {off.p[whole]:.3f})" in prose
    assert f"{random.p[some]:.2f}" == f"{random.p[whole]:.2f}"
    assert f"({random.difference(some)} and {random.difference(whole)}, p {random.p[some]:.2f} both)" in prose


def test_counts_and_shares_in_the_prose_are_those_of_the_records() -> None:
    prose = " ".join(TEXT.partition("## The reference study")[2].partition("<!-- table")[0].split())
    study = published(REFERENCE.name)
    arms = {arm.arm: arm for arm in study.answers.arms}
    labels = study.answers.labels

    def each_class(name: str) -> Any:
        return np.mean([f1_score(labels, answers, average=None) for answers in arms[name].predicted], axis=0)

    for baseline, shown in (("off", "; 0.085 and"), ("sum-random", " 0.043 of that are the F1 of basophils")):
        parts = [each_class(f"{subset}/sum") - each_class(f"{subset}/{baseline}") for subset in SUBSETS]
        assert f"{np.mean(parts, axis=0)[0] / len(CLASSES['wbc']):.3f}" in shown and shown in prose
    basophils = labels == 0
    assert basophils.sum() == 9
    for setting, expected in (("off", 0), ("sum", 5)):
        for subset in SUBSETS[2:]:
            found = (arms[f"{subset}/{setting}"].predicted[:, basophils] == 0).sum(axis=1).mean()
            assert round(found) == expected
    assert "of the 9 basophils to test `off` finds none, `sum` five on average" in prose
    assert f"({each_class('WBC_10/off-classical').mean():.3f} and {each_class('WBC_10/sum').mean():.3f})" in prose
    needed = study.table("detectable").query("kind in ('transfer', 'random')")
    first, later = needed[needed["subset"] == "WBC_1"], needed[needed["subset"] != "WBC_1"]
    assert set(later["detectable"].mul(100).round()) == {2, 3} and "a true difference of two to three points" in prose
    assert set(first["detectable"].mul(100).round()) == {10, 15} and "at 1 % one of ten to fifteen" in prose
    elsewhere = study.table("outside_wbc_masked")
    own, there = (100 * elsewhere[name] for name in ("own_accuracy", "accuracy"))
    assert f"Test accuracy is {own.min():.0f} to {own.max():.0f} %" in prose
    assert f"there it is {there.min():.0f} to {there.max():.0f} %" in prose
    train = study.images[study.images["split"] == "train"]
    assert f"Of {len(train):,} training images {(train['label'] == 0).sum()} are basophils" in prose


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


def test_files_named_in_readme_exist_and_hold_the_names_before_them() -> None:
    for path in re.findall(r"(?:`|\]\()((?:study|analysis|models|data_utils|tests)/[\w./-]+)", TEXT):
        assert (README.parent / path).exists(), path
    for name, path in re.findall(r"`(?:\w+\.)?(\w+)` \(`(\w+/[\w/]+\.py)`", TEXT):
        assert re.search(rf"\b{name}\b", (README.parent / path).read_text(encoding="utf-8")), f"{path} has no {name}"


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
    scope |= {"Entry": Entry, "Section": Section, "Level": Level, "Content": Content, "Column": Column}
    scope |= {"Item": Item, "CLASSES": CLASSES, "DataConfig": DataConfig}
    scope |= {"study_predictions": study_predictions, "decode_image": decode_image, "_zero_linear": fusion._zero_linear}
    exec(code, scope)
    return scope


def test_the_example_of_a_statistic_is_a_table_of_the_study(tmp_path: Path) -> None:
    entry = block("hardest_images_table")["ENTRY"]
    content = entry.make(load_study(fill(RunDirectory(tmp_path)).save()))
    table = content.as_table(entry.name, entry.title, entry.section, entry.level)
    assert len(table.display()) == 20 and table.frame["wrong"].max() == 8


def test_the_example_of_a_fusion_starts_as_off_and_learns_from_latents() -> None:
    head, features, latents = nn.Linear(6, 3), torch.rand(4, 6), {"prcc": torch.rand(4, 5)}
    made = block("ProductFusion")["ProductFusion"](6, {"prcc": 5})
    logits = made(features, head, latents)
    assert torch.equal(logits, head(features))
    logits.square().sum().backward()
    assert made.maps["prcc"].weight.grad.abs().sum() > 0


def test_the_example_of_a_classifier_can_be_an_arm(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setitem(torchvision_classifiers.OWN, "patches", block("Patches")["Patches"])
    assert "patches" in torchvision_classifiers.known_classifiers()
    assert torchvision_classifiers.count_parameters("patches", 5) == 64 * (3 * 64 + 1) + 5 * 65
    assert torchvision_classifiers.find_refusal("patches", 7, 7) and not torchvision_classifiers.find_refusal(
        "patches", 8, 8
    )
    network = torchvision_classifiers.TorchvisionClassifier("patches", 5)
    torch.save(
        torchvision_classifiers.TorchvisionClassifier("patches", 9).network.state_dict(), tmp_path / "weights.pth"
    )
    network.start_from(torchvision_classifiers.read_classifier_weights("patches", tmp_path / "weights.pth", 5))
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
    monkeypatch.setattr(image_cache, "open_source", lambda config, domain: source)
    arrays = image_cache.prepare(config, "wbc")
    assert len(arrays) == 50 and set(arrays.splits) == {"train", "val", "test"}
    findings = audit({"wbc": arrays}, (0.5, 1.0), 0)["wbc"]
    assert findings["images_total"] == 50 and not findings["leaks"] and not findings["unreadable"]
    assert sum(findings["fractions"]["1"]["classes"].values()) == (arrays.splits == "train").sum()
