"""Initial weights from named random streams, independent of torch's global generator."""

from __future__ import annotations

import hashlib
import json
import math
from typing import TypeVar

import torch
from torch import Tensor, nn

ModuleT = TypeVar("ModuleT", bound=nn.Module)


def stream(seed: int, *names: str | int) -> torch.Generator:
    """Open a random stream of its own for one purpose.

    Two purposes never share draws, so that adding one (a fusion, an augmentation) leaves the numbers of the others as
    they were: compared arms with one seed start from the same classifier.

    Args:
        seed: The seed of the trial or study; any integer.
        names: What the stream is for, such as ``"classifier"`` or ``"crops", epoch``. ``1`` and ``"1"`` differ.

    Returns:
        A new CPU generator. torch's CPU generator (a Mersenne twister) uses the low 32 bits of its seed, so two given
        streams coincide with probability 2^-32.
    """
    digest = hashlib.sha256(json.dumps([seed, *names]).encode()).digest()
    # Exactly the 32 bits that count; a larger number would only look as if it held more.
    return torch.Generator().manual_seed(int.from_bytes(digest[:4], "big"))


def initialise(module: ModuleT, generator: torch.Generator) -> ModuleT:
    """Overwrite every weight and buffer of a module in place, in the order in which its layers were registered.

    - Convolutions (transposed ones too): Kaiming-normal, fan-out, ReLU gain, that is a normal distribution with
      standard deviation sqrt(2 / fan_out), with fan_out = weight.shape[0] * kernel area (He et al. 2015, eq. 14, as in
      `torch.nn.init.kaiming_normal_`); biases 0. The published recipe.
    - Batch norm: weight 1, bias 0, running mean 0, running variance 1.
    - Linear: torch's default scheme, uniform in +-1/sqrt(fan_in) for weights and biases.

    Numbers are drawn on the CPU in float32 and copied: a network on an accelerator starts from the same weights.

    Args:
        module: Built of the layers named above; layers without parameters are ignored. Do not pass a whole
            `FusedClassifier`: its maps have to start at zero.
        generator: CPU generator that is advanced, see `stream`.

    Returns:
        The module itself.

    Raises:
        TypeError: A layer with weights is of another kind; it would keep weights from the global generator.
    """
    with torch.no_grad():
        for name, layer in module.named_modules():
            if isinstance(layer, nn.Conv2d | nn.ConvTranspose2d):
                fan_out = layer.weight.shape[0] * math.prod(layer.kernel_size)
                _fill_normal(layer.weight, math.sqrt(2 / fan_out), generator)
                if layer.bias is not None:
                    layer.bias.zero_()
            elif isinstance(layer, nn.BatchNorm2d):
                layer.reset_parameters()  # constants only: draws nothing
            elif isinstance(layer, nn.Linear):
                bound = 1 / math.sqrt(layer.in_features)
                _fill_uniform(layer.weight, bound, generator)
                if layer.bias is not None:
                    _fill_uniform(layer.bias, bound, generator)
            elif any(True for _ in layer.parameters(recurse=False)) or any(True for _ in layer.buffers(recurse=False)):
                raise TypeError(
                    f"no initialisation is defined for layer {name or '(the module itself)'!r} "
                    f"of type {type(layer).__name__}; add it to models/initialisation.py"
                )
    return module


def _fill_normal(weight: Tensor, std: float, generator: torch.Generator) -> None:
    weight.copy_(torch.randn(weight.shape, generator=generator, device="cpu", dtype=torch.float32) * std)


def _fill_uniform(weight: Tensor, bound: float, generator: torch.Generator) -> None:
    drawn = torch.rand(weight.shape, generator=generator, device="cpu", dtype=torch.float32)
    weight.copy_((2 * drawn - 1) * bound)
