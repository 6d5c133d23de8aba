"""The device of a training: which one, how much of its memory images may take, and how a network is called on it.

Written for any accelerator and tested on the CPU; no figure here was measured on an accelerator.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from study.errors import UsageError

if TYPE_CHECKING:
    from study.config.study import StudyConfig


def choose_device() -> torch.device:
    """The accelerator that this process was given, else the CPU, whatever was reserved."""
    return torch.device("cuda") if torch.cuda.is_available() else torch.device("cpu")


def find_device(name: str | None) -> torch.device:
    """The device of that name; for None as `choose_device`.

    Raises:
        UsageError: torch has no such device, or it is not there.
    """
    if name is None:
        return choose_device()
    try:
        device = torch.device(name)
        torch.empty(1, device=device)
    except (RuntimeError, AssertionError) as error:
        reason = str(error).strip().split("\n")[0]
        raise UsageError(f"--device {name}: {reason}; expected cpu, or cuda where there is a GPU") from error
    return device


def to_device(tensor: Tensor, device: torch.device) -> Tensor:
    """Copy a tensor to a device without waiting for the copy; on the CPU return the tensor itself.

    The tensor is copied to page-locked memory first: only from there can it be copied while the processor goes on.
    """
    return tensor if device.type == "cpu" else tensor.pin_memory().to(device, non_blocking=True)


def image_memory_budget(device: torch.device, share: float) -> int:
    """Bytes that a trial may fill with images on its device: a quarter of its share of an accelerator's memory.

    Args:
        device: Where the trial trains.
        share: Part of one accelerator that the trial reserves; more than 1 counts as 1.

    Returns:
        0 on the CPU: images are mapped into its memory anyway.
    """
    if device.type != "cuda":
        return 0
    return int(torch.cuda.get_device_properties(device).total_memory * min(share, 1.0) / 4)


class Forward:
    """Calls a network with images and latent vectors, as the configuration says; logits are always float32.

    On the CPU with the default settings it is the plain call, bit for bit.
    """

    def __init__(self, config: StudyConfig, device: torch.device):
        self._device = device
        self._reduced = reduces_precision(config.training.precision, device)
        self._call = _compiled_call() if config.resources.compile else _call

    def __call__(self, network: nn.Module, images: Tensor, latents: Mapping[str, Tensor]) -> Tensor:
        """Logits, float32 (B, classes)."""
        with torch.autocast(self._device.type, torch.bfloat16, enabled=self._reduced):
            logits: Tensor = self._call(network, images, latents)
        return logits.float()


def reduces_precision(precision: str, device: torch.device) -> bool:
    """Whether convolutions and matrix products are computed in bfloat16.

    Args:
        precision: ``auto``, ``float32`` or ``bfloat16``.
        device: Where the network is evaluated.
    """
    if precision == "auto":
        return device.type == "cuda" and torch.cuda.is_bf16_supported(including_emulation=False)
    return precision == "bfloat16"


def _call(network: nn.Module, images: Tensor, latents: Mapping[str, Tensor]) -> Any:
    return network(images, latents)


@cache
def _compiled_call() -> Any:
    """The one compiled function of a process, for all networks: it is compiled once for each shape, not for each trial."""
    return torch.compile(_call)
