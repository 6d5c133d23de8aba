"""The classifier joined with the latent vectors of frozen encoders."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import torch
from torch import Tensor, nn

from models.classifier import ResidualClassifier
from models.initialisation import initialise, stream

STD_FLOOR = 0.01
"""Smallest standard deviation that a latent dimension is divided by, as a share of the encoder's mean one.

At 1 % of the labels a channel may be (nearly) dead on all training images; dividing by its own deviation would turn a
small activation on a validation image into a huge one.
"""


class Standardisation(nn.Module):
    """Shift and scale of one encoder's latents, estimated on the training subset; the identity until then.

    Args:
        size: Length L of the latent vector.
    """

    mean: Tensor
    std: Tensor

    def __init__(self, size: int) -> None:
        super().__init__()
        self.register_buffer("mean", torch.zeros(size))
        self.register_buffer("std", torch.ones(size))

    def fit(self, latents: Tensor) -> None:
        """Set mean and standard deviation (population, divided by N) from latents (N, L), computed in float64."""
        precise = latents.detach().to(torch.float64)
        std = precise.std(dim=0, correction=0)
        floor = STD_FLOOR * std.mean()
        if floor == 0:  # one image, or identical ones: there is no scale to learn
            std = torch.ones_like(std)
        self.mean.copy_(precise.mean(dim=0))
        self.std.copy_(std.clamp(min=floor))

    def forward(self, latents: Tensor) -> Tensor:
        """Standardise (B, L); half-precision latents come out in the buffers' float32."""
        return (latents.to(self.mean.dtype) - self.mean) / self.std


class SumFusion(nn.Module):
    """Logits of the classifier plus one linear map of each encoder's latents (the published equation).

    The maps start at zero. A linear layer learns from zero: its gradient is the product of the logits' gradient and the
    latents. The maps have no bias: latents are standardised, and one more constant for each class would only double the
    step of the classifier's own bias.

    Args:
        classes: Number of logits.
        latent_sizes: Length of the latent vector of each encoder.
    """

    def __init__(self, classes: int, latent_sizes: Mapping[str, int]) -> None:
        super().__init__()
        self.maps = nn.ModuleDict()
        for name, size in latent_sizes.items():
            self.maps[name] = _zero_linear(size, classes)

    def forward(self, features: Tensor, head: nn.Module, latents: Mapping[str, Tensor]) -> Tensor:
        """Join the classifier with standardised latents.

        Args:
            features: (B, feature_size), the classifier's pooled features.
            head: The classifier's last layer, from features to logits (B, classes).
            latents: (B, L) of each encoder, standardised.

        Returns:
            (B, classes).
        """
        logits: Tensor = head(features)
        for name, linear in self.maps.items():
            logits = logits + linear(latents[name])
        return logits


class ConcatFusion(nn.Module):
    """Features and latents, concatenated, pass one hidden layer whose output corrects the features.

    A linear layer on the concatenation would be `SumFusion` again, written differently: [W; A] [f; z] = W f + A z. The
    hidden layer lets features and latents interact. Its output map starts at zero, as the last layer of a residual branch
    does in Goyal et al. 2017 (arXiv:1706.02677, section 5.1) and Zhang et al. 2019 (Fixup, arXiv:1901.09321).

    Args:
        feature_size: F, length of the classifier's pooled features, and of the hidden layer.
        latent_sizes: Length of the latent vector of each encoder.
        generator: Where the hidden layer's weights are drawn from.
    """

    def __init__(self, feature_size: int, latent_sizes: Mapping[str, int], generator: torch.Generator) -> None:
        super().__init__()
        self.names = list(latent_sizes)
        with torch.random.fork_rng(devices=[]):  # the constructor draws weights that are not kept
            self.hidden = nn.Linear(feature_size + sum(latent_sizes.values()), feature_size)
        initialise(self.hidden, generator)
        self.correction = _zero_linear(feature_size, feature_size)

    def forward(self, features: Tensor, head: nn.Module, latents: Mapping[str, Tensor]) -> Tensor:
        """As `SumFusion.forward`."""
        joined = torch.cat([features, *(latents[name] for name in self.names)], dim=1)
        logits: Tensor = head(features + self.correction(self.hidden(joined).relu()))
        return logits


class GatedFusion(nn.Module):
    """Each encoder's latents, mapped to the size of the features, are let through a gate that both sides decide on.

    The gate of the gated multimodal unit (Arevalo et al. 2017, arXiv:1702.01992, section 3.1), z = sigmoid(W [x_v; x_t]), one
    for each feature and encoder; here on a correction of the features instead of a choice between two inputs, so that the
    model can start as the classifier alone. Gates start half open (sigmoid(0)), the maps behind them at zero.

    Args:
        feature_size: F, length of the classifier's pooled features.
        latent_sizes: Length of the latent vector of each encoder.
    """

    def __init__(self, feature_size: int, latent_sizes: Mapping[str, int]) -> None:
        super().__init__()
        self.maps = nn.ModuleDict({name: _zero_linear(size, feature_size) for name, size in latent_sizes.items()})
        self.gates = nn.ModuleDict(
            {name: _zero_linear(feature_size + size, feature_size, bias=True) for name, size in latent_sizes.items()}
        )

    def forward(self, features: Tensor, head: nn.Module, latents: Mapping[str, Tensor]) -> Tensor:
        """As `SumFusion.forward`."""
        corrected = features
        for name, linear in self.maps.items():
            gate = self.gates[name](torch.cat([features, latents[name]], dim=1)).sigmoid()
            corrected = corrected + gate * linear(latents[name])
        logits: Tensor = head(corrected)
        return logits


FUSION_MODULES: dict[str, Callable[[ResidualClassifier, Mapping[str, int], torch.Generator], nn.Module]] = {
    "sum": lambda classifier, latent_sizes, _: SumFusion(classifier.classes, latent_sizes),
    "concat": lambda classifier, latent_sizes, generator: ConcatFusion(
        classifier.feature_size, latent_sizes, generator
    ),
    "gated": lambda classifier, latent_sizes, _: GatedFusion(classifier.feature_size, latent_sizes),
}
"""Mode -> what builds its module for a classifier, the lengths of the latent vectors and a generator for initial weights.

How latents z_e (standardised, of encoder e) join the classifier's pooled features f and logits W f + b:

- ``off``: not at all; needs no module.
- ``sum``: logits = W f + b + sum_e A_e z_e (the published equation).
- ``concat``: f' = f + V relu(U [f; z_1; ...; z_E] + c), logits = W f' + b.
- ``gated``: f' = f + sum_e sigmoid(G_e [f; z_e] + d_e) * (A_e z_e), logits = W f' + b.

In each of them the last map of the latents (A_e, V) starts at zero: a fused model starts as the ``off`` model of the same
seed, bit for bit, so that the two differ by what training makes of the latents and not by a second random draw.

To add a mode: write a module with the signature of `SumFusion.forward` and name it here.
"""


class FusedClassifier(nn.Module):
    """A classifier that also uses latent vectors of the same images.

    The state dict holds ``classifier.*``, and with fusion ``standardisation.<encoder>.{mean,std}`` and ``fusion.*``. Building
    one leaves torch's global generator as it was.

    Args:
        classifier: Used as it is, not copied.
        latent_sizes: Length of the latent vector of each encoder, by its name. Encoders are added in the order
            of their names, so the order of the mapping does not change a bit of the result.
        mode: How to join, a key of `FUSION_MODULES`; ``off``, like an empty `latent_sizes`, gives the plain classifier.
        generator: Where ``concat`` draws its hidden layer from; ``stream(0, "fusion")`` where None. Never the classifier's
            own: compared arms of one seed start from the same classifier.
        normalisation: Mean and standard deviation of each colour channel that images are brought to, for a classifier whose
            weights were trained so; None leaves images as they are.

    Attributes:
        classifier: The plain classifier.
        latent_sizes: Length of the latent vector of each encoder in use, sorted by name; empty without fusion.
        mode: As given.

    Raises:
        ValueError: The mode is unknown, or a name or size cannot be used.
    """

    image_mean: Tensor
    image_std: Tensor

    def __init__(
        self,
        classifier: ResidualClassifier,
        latent_sizes: Mapping[str, int],
        mode: str = "sum",
        generator: torch.Generator | None = None,
        normalisation: tuple[Sequence[float], Sequence[float]] | None = None,
    ) -> None:
        super().__init__()
        known = ("off", *FUSION_MODULES)
        if mode not in known:
            raise ValueError(f"unknown fusion mode {mode!r}, expected one of {', '.join(known)}")
        for name, size in latent_sizes.items():
            if not name or "." in name or size < 1:
                raise ValueError(f"an encoder needs a name without dots and a positive size, got {name!r}: {size}")
        self.classifier = classifier
        self.mode = mode
        self.normalises = normalisation is not None
        if normalisation is not None:
            for name, values in zip(("image_mean", "image_std"), normalisation, strict=True):
                # Constants of the construction, not weights: they move with the module and stay out of its state dict.
                self.register_buffer(name, torch.tensor(values).reshape(3, 1, 1), persistent=False)
        self.latent_sizes = dict(sorted(latent_sizes.items())) if mode != "off" else {}
        self.standardisation = nn.ModuleDict({name: Standardisation(n) for name, n in self.latent_sizes.items()})
        # None where there is nothing to join.
        self.fusion: nn.Module | None = None
        if self.latent_sizes:
            chosen = stream(0, "fusion") if generator is None else generator
            self.fusion = FUSION_MODULES[mode](classifier, self.latent_sizes, chosen)

    def set_statistics(self, latents: Mapping[str, Tensor]) -> None:
        """Standardise latents from now on as measured on the training subset.

        The standard deviation of a dimension is raised to at least 1 % of the encoder's mean one (`STD_FLOOR`).

        Args:
            latents: float (N, L) for each encoder in use: the latents of the labelled training subset, never of
                validation images.

        Raises:
            ValueError: An encoder is missing or unknown, a shape is wrong, or a value is not finite.
        """
        self._check(latents, exactly=True)
        for name, values in latents.items():
            if len(values) == 0 or not torch.isfinite(values).all():
                raise ValueError(f"latents of encoder {name!r} are empty or not finite")
        for name, layer in self.standardisation.items():
            assert isinstance(layer, Standardisation)  # ModuleDict does not know what it holds
            layer.fit(latents[name])

    def forward(self, images: Tensor, latents: Mapping[str, Tensor] | None = None) -> Tensor:
        """Classify images.

        Args:
            images: float (B, 3, H, W) in [0, 1].
            latents: (B, L) for each encoder in use, raw as the encoder gave them. Those of other encoders are ignored.

        Returns:
            Logits (B, classes).

        Raises:
            ValueError: Latents of an encoder in use are missing or have another shape.
        """
        if self.normalises:
            images = (images - self.image_mean) / self.image_std
        if self.fusion is None:
            logits: Tensor = self.classifier(images)
            return logits
        given = {} if latents is None else latents
        self._check(given, rows=len(images))
        features = self.classifier.features(images)
        standardised = {name: layer(given[name]) for name, layer in self.standardisation.items()}
        fused: Tensor = self.fusion(features, self.classifier.fc, standardised)
        return fused

    def _check(self, latents: Mapping[str, Tensor], rows: int | None = None, exactly: bool = False) -> None:
        """Raise ValueError unless latents of all encoders in use are there, each (rows, L)."""
        missing = [name for name in self.latent_sizes if name not in latents]
        unknown = [name for name in latents if name not in self.latent_sizes] if exactly else []
        if missing or unknown:
            raise ValueError(
                f"expected latents of encoders {sorted(self.latent_sizes)}, got {sorted(latents)}: "
                f"missing {missing}, unknown {unknown}"
            )
        for name, size in self.latent_sizes.items():
            shape = tuple(latents[name].shape)
            # Said here, because a batch of one latent would broadcast silently over all images.
            if len(shape) != 2 or shape[1] != size or (rows is not None and shape[0] != rows):
                expected = f"({'N' if rows is None else rows}, {size})"
                raise ValueError(f"latents of encoder {name!r} have shape {shape}, expected {expected}")


def _zero_linear(inputs: int, outputs: int, bias: bool = False) -> nn.Linear:
    """A linear layer that starts at zero."""
    with torch.random.fork_rng(devices=[]):  # the constructor draws weights that are not kept
        linear = nn.Linear(inputs, outputs, bias=bias)
    nn.init.zeros_(linear.weight)
    if bias:
        nn.init.zeros_(linear.bias)
    return linear
