"""Which parts of an image speak for a class: gradient-weighted class activation maps.

Selvaraju et al. 2017, "Grad-CAM: Visual Explanations from Deep Networks via Gradient-based Localization", equations 1 and 2. Own
code, because the function is shorter than the use of a package, whose dependencies (OpenCV, matplotlib) nothing else here needs.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import interpolate

from models.fusion import FusedClassifier


def grad_cam(network: FusedClassifier, images: Tensor, latents: Mapping[str, Tensor] | None, classes: Tensor) -> Tensor:
    """Activation maps of a classifier's last feature maps, enlarged to the images' size.

    What a fusion adds from latent vectors has no place in the image and is not in the map; through ``concat`` and ``gated`` it
    changes how much each feature map counts.

    Args:
        network: In evaluation mode, so that images do not influence each other.
        images: float (B, 3, H, W) in [0, 1].
        latents: As the network takes them.
        classes: int64 (B,), the class of each image that is asked about.

    Returns:
        float32 (B, H, W), at least 0, in units of logits: at each position how much the feature maps there raise the logit.
    """
    kept: list[Tensor] = []

    def keep(stage: nn.Module, inputs: Any, maps: Tensor) -> None:  # noqa: ARG001 - torch's signature of a hook
        kept.append(maps)

    handle = network.classifier.last_stage.register_forward_hook(keep)
    try:
        with torch.enable_grad():
            logits = network(images, latents)
            (gradients,) = torch.autograd.grad(logits.gather(1, classes[:, None]).sum(), kept[0])
    finally:
        handle.remove()
    weights = gradients.mean(dim=(2, 3), keepdim=True)
    activation = (weights * kept[0].detach()).sum(dim=1, keepdim=True).relu()
    enlarged: Tensor = interpolate(activation, size=images.shape[2:], mode="bilinear", align_corners=False)
    return enlarged[:, 0]
