"""Arms of every kind, and what tests ask of their trainings."""

from __future__ import annotations

from dataclasses import replace

import torch

from study.design.arms import Arm
from study.training.run import TrainingRun

OFF = Arm(1.0, "off")
BOTH = ("prcc", "cam16")
SUM = Arm(1.0, "sum", BOTH)
MASKS = Arm(1.0, "sum", BOTH, segmentation=True)
FINETUNE = Arm(1.0, "finetune", ("cam16",))
TWIN = Arm(1.0, "off", control="twin")
CLASSICAL = Arm(1.0, "off", control="classical")
PUBLISHED = Arm(1.0, "sum", BOTH, "published")
NETWORK = Arm(1.0, "off", classifier="mobilenet_v3_small")  # with dropout
GIVEN = replace(NETWORK, encoders=(NETWORK.classifier,))
EVERY_KIND = [
    OFF,
    SUM,
    Arm(1.0, "concat", BOTH),
    Arm(1.0, "gated", ("prcc",), names_encoders=True),
    FINETUNE,
    TWIN,
    PUBLISHED,
    Arm(1.0, "sum", BOTH, "random"),
    Arm(1.0, "sum", BOTH, "shuffled"),
    Arm(1.0, "finetune", ("cam16",), "random"),
    CLASSICAL,
    NETWORK,
    GIVEN,
    Arm(1.0, "off", classifier="efficientnet_b0"),  # with stochastic depth, and layers of four channels
]
LIVE = {"arms": {"features": "live"}}


def weights(run: TrainingRun) -> dict[str, torch.Tensor]:
    """A copy of the network's weights and statistics."""
    return {name: tensor.clone() for name, tensor in run.objective.network.state_dict().items()}
