"""What each kind of arm learns from: crops, latent vectors, noise, weights of classes, masks, colours."""

from copy import deepcopy

import numpy as np
import torch

from models.initialisation import stream
from study.design.arms import Arm
from study.training import objective as objective_module
from study.training.batches import ImageBatches
from tests.study.training.trials import (
    BOTH,
    CLASSICAL,
    FINETUNE,
    GIVEN,
    LIVE,
    MASKS,
    NETWORK,
    OFF,
    PUBLISHED,
    SUM,
    weights,
)


def test_a_frozen_trunk_is_trained_after_its_epochs(start):
    run = start(FINETUNE, training={"frozen_epochs": 2})
    before = weights(run)
    for trained in ({"classifier.fc.weight", "classifier.fc.bias"},) * 2 + (set(before),):
        run.train_epoch()
        assert {name for name, tensor in weights(run).items() if not torch.equal(tensor, before[name])} == trained


def test_the_published_control_trains_on_noise_and_is_the_plain_network_when_it_is_scored(start):
    off, control = start(OFF), start(PUBLISHED, phase="confirm")
    assert set(weights(control)) == set(weights(off))
    assert control.train_epoch().row()["train_loss"] != off.train_epoch().row()["train_loss"]
    plain = start(OFF, phase="confirm")
    plain.objective.network.load_state_dict(control.objective.network.state_dict())
    rows = control.batches.arrays.indices("val")
    for (_, found), (_, expected) in zip(control.objective.score(rows), plain.objective.score(rows), strict=True):
        assert torch.equal(found, expected)


def test_random_encoders_give_other_latents_through_the_same_fusion(start):
    pretrained, control = start(SUM), start(Arm(1.0, "sum", BOTH, "random"))
    assert {name: tensor.shape for name, tensor in weights(control).items()} == {
        name: tensor.shape for name, tensor in weights(pretrained).items()
    }
    for encoder in BOTH:
        assert not torch.equal(control.objective.latents.stored[encoder], pretrained.objective.latents.stored[encoder])


def test_live_features_equal_cached_ones_when_the_crop_is_the_whole_image(start):
    whole = {"data": {"crop_scale": [1.0, 1.0], "crop_ratio": [1.0, 1.0], "flip": 0.0}}
    live = start(SUM, **whole, **LIVE)
    rows = live.order.batches(1)[0]
    at = torch.from_numpy(rows)
    crops = live.batches.crops(rows, stream(0, "crops", 1))
    seen, stored = live.objective.latents.of_crops(rows, at, crops, step=0), live.objective.latents.of_images(at)
    assert set(seen) == set(stored) == set(BOTH)
    for encoder in BOTH:
        torch.testing.assert_close(seen[encoder], stored[encoder], rtol=1e-4, atol=1e-4)


def test_live_features_follow_the_crop(start):
    cropped = start(SUM, **LIVE)
    rows = cropped.order.batches(1)[0]
    at = torch.from_numpy(rows)
    first, second = (
        cropped.objective.latents.of_crops(rows, at, cropped.batches.crops(rows, stream(0, "crops", epoch)), step=0)[
            "prcc"
        ]
        for epoch in (1, 2)
    )
    assert not torch.allclose(first, second)
    assert not first.requires_grad


def test_fused_arm_learns_from_latents_and_is_scored_with_them(start):
    fused = start(SUM, phase="confirm")
    fused.train_epoch()
    learnt = [tensor for name, tensor in weights(fused).items() if name.startswith("fusion")]
    assert learnt and all(tensor.abs().sum() > 0 for tensor in learnt)
    with_latents = fused.predictions().probabilities
    for latent in fused.objective.latents.stored.values():
        latent.zero_()
    assert not np.allclose(fused.predictions().probabilities, with_latents)


def test_class_weights_change_what_is_learnt_and_leave_what_is_recorded_comparable(start):
    plain, weighted = start(), start(training={"loss_weights": "inverse"})
    first, second = plain.train_epoch(), weighted.train_epoch()
    assert any(not torch.equal(tensor, weights(weighted)[name]) for name, tensor in weights(plain).items())
    # Before the first gradient step nothing differs: the recorded losses of a first step must be equal.
    one = start(training={"steps_per_epoch": 1}).train_epoch()
    other = start(training={"steps_per_epoch": 1, "loss_weights": "inverse"}).train_epoch()
    assert one.train_loss == other.train_loss
    assert one.val_loss != other.val_loss
    assert first.steps == second.steps


def test_the_weighted_step_is_that_of_the_weighted_mean_over_the_batch(start):
    run = start(training={"loss_weights": "inverse", "steps_per_epoch": 1})
    model, rows = deepcopy(run.objective.network).train(), run.order.batches(1)[0]
    labels = run.batches.arrays.labels
    counts = np.bincount(labels[run.order.rows], minlength=5)
    factors = torch.tensor((len(run.order.rows) / (5 * counts))[labels[rows]], dtype=torch.float32)
    logits = model(run.batches.crops(rows, stream(0, "crops", 1)), {})
    losses = torch.nn.functional.cross_entropy(logits, torch.from_numpy(labels[rows]), reduction="none")
    (losses * factors).mean().backward()
    run.train_epoch()
    expected = dict(model.named_parameters())
    for name, parameter in run.objective.network.named_parameters():
        assert torch.allclose(parameter.grad, expected[name].grad, rtol=1e-3, atol=1e-6), name


def test_masks_are_learnt_from_without_changing_anything_else_that_arms_share(start):
    plain, masked = start(SUM), start(MASKS)
    assert masked.batches.arrays.masked[masked.order.rows].sum() > 0
    assert [b.tolist() for b in plain.order.batches(1)] == [b.tolist() for b in masked.order.batches(1)]
    assert all(torch.equal(tensor, weights(masked)[name]) for name, tensor in weights(plain).items())
    first, second = (run.train_epoch() for run in (plain, masked))
    # The recorded loss is the classification's alone: before the first step it is the same number.
    one, other = (start(arm, training={"steps_per_epoch": 1}).train_epoch().train_loss for arm in (SUM, MASKS))
    assert one == other
    assert first.val_loss != second.val_loss
    assert second.parameters > first.parameters
    # What predicts is the network without the head.
    assert list(weights(masked)) == list(weights(plain))


def test_the_classical_floor_learns_from_its_features_alone(start):
    run = start(CLASSICAL)
    assert run.train_epoch().parameters == 5 * 64 + 5
    shuffled = start(CLASSICAL)
    shuffled.batches.crops = lambda rows, generator: torch.zeros(len(rows), 3, 16, 16)
    assert shuffled.train_epoch().row() == run.reports[0].row()
    assert start(OFF).train_epoch().row() != run.reports[0].row()


def test_a_network_starts_from_given_weights_but_for_its_head(start):
    drawn, given = weights(start(NETWORK)), weights(start(GIVEN))
    same = {name for name in drawn if torch.equal(drawn[name], given[name])}
    assert {"network.classifier.3.weight", "network.classifier.3.bias"} <= same
    assert "network.features.0.0.weight" not in same


def test_colours_are_moved_only_where_asked_and_then_crops_and_order_stay(start, monkeypatch):
    seen: list[torch.Tensor] = []
    keep = objective_module.recolour

    def watched(images, draws, jitter):
        seen.append(images.clone())
        return keep(images, draws, jitter)

    monkeypatch.setattr(objective_module, "recolour", watched)
    plain = start()
    plain.train_epoch()
    assert seen == []
    crops = []
    original = ImageBatches.crops
    monkeypatch.setattr(ImageBatches, "crops", lambda *a: (crops.append(original(*a)), crops[-1])[1])
    start().train_epoch()
    without = list(crops)
    crops.clear()
    moved = start(
        settings='{"training.hue": 0.2, "training.stain_jitter": 0.1}', search={"also": {"training.hue": [0.0, 0.2]}}
    )
    moved.train_epoch()
    assert len(seen) == len(crops) == len(without) > 0
    assert all(map(torch.equal, crops, without)) and all(map(torch.equal, crops, seen))
    assert moved.reports[0].row() != plain.reports[0].row()
