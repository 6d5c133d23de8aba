"""The auxiliary segmentation head."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from models.classifier import ResidualClassifier
from models.fusion import FusedClassifier
from models.initialisation import stream
from models.segmentation import DOWNSAMPLING, PARTS, SegmentationTask


@pytest.fixture
def classifier() -> ResidualClassifier:
    return ResidualClassifier(classes=5, width=8)


def images(count: int = 4, side: int = 18) -> Tensor:
    return torch.rand(count, 3, side, side, generator=stream(0, "images"))


def shares(count: int, side: int = 5) -> Tensor:
    return torch.rand(count, PARTS, side, side, generator=stream(0, "shares")).softmax(dim=1)


def test_the_loss_is_torchs_cross_entropy_of_the_images_with_masks_over_all_images(
    classifier: ResidualClassifier,
) -> None:
    task = SegmentationTask(classifier)
    batch, rows, target = images(), torch.tensor([1, 3]), shares(2)
    classifier.train()
    classifier(batch)
    loss = task.loss(rows, target)
    logits = task.head(classifier.feature_maps(batch)[rows]).permute(0, 3, 1, 2)
    each = torch.nn.functional.cross_entropy(logits, target, reduction="none").mean(dim=(1, 2))
    assert loss.item() == pytest.approx(each.sum().item() / 4, rel=1e-5)


def test_feature_maps_have_the_resolution_that_masks_are_made_for(classifier: ResidualClassifier) -> None:
    for side in (16, 17, 18, 19, 20):
        assert classifier.feature_maps(images(2, side)).shape[2:] == (-(-side // DOWNSAMPLING),) * 2


def test_a_batch_without_masks_adds_nothing(classifier: ResidualClassifier) -> None:
    task = SegmentationTask(classifier)
    classifier.train()(images())
    loss = task.loss(torch.zeros(0, dtype=torch.int64), shares(0))
    assert loss.item() == 0
    assert not loss.requires_grad


def test_the_trunk_learns_from_masks_and_the_classifiers_head_does_not(classifier: ResidualClassifier) -> None:
    task = SegmentationTask(classifier)
    model = FusedClassifier(classifier, {}, "off")
    model.train()(images())
    task.loss(torch.tensor([0]), shares(1)).backward()
    assert classifier.conv1.weight.grad is not None and classifier.conv1.weight.grad.abs().sum() > 0
    assert classifier.fc.weight.grad is None


def test_it_learns_to_tell_the_parts_of_a_picture(classifier: ResidualClassifier) -> None:
    task = SegmentationTask(classifier)
    dark = torch.zeros(2, 16, 16, dtype=torch.bool)
    dark[:, 4:12, 4:12] = True
    batch = torch.where(dark[:, None], 0.1, 0.9).expand(2, 3, 16, 16).contiguous()
    inside = dark.view(2, 4, 4, 4, 4).float().mean(dim=(2, 4))
    target = torch.stack([1 - inside, torch.zeros_like(inside), inside], dim=1)
    optimiser = torch.optim.Adam([*classifier.parameters(), *task.head.parameters()], lr=1e-2)
    losses = []
    for _ in range(15):
        classifier.train()(batch)
        loss = task.loss(torch.tensor([0, 1]), target)
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        losses.append(float(loss.detach()))
    assert losses[-1] < 0.3 * losses[0]


def test_scoring_keeps_no_feature_maps_and_the_state_dict_stays_the_published_one(
    classifier: ResidualClassifier,
) -> None:
    keys = list(classifier.state_dict())
    task = SegmentationTask(classifier)
    assert list(classifier.state_dict()) == keys
    with torch.inference_mode():
        classifier.eval()(images())
    with pytest.raises(RuntimeError, match="before the classifier has seen a training batch"):
        task.loss(torch.tensor([0]), shares(1))


def test_initial_weights_come_from_the_generator_alone(classifier: ResidualClassifier) -> None:
    torch.manual_seed(1)
    before = torch.random.get_rng_state()
    one = SegmentationTask(classifier, stream(3, "segmentation")).head.state_dict()
    assert torch.equal(torch.random.get_rng_state(), before)
    torch.manual_seed(2)
    same = SegmentationTask(classifier, stream(3, "segmentation")).head.state_dict()
    other = SegmentationTask(classifier, stream(4, "segmentation")).head.state_dict()
    assert all(torch.equal(value, same[name]) for name, value in one.items())
    assert not torch.equal(one["hidden.weight"], other["hidden.weight"])
