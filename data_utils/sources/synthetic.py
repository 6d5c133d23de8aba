"""Generated images: blood smears, lymph node and papillary kidney tissue, drawn by formulas from a seed.

The embedded default source: no download, a few seconds for all images, and every image is a function of
(seed, domain, split, class, number within the class) alone, so enlarging a split only adds images to it. The drawing
itself is in `data_utils.drawing`.
"""

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from data_utils.config import SyntheticConfig
from data_utils.drawing.smears import draw_smear
from data_utils.drawing.tissue import draw_kidney, draw_lymph_node
from data_utils.errors import DataError
from data_utils.sources.source import Item, Split

CLASS_SHARES: Mapping[str, Mapping[str, float]] = {
    # Training images of the coursework's WBC_100: 176, 618, 2015, 466 and 5172 of 8447.
    "wbc": {"Basophil": 0.021, "Eosinophil": 0.073, "Lymphocyte": 0.239, "Monocyte": 0.055, "Neutrophil": 0.612},
    "cam16": {"normal": 0.5, "tumor": 0.5},
    "prcc": {},
}
"""Share of each class in (0, 1), by domain; `prcc` is unlabelled."""

FEWEST_PER_CLASS = 3
"""Number of images that every class has in every split, as far as the split's size allows."""

MASK_PERIOD, MASK_OFFSET = 10, 3
"""Numbers 3, 13, 23 ... of every class have a mask: a tenth of the images, as in the coursework."""

DRAWING_VERSION = "770ce6da809ff7fd"
"""Version of the drawn pictures in the key of a cache; it changes whenever what is drawn changes.

A test notices a change of the code that draws. The value is a digest of the four files from the time when it was computed.
"""


class SyntheticSource:
    """Images of one domain, generated on demand.

    Args:
        config: seed, size in pixels and number of images per split.
        domain: `wbc` (five leukocyte classes), `cam16` (normal, tumor) or `prcc` (unlabelled).

    Raises:
        DataError: the domain is unknown, or a split is too small to hold every class.
    """

    def __init__(self, config: SyntheticConfig, domain: str) -> None:
        if domain not in CLASS_SHARES:
            raise DataError(f"domain {domain!r} has no generator; expected one of {', '.join(CLASS_SHARES)}")
        self.domain = domain
        self.classes: tuple[str, ...] = tuple(CLASS_SHARES[domain])
        self.subsets: Mapping[float, frozenset[str]] = {}
        self._seed = config.seed
        self._size = config.size
        counts = _split_counts(config, domain)
        self.identity = f"synthetic:{DRAWING_VERSION}:{domain}:seed={config.seed}:size={config.size}:" + ",".join(
            f"{split}={count}" for split, (_, count) in counts.items()
        )
        items: list[Item] = []
        numbers: list[int] = []
        for split, (field, count) in counts.items():
            for label, of_class in _class_counts(count, tuple(CLASS_SHARES[domain].values()), field):
                folder = f"{split}/{self.classes[label]}" if label >= 0 else split
                items += [Item(f"{folder}/{number:06d}", split, label, "") for number in range(of_class)]
                numbers += range(of_class)
        self.items: Sequence[Item] = tuple(items)
        self._numbers = tuple(numbers)

    def read(self, i: int) -> NDArray[np.uint8]:
        """Draw image `i`: (size, size, 3) uint8 RGB."""
        return self._draw(i)[0]

    def has_mask(self, i: int) -> bool:
        """Say whether image `i` has a mask; a tenth of the labelled images do."""
        return bool(self.classes) and self._numbers[i] % MASK_PERIOD == MASK_OFFSET

    def mask_name(self, i: int) -> str:
        """Return the name of the mask of image `i`, which is that of the image; empty without one."""
        return self.items[i].path if self.has_mask(i) else ""

    def read_mask(self, i: int) -> NDArray[np.uint8] | None:
        """Draw the mask of image `i`, (size, size) uint8 in {0, 128, 255}, or None where it has none."""
        return self._draw(i)[1] if self.has_mask(i) else None

    def _draw(self, i: int) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
        item = self.items[i]
        domain_key = tuple(CLASS_SHARES).index(self.domain)
        split_key = ("train", "val", "test").index(item.split)
        rng = np.random.default_rng([self._seed, domain_key, split_key, item.label + 1, self._numbers[i]])
        if self.domain == "wbc":
            return draw_smear(rng, self._size, self.classes[item.label])
        if self.domain == "cam16":
            return draw_lymph_node(rng, self._size, tumor=self.classes[item.label] == "tumor")
        return draw_kidney(rng, self._size)


def _split_counts(config: SyntheticConfig, domain: str) -> dict[Split, tuple[str, int]]:
    """Return the configuration field and the number of images of every split of a domain."""
    by_domain: dict[str, dict[Split, str]] = {
        "wbc": {"train": "train", "val": "validation", "test": "test"},
        "cam16": {"train": "cam16_train", "val": "cam16_validation"},
        "prcc": {"train": "prcc", "val": "prcc_validation"},
    }
    return {split: (field, int(getattr(config, field))) for split, field in by_domain[domain].items()}


def _class_counts(total: int, shares: Sequence[float], field: str) -> list[tuple[int, int]]:
    """Divide a split among the classes: the fewest first, then by largest remainder.

    Returns:
        (label, number of images) of every class; label -1 without classes.

    Raises:
        DataError: there are fewer images than classes (none at all is allowed: the split is then empty).
    """
    if not shares:
        return [(-1, total)]
    if 0 < total < len(shares):
        raise DataError(
            f"data.synthetic.{field} is {total}, fewer than the {len(shares)} classes; set it to 0 or to at least "
            f"{FEWEST_PER_CLASS * len(shares)}"
        )
    fewest = min(FEWEST_PER_CLASS, total // len(shares))
    wanted = np.array(shares) * total
    counts = np.maximum(np.floor(wanted).astype(int), fewest)
    while counts.sum() < total:
        counts[int(np.argmax(wanted - counts))] += 1
    while counts.sum() > total:  # the minimum has lifted rare classes: the commonest gives back
        counts[int(np.argmax(counts))] -= 1
    return list(enumerate(counts.tolist()))
