"""What every source of images follows: the protocol, its items, the splits and the class names."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, Protocol, get_args

import numpy as np
from numpy.typing import NDArray

Split = Literal["train", "val", "test"]

SPLITS: tuple[Split, ...] = get_args(Split)
"""All splits, from the one that is trained on to the one that is judged on last."""

CLASSES: Mapping[str, tuple[str, ...]] = {
    "wbc": ("Basophil", "Eosinophil", "Lymphocyte", "Monocyte", "Neutrophil"),
    "cam16": ("normal", "tumor"),
    "prcc": (),
}
"""Class names of each domain; a label is an index into them. The unlabelled prcc images have the label -1."""


@dataclass(frozen=True)
class Item:
    """One image of a source.

    Attributes:
        path: posix path relative to the domain's folder, unique; `#row-column` is added for a tile of a larger image.
        split: the split that the source gives; a cache may set images of train aside for val or test.
        label: index into the source's classes, -1 when unlabelled.
        group: name of the patient, smear or region, empty when unknown; images of one group stay in one split.
    """

    path: str
    split: Split
    label: int
    group: str


class Source(Protocol):
    """Images of one domain, decoded on demand.

    Attributes:
        domain: `wbc`, `cam16` or `prcc`.
        classes: class names in the order of the labels, empty when unlabelled.
        items: what can be read, in a fixed order.
        identity: text that changes when the images may have changed; computed without decoding any.
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
