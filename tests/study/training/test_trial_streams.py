"""Compared arms share what is random, but for what makes them differ."""

import numpy as np
import pytest
import torch

from models.classifier import ResidualClassifier
from models.initialisation import stream
from tests.study.training.trials import EVERY_KIND, FINETUNE, OFF, TWIN, weights


@pytest.mark.parametrize(
    "arm", [arm for arm in EVERY_KIND if arm.control != "twin" and arm.fusion not in ("off", "finetune")]
)
def test_compared_arms_share_subset_order_crops_and_initial_weights(start, arm):
    off, fused = start(OFF), start(arm)
    assert np.array_equal(off.order.rows, fused.order.rows)
    assert [b.tolist() for b in off.order.batches(2)] == [b.tolist() for b in fused.order.batches(2)]
    assert all(torch.equal(tensor, weights(fused)[name]) for name, tensor in weights(off).items())
    rows = off.order.batches(1)[0]
    crops = [run.batches.crops(rows, stream(0, "crops", 1)) for run in (off, fused)]
    assert torch.equal(*crops)


def test_an_arm_that_finetunes_shares_all_but_the_trunk_it_starts_from(start):
    off, tuned = start(OFF), start(FINETUNE)
    assert np.array_equal(off.order.rows, tuned.order.rows)
    assert [b.tolist() for b in off.order.batches(2)] == [b.tolist() for b in tuned.order.batches(2)]
    trunk = ResidualClassifier(2, 8, stream(1, "cam16")).state_dict()
    for name, tensor in weights(tuned).items():
        expected = weights(off)[name] if ".fc." in name else trunk[name.removeprefix("classifier.")]
        assert torch.equal(tensor, expected), name


def test_the_twin_shares_the_labelled_images_with_off_and_nothing_else(start):
    off, twin = start(OFF, seed=3), start(TWIN, seed=3)
    assert np.array_equal(off.order.rows, twin.order.rows)
    assert [b.tolist() for b in off.order.batches(1)] != [b.tolist() for b in twin.order.batches(1)]
    assert not torch.equal(weights(off)["classifier.conv1.weight"], weights(twin)["classifier.conv1.weight"])
    assert twin.train_epoch().row() != off.train_epoch().row()
    assert set(weights(twin)) == set(weights(off))
