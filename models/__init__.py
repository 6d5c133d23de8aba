"""Networks and their weights. Knows neither data nor Ray; results never depend on torch's global random state.

The names below are imported when they are first used, because importing torch takes seconds.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from models.autoencoder import Autoencoder
    from models.checkpoints import load_published, load_state, load_tensors, save_state, save_tensors
    from models.classifier import ResidualClassifier
    from models.encoders import Encoder
    from models.errors import WeightsError
    from models.fusion import FusedClassifier
    from models.initialisation import initialise, stream
    from models.optimiser import Adam
    from models.segmentation import SegmentationTask

__all__ = [
    "Adam",
    "Autoencoder",
    "Encoder",
    "FusedClassifier",
    "ResidualClassifier",
    "SegmentationTask",
    "WeightsError",
    "initialise",
    "load_published",
    "load_state",
    "load_tensors",
    "save_state",
    "save_tensors",
    "stream",
]

_MODULE_OF = {
    "Adam": "optimiser",
    "Autoencoder": "autoencoder",
    "Encoder": "encoders",
    "FusedClassifier": "fusion",
    "ResidualClassifier": "classifier",
    "SegmentationTask": "segmentation",
    "WeightsError": "errors",
    "initialise": "initialisation",
    "load_published": "checkpoints",
    "load_state": "checkpoints",
    "load_tensors": "checkpoints",
    "save_state": "checkpoints",
    "save_tensors": "checkpoints",
    "stream": "initialisation",
}


def __getattr__(name: str) -> object:
    """Import a public name from its module on first use (PEP 562)."""
    if name not in _MODULE_OF:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_MODULE_OF[name]}"), name)


def __dir__() -> list[str]:
    """List the lazy names as well."""
    return sorted({*globals(), *__all__})
