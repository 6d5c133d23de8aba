"""Activation maps."""

from __future__ import annotations

import torch
from torch.nn.functional import interpolate

from models.classifier import ResidualClassifier
from models.fusion import FusedClassifier
from models.gradcam import grad_cam
from models.initialisation import stream


def images() -> torch.Tensor:
    return torch.rand((3, 3, 24, 20), generator=torch.Generator().manual_seed(0))


def test_with_a_linear_head_on_pooled_maps_it_is_the_class_activation_map() -> None:
    # Zhou et al. 2016, "Learning Deep Features for Discriminative Localization": maps weighted by the head; pooling divides by
    # their size.
    classifier = ResidualClassifier(4, 8, stream(1, "classifier"))
    network = FusedClassifier(classifier, {}, "off").eval()
    chosen = torch.tensor([0, 3, 1])
    found = grad_cam(network, images(), None, chosen)
    with torch.no_grad():
        maps = classifier.feature_maps(images())
        weighted = torch.einsum("bk,bkhw->bhw", classifier.fc.weight[chosen], maps) / maps[0, 0].numel()
        expected = interpolate(weighted.relu()[:, None], size=(24, 20), mode="bilinear", align_corners=False)[:, 0]
    torch.testing.assert_close(found, expected)
    assert float(found.max()) > 0


def test_it_leaves_no_hook_and_works_where_gradients_are_off() -> None:
    classifier = ResidualClassifier(2, 8)
    network = FusedClassifier(classifier, {"prcc": 6}, "gated").eval()
    with torch.no_grad():
        found = grad_cam(network, images(), {"prcc": torch.ones(3, 6)}, torch.zeros(3, dtype=torch.int64))
    assert found.shape == (3, 24, 20) and not found.requires_grad
    assert not classifier.last_stage._forward_hooks
