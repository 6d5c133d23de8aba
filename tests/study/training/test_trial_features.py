"""What a trial sees of the pretrained networks, and what the placebos see instead."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from data_utils.arrays import ImageArrays
from data_utils.config import DataConfig
from study.design.arms import Arm
from study.training.batches import ImageBatches
from study.training.trial_features import PublishedNoise, StudyFeatures, TrialLatents, shuffled_rows

CPU = torch.device("cpu")
PLACEBO = Arm(0.1, "sum", ("prcc", "cam16"), "published")


@given(counts=st.lists(st.integers(0, 40), min_size=3, max_size=3), seed=st.integers(0, 2**40))
def test_shuffled_features_are_a_permutation_inside_each_split(counts: list[int], seed: int) -> None:
    splits = np.repeat(np.array(["train", "val", "test"]), counts)
    partners = shuffled_rows(splits, seed)
    assert sorted(partners.tolist()) == list(range(len(splits)))
    assert np.array_equal(splits[partners], splits)
    assert np.array_equal(partners, shuffled_rows(splits, seed))


def test_shuffling_is_blind_to_classes_and_another_one_for_each_seed(small_arrays: ImageArrays) -> None:
    one, other = shuffled_rows(small_arrays.splits, 1), shuffled_rows(small_arrays.splits, 2)
    assert not np.array_equal(one, other)
    # About as many partners of the same class as chance has: shares squared, summed.
    agreement = np.mean(
        [
            np.mean(small_arrays.labels[shuffled_rows(small_arrays.splits, seed)] == small_arrays.labels)
            for seed in range(50)
        ]
    )
    shares = np.bincount(small_arrays.labels) / len(small_arrays)
    assert agreement == pytest.approx((shares**2).sum(), abs=0.05)


def test_shuffled_latents_are_those_of_the_partners(small_arrays: ImageArrays, small_data: DataConfig) -> None:
    features = StudyFeatures({"prcc": np.arange(2 * len(small_arrays), dtype=np.float32).reshape(-1, 2)})
    batches = ImageBatches(small_arrays, small_data, CPU)
    own, placebo = (
        TrialLatents(Arm(0.1, "sum", ("prcc",), control), 5, features, batches, CPU) for control in ("", "shuffled")
    )
    assert placebo.partners is not None
    rows = torch.tensor([3, 50, 110])
    assert torch.equal(placebo.of_images(rows)["prcc"], own.of_images(torch.from_numpy(placebo.partners)[rows])["prcc"])
    assert own.sizes == placebo.sizes == {"prcc": 2}


def test_an_arm_without_fusion_sees_nothing(small_arrays: ImageArrays, small_data: DataConfig) -> None:
    features = StudyFeatures({"cam16": np.zeros((len(small_arrays), 2), dtype=np.float32)})
    batches = ImageBatches(small_arrays, small_data, CPU)
    for arm in (Arm(0.1, "off"), Arm(0.1, "finetune", ("cam16",)), PLACEBO):
        latents = TrialLatents(arm, 0, features, batches, CPU)
        assert latents.sizes == latents.of_images(torch.tensor([1])) == {}


@pytest.fixture
def noise() -> PublishedNoise:
    rng = np.random.default_rng(0)
    features = StudyFeatures({name: rng.normal(3, 2, size=(100, 64)).astype(np.float32) for name in PLACEBO.encoders})
    return PublishedNoise(PLACEBO, 7, features, np.arange(10, 60), batch_size=8)


def test_published_noise_is_new_at_every_step_and_the_same_after_an_interruption(noise: PublishedNoise) -> None:
    assert torch.equal(noise.logits(4, 8, 5), noise.logits(4, 8, 5))
    assert not torch.equal(noise.logits(4, 8, 5), noise.logits(5, 8, 5))


def test_published_noise_does_not_ask_which_images_are_trained_on(noise: PublishedNoise) -> None:
    # Rows belong to places in the fixed batch: a shorter batch has the first of them, a longer one begins again.
    whole = noise.logits(4, 8, 5)
    assert torch.equal(noise.logits(4, 3, 5), whole[:3])
    assert torch.equal(noise.logits(4, 11, 5), torch.cat([whole, whole[:3]]))


def test_published_noise_has_the_documented_size(noise: PublishedNoise) -> None:
    drawn = torch.stack([noise.logits(step, 8, 5) for step in range(500)])
    assert drawn.mean().abs() < 0.05
    # Per encoder sum_i w_i z_i with w uniform in +-1/sqrt(L) and z of mean square 1: variance 1/3 (and 1/(3 L) of the bias).
    assert float(drawn.std()) == pytest.approx((2 / 3) ** 0.5, rel=0.15)
