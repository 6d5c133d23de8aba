"""What every source of images follows: the protocol, its items, splits and class names."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, Protocol

import numpy as np
from numpy.typing import NDArray

Split = Literal["train", "val", "test"]

CLASSES: Mapping[str, tuple[str, ...]] = {
    "wbc": ("Basophil", "Eosinophil", "Lymphocyte", "Monocyte", "Neutrophil"),
    "cam16": ("normal", "tumor"),
    "prcc": (),
}
"""Class names of every domain; a label is an index into them. The unlabelled prcc images carry label -1."""


@dataclass(frozen=True)
class Item:
    """One image of a source.

    Attributes:
        path: posix path relative to the domain's folder, unique; `#row-column` is added for a tile of a larger image.
        split: the split that the source gives; `prepare` may set images of train aside for val or test.
        label: index into the source's classes, -1 when unlabelled.
        group: images of one group (patient, smear, region) are never split; empty when unknown.
    """

    path: str
    split: Split
    label: int
    group: str


class Source(Protocol):
    """Images of one domain, decoded on demand.

    Attributes:
        domain: `wbc`, `cam16` or `prcc`.
        classes: class names in label order.
        items: what can be read, in a fixed order.
        identity: changes when the images may have changed; computed without decoding any.
        subsets: ready-made training fractions, fraction -> paths of items; empty when there are none.
    """

    @property
    def domain(self) -> str: ...  # noqa: D102  (described by the class)
    @property
    def classes(self) -> tuple[str, ...]: ...  # noqa: D102  (described by the class)
    @property
    def items(self) -> Sequence[Item]: ...  # noqa: D102  (described by the class)
    @property
    def identity(self) -> str: ...  # noqa: D102  (described by the class)
    @property
    def subsets(self) -> Mapping[float, frozenset[str]]: ...  # noqa: D102  (described by the class)

    def read(self, i: int) -> NDArray[np.uint8]:
        """Return image i as uint8 (height, width, 3). Raises UnreadableImage, which names the file."""
        ...

    def read_mask(self, i: int) -> NDArray[np.uint8] | None:
        """Return the mask of image i as uint8 (height, width): nucleus 255, cytoplasm 128, background 0."""
        ...

    def mask_name(self, i: int) -> str:
        """Return the name of the mask of image i, for messages; empty without one."""
        ...

    def has_mask(self, i: int) -> bool:
        """Say whether image i has a mask, without decoding it."""
        ...
