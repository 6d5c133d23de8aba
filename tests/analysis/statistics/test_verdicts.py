"""Verdicts: what is compared, in which family, and what may be called a gain."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from statsmodels.stats.multitest import multipletests

from analysis import StudyError, load_study
from analysis.statistics.predictions import ArmPredictions, Predictions
from analysis.statistics.verdicts import compare_arms
from analysis.wording.verdicts import (
    ABOVE_OFF,
    ABOVE_OFF_NO_CONTROL,
    ABOVE_RANDOM,
    ABOVE_RANDOM_NO_OFF,
    GAIN,
    LOSS,
    NO_EVIDENCE,
)

Make = Callable[..., Any]
CLASSES = ("Basophil", "Eosinophil", "Lymphocyte", "Monocyte", "Neutrophil")
LABELS = np.repeat(np.arange(5), [9, 31, 103, 24, 265])


def arm(
    right: float,
    fraction: float = 0.1,
    fusion: str = "off",
    control: str = "",
    encoders: str = "prcc+cam16",
    seeds: tuple[int, ...] = (1, 2, 3, 4, 5),
    draw: int = 0,
) -> ArmPredictions:
    """Answers of which about a share `right` are right; the same images are hard for every arm."""
    hard = np.random.default_rng(0).random(len(LABELS))
    predicted = []
    for seed in seeds:
        noise = np.random.default_rng([seed, draw]).normal(0, 0.05, len(LABELS))
        predicted.append(np.where(hard + noise < right, LABELS, (LABELS + 1) % 5))
    named = f"({encoders})" if encoders != "prcc+cam16" else ""
    name = f"WBC_{fraction * 100:g}/{fusion}{named}{'-' + control if control else ''}"
    return ArmPredictions(name, fraction, fusion, encoders, control, np.array(seeds), np.array(predicted))


def judged(*arms: ArmPredictions, split: str = "test") -> pd.DataFrame:
    frame = compare_arms(Predictions(split, CLASSES, LABELS, arms))
    return frame[frame["metric"] == "accuracy"].set_index(["arm", "baseline"])


def test_a_gain_must_beat_off_and_random_encoders() -> None:
    off, transfer = arm(0.7), arm(0.85, fusion="sum", draw=1)
    weak, strong = arm(0.7, fusion="sum", control="random", draw=2), arm(0.85, fusion="sum", control="random", draw=3)
    both = judged(off, transfer, weak)
    assert both.loc[("WBC_10/sum", "WBC_10/off"), "verdict"] == GAIN
    assert both.loc[("WBC_10/sum", "WBC_10/sum-random"), "verdict"] == GAIN
    assert "beats both off and random" in both.loc[("WBC_10/sum", "WBC_10/off"), "sentence"]
    one = judged(off, transfer, strong)
    assert one.loc[("WBC_10/sum", "WBC_10/off"), "verdict"] == ABOVE_OFF
    assert one.loc[("WBC_10/sum", "WBC_10/sum-random"), "verdict"] == NO_EVIDENCE
    assert "beats off, but not certainly random encoders" in one.loc[("WBC_10/sum", "WBC_10/off"), "sentence"]
    # The random control itself is above off, and its row says so of a control.
    assert one.loc[("WBC_10/sum-random", "WBC_10/off"), "verdict"] == GAIN
    assert "control random is above off" in one.loc[("WBC_10/sum-random", "WBC_10/off"), "sentence"]


def test_without_a_random_control_nothing_is_a_gain() -> None:
    row = judged(arm(0.7), arm(0.9, fusion="sum", draw=1)).loc[("WBC_10/sum", "WBC_10/off")]
    assert row["p_holm"] < 0.001
    assert row["verdict"] == ABOVE_OFF_NO_CONTROL
    assert "random encoders is missing" in row["sentence"]


def test_a_baseline_without_common_seeds_counts_as_missing() -> None:
    off, transfer = arm(0.7), arm(0.85, fusion="sum", draw=1)
    random = arm(0.7, fusion="sum", control="random", draw=2)
    other = replace(random, seeds=random.seeds + 100)
    found = judged(off, transfer, other)
    assert found.loc[("WBC_10/sum", "WBC_10/off"), "verdict"] == ABOVE_OFF_NO_CONTROL
    assert "control with random encoders is missing" in found.loc[("WBC_10/sum", "WBC_10/off"), "sentence"]
    assert found.loc[("WBC_10/sum", "WBC_10/sum-random"), "verdict"] == NO_EVIDENCE
    alone = judged(transfer, random).loc[("WBC_10/sum", "WBC_10/sum-random")]
    assert alone["verdict"] == ABOVE_RANDOM_NO_OFF and "off is missing" in alone["sentence"]


def test_a_network_is_compared_with_off_and_its_weights_with_random_ones() -> None:
    def network(right: float, control: str = "", draw: int = 0) -> ArmPredictions:
        predictions = arm(right, fusion="resnet18", control=control, encoders="prcc+cam16", draw=draw)
        return replace(predictions, fusion="off", network="resnet18", encoders="" if control else "resnet18")

    found = judged(arm(0.7), network(0.85, draw=1), network(0.85, "random", 2), arm(0.7, fusion="sum", draw=3))
    assert found["kind"].to_dict() == {
        ("WBC_10/sum", "WBC_10/off"): "transfer",
        ("WBC_10/resnet18-random", "WBC_10/off"): "control",
        ("WBC_10/resnet18", "WBC_10/off"): "network",
        ("WBC_10/resnet18", "WBC_10/resnet18-random"): "weights",
    }
    assert found["verdict"].to_list() == [NO_EVIDENCE, GAIN, GAIN, NO_EVIDENCE]
    assert set(found["family"]) == {1}
    sentences = found["sentence"]
    assert "this network beats off" in sentences[("WBC_10/resnet18", "WBC_10/off")]
    assert "No evidence that its given weights help" in sentences[("WBC_10/resnet18", "WBC_10/resnet18-random")]


def test_losses_and_noise_are_called_so() -> None:
    random = arm(0.7, fusion="sum", control="random", draw=3)
    worse = judged(arm(0.8), arm(0.7, fusion="sum", draw=1), random)
    assert worse.loc[("WBC_10/sum", "WBC_10/off"), "verdict"] == LOSS
    same = judged(arm(0.8), arm(0.8, fusion="sum", draw=1), random)
    assert same.loc[("WBC_10/sum", "WBC_10/off"), "verdict"] == NO_EVIDENCE
    assert same.loc[("WBC_10/sum", "WBC_10/sum-random"), "verdict"] == ABOVE_RANDOM
    assert "beats random encoders, but not certainly off" in same.loc[("WBC_10/sum", "WBC_10/off"), "sentence"]


def test_no_interval_is_longer_than_any_difference_can_be() -> None:
    good, bad = np.tile(LABELS, (2, 1)), np.tile((LABELS + 1) % len(CLASSES), (2, 1))
    # Better under one seed, worse under the other, each by everything.
    two = [replace(arm(0.7, fusion=fusion), seeds=np.array([1, 2])) for fusion in ("off", "sum")]
    mixed = [
        replace(each, predicted=np.stack(rows))
        for each, rows in zip(two, ((good[0], bad[0]), (bad[0], good[0])), strict=True)
    ]
    row = judged(*mixed).loc[("WBC_10/sum", "WBC_10/off")]
    assert (row["low"], row["difference"], row["high"]) == (-1, 0, 1)


def test_holm_runs_over_the_fractions_of_one_kind_of_comparison() -> None:
    arms = []
    for position, fraction in enumerate((0.01, 0.1, 0.5, 1.0)):
        arms += [arm(0.7, fraction, draw=position), arm(0.71, fraction, "sum", draw=10 + position)]
        arms += [arm(0.7, fraction, "sum", "random", draw=20 + position), arm(0.7, fraction, control="twin", draw=30)]
    frame = compare_arms(Predictions("test", CLASSES, LABELS, tuple(arms)))
    # The two controls of each fraction are tested together: one of many is above off by chance too often.
    expected = {"transfer": 4, "random": 4, "control": 8}
    for (_, kind), rows in frame.groupby(["metric", "kind"]):
        assert len(rows) == expected[kind]
        assert (rows["family"] == expected[kind]).all()
        np.testing.assert_allclose(rows["p_holm"], multipletests(rows["p"], method="holm")[1])
    assert set(frame["control"]) == {"", "random", "twin"}


def test_the_random_control_of_the_same_fusion_and_encoders_is_the_one_to_beat() -> None:
    arms = [
        arm(0.7),
        arm(0.9, fusion="sum", encoders="prcc", draw=1),
        arm(0.9, fusion="sum", encoders="cam16", draw=2),
        arm(0.9, fusion="gated", encoders="prcc", draw=3),
        arm(0.7, fusion="sum", control="random", encoders="prcc", draw=4),
        arm(0.7, fusion="gated", control="random", encoders="cam16", draw=5),
    ]
    frame = judged(*arms).reset_index()
    rivals = frame[frame["kind"] == "random"]
    assert rivals[["arm", "baseline"]].to_numpy().tolist() == [["WBC_10/sum(prcc)", "WBC_10/sum(prcc)-random"]]
    transfer = frame[frame["kind"] == "transfer"].set_index("setting")["verdict"]
    assert transfer.to_dict() == {
        "sum(prcc)": GAIN,
        "sum(cam16)": ABOVE_OFF_NO_CONTROL,
        "gated(prcc)": ABOVE_OFF_NO_CONTROL,
    }


def test_arms_that_learn_from_masks_meet_baselines_that_do() -> None:
    def masked(each: ArmPredictions) -> ArmPredictions:
        return replace(each, arm=f"{each.arm}+masks", segmentation="masks")

    plain = [arm(0.7), arm(0.9, fusion="sum", draw=1), arm(0.7, fusion="sum", control="random", draw=2)]
    frame = judged(*plain, *(masked(each) for each in plain)).reset_index()
    met = frame[["kind", "arm", "baseline"]].to_numpy().tolist()
    assert met == [
        ["transfer", "WBC_10/sum", "WBC_10/off"],
        ["transfer", "WBC_10/sum+masks", "WBC_10/off+masks"],
        ["random", "WBC_10/sum", "WBC_10/sum-random"],
        ["random", "WBC_10/sum+masks", "WBC_10/sum-random+masks"],
        ["control", "WBC_10/sum-random", "WBC_10/off"],
        ["control", "WBC_10/sum-random+masks", "WBC_10/off+masks"],
        ["masks", "WBC_10/off+masks", "WBC_10/off"],
    ]
    assert frame["verdict"].tolist() == [GAIN] * 4 + [NO_EVIDENCE] * 3


def test_the_sentence_on_masks_says_what_its_verdict_says() -> None:
    for right, verdict, words in (
        (0.9, GAIN, "A gain from masks."),
        (0.7, NO_EVIDENCE, "No evidence that masks help."),
    ):
        masked = replace(arm(right, draw=1), arm="WBC_10/off+masks", segmentation="masks")
        row = judged(arm(0.7), masked).iloc[0]
        assert (row["kind"], row["verdict"]) == ("masks", verdict)
        assert words in row["sentence"]


def test_common_seeds_are_paired_and_the_sentence_says_so() -> None:
    row = judged(arm(0.7), arm(0.8, fusion="sum", draw=1, seeds=(2, 4, 9))).loc[("WBC_10/sum", "WBC_10/off")]
    alone = judged(arm(0.7, seeds=(2, 4)), arm(0.8, fusion="sum", draw=1, seeds=(2, 4))).iloc[0]
    assert row["seeds"] == 2
    assert row["difference"] == alone["difference"]
    assert row["low"] == pytest.approx(alone["low"], rel=0.05)
    assert "WBC_10/sum has 3, WBC_10/off 5" in row["sentence"]


def test_one_common_seed_has_no_numbers_and_no_evidence() -> None:
    frame = judged(arm(0.7), arm(0.9, fusion="sum", seeds=(5, 6)), arm(0.7, fusion="sum", control="random", draw=2))
    row = frame.loc[("WBC_10/sum", "WBC_10/off")]
    assert np.isnan([row["difference"], row["low"], row["p_holm"]]).all()
    assert row["verdict"] == NO_EVIDENCE
    assert "share 1 seeds: too few" in row["sentence"]


def test_validation_verdicts_are_labelled_optimistic() -> None:
    assert "Optimistic" in judged(arm(0.7), arm(0.8, fusion="sum"), split="val")["sentence"].iloc[0]
    assert "Optimistic" not in judged(arm(0.7), arm(0.8, fusion="sum"))["sentence"].iloc[0]


def test_verdicts_come_from_records(finished: Path) -> None:
    frame = load_study(finished).verdicts()
    assert frame[["subset", "kind", "metric", "split"]].drop_duplicates().shape[0] == len(frame) == 6
    # The test images of WBC_1 are answered right 22 and 24 times without, 25 and 27 times with features, of 40.
    row = frame[(frame["metric"] == "accuracy") & (frame["subset"] == "WBC_1")].iloc[0]
    assert row["difference"] == pytest.approx(3 / 40)
    assert (row["seeds"], row["images"]) == (2, 40)


def test_verdicts_without_a_test_split_are_those_of_validation(run_directory: Make, fill_directory: Make) -> None:
    study = load_study(fill_directory(run_directory(), test=False).save())
    frame = study.verdicts()
    assert set(frame["split"]) == {"val"}
    assert frame["sentence"].str.contains("Optimistic").all()


def test_a_study_without_repetition_has_no_statistics(run_directory: Make, fill_directory: Make) -> None:
    with pytest.raises(StudyError, match=r"no confirmed runs.*confirm\.seeds"):
        load_study(fill_directory(run_directory(), confirm=False).save()).verdicts()
    directory = run_directory("single")
    for fusion in ("off", "sum"):
        directory.trial(f"{fusion}-w", 0.1, fusion, correct=[20])
        directory.trial(f"{fusion}-c", 0.1, fusion, "confirm", seed=101, correct=[20])
        directory.predict(f"{fusion}-c", 1, "test", 20)
    with pytest.raises(StudyError, match=r"one seed says nothing.*confirm\.seeds"):
        load_study(directory.save()).verdicts()
