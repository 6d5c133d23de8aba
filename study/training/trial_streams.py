"""The random streams of one trial."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING

from models.initialisation import stream

if TYPE_CHECKING:
    import torch

    from study.design.trials import TrialSpec

Streams = Callable[..., "torch.Generator"]
"""Names of a purpose (text and numbers) -> a new CPU generator for it, always the same for the same names."""


def trial_streams(spec: TrialSpec) -> Streams:
    """Streams that are a function of the trial's seed and of what they are for.

    Subset, initial weights, order of the images and crops have streams of their own. So arms with the same seed share them, and
    a training that continues from a checkpoint draws what it would have drawn. The control ``twin`` shares the subset alone:
    with all of them it would be ``off`` itself, bit for bit, and a comparison that always finds zero could not show how far two
    arms without a difference differ.
    """
    own = ("twin",) if spec.arm.control == "twin" else ()
    return partial(stream, spec.seed, *own)
