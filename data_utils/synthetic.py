"""Generated images: blood smears, lymph node and papillary kidney tissue, drawn by formulas from a seed.

The embedded default source: no download, a few seconds for all images, and every image is a function of
(seed, domain, split, class, number within the class) alone, so enlarging a split only adds images to it.

How a picture is drawn:

1. Shapes are signed distances (negative inside) evaluated at pixel centres whose coordinates were displaced by smooth
   noise, which bends every outline; masks are these same distances below zero.
2. What a shape deposits are amounts of three stains, one plane each. Overlapping cells add up, as on a slide.
3. Stains become light by the Beer-Lambert law, with absorbances, illumination, blur and sensor noise that differ from
   image to image, as slides differ: colour alone does not give a cell away.

Lengths are in drawing units, of which a picture has 48 a side whatever its size in pixels. Labels are never flipped:
what is difficult is difficult in the morphology (band neutrophils, large lymphocytes, cells poor in granules).
"""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache, lru_cache
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from data_utils.config import SyntheticConfig
from data_utils.errors import DataError
from data_utils.sources import Item, Split

Floats = NDArray[np.float32]

CLASS_SHARES: Mapping[str, Mapping[str, float]] = {
    # Training images of the coursework's WBC_100: 176, 618, 2015, 466 and 5172 of 8447.
    "wbc": {"Basophil": 0.021, "Eosinophil": 0.073, "Lymphocyte": 0.239, "Monocyte": 0.055, "Neutrophil": 0.612},
    "cam16": {"normal": 0.5, "tumor": 0.5},
    "prcc": {},
}
"""Share of each class, by domain; `prcc` is unlabelled."""

FEWEST_PER_CLASS = 3
"""Images that every class has in every split, as far as the split's size allows."""

NUCLEUS, CYTOPLASM = 255, 128
"""Mask values; the background is 0. Tumor nuclei also have 255."""

SIDE = 48.0
"""Side of a picture in drawing units."""

MASK_PERIOD, MASK_OFFSET = 10, 3
"""Numbers 3, 13, 23 ... of every class have a mask: a tenth of the images, as in the coursework."""

# Absorbance (red, green, blue) of one unit of each stain. Fitted by eye to May-Gruenwald-Giemsa smears: the sum of
# blue and eosin is the purple of nuclei, orange is what haemoglobin and eosinophil granules add.
SMEAR_STAINS = np.array([[0.80, 0.50, 0.08], [0.08, 0.60, 0.35], [0.05, 0.45, 0.70]], np.float32)
# Haematoxylin and eosin: the reference vectors of Macenko et al. (2009), "A method for normalizing histology slides for
# quantitative analysis"; the third row is the yellowish red of erythrocytes.
TISSUE_STAINS = np.array([[0.56, 0.72, 0.41], [0.22, 0.80, 0.56], [0.05, 0.75, 0.65]], np.float32)


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
        self.identity = f"synthetic:{_drawing()}:{domain}:seed={config.seed}:size={config.size}:" + ",".join(
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
        """Whether image `i` has a mask: a tenth of the labelled images."""
        return bool(self.classes) and self._numbers[i] % MASK_PERIOD == MASK_OFFSET

    def read_mask(self, i: int) -> NDArray[np.uint8] | None:
        """Draw the mask of image `i`, (size, size) uint8 in {0, 128, 255}, or None where it has none."""
        return self._draw(i)[1] if self.has_mask(i) else None

    def _draw(self, i: int) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
        item = self.items[i]
        domain_key = tuple(CLASS_SHARES).index(self.domain)
        split_key = ("train", "val", "test").index(item.split)
        rng = np.random.default_rng([self._seed, domain_key, split_key, item.label + 1, self._numbers[i]])
        if self.domain == "wbc":
            return _draw_smear(rng, self._size, self.classes[item.label])
        if self.domain == "cam16":
            return _draw_lymph_node(rng, self._size, tumor=self.classes[item.label] == "tumor")
        return _draw_kidney(rng, self._size)


@cache
def _drawing() -> str:
    """Stand for how pictures are drawn in the cache key: another drawing must not be taken for the stored one."""
    return hashlib.sha256(Path(__file__).read_bytes()).hexdigest()[:16]


def _split_counts(config: SyntheticConfig, domain: str) -> dict[Split, tuple[str, int]]:
    """Configuration field and number of images of every split of a domain."""
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
    while counts.sum() > total:  # the minimum has lifted rare classes: take it back from the commonest
        counts[int(np.argmax(counts))] -= 1
    return list(enumerate(counts.tolist()))


# --- Drawing: coordinates, noise, distances ---------------------------------------------------------------------------


@lru_cache(maxsize=4)
def _pixel_centres(size: int) -> Floats:
    """Coordinates (2, size * size) of the pixel centres in drawing units, (0, 0) in the middle of the picture."""
    axis = ((np.arange(size, dtype=np.float32) + 0.5) / size - 0.5) * np.float32(SIDE)
    return np.stack([np.tile(axis, size), np.repeat(axis, size)])


@lru_cache(maxsize=32)
def _spline_basis(size: int, cells: int) -> Floats:
    """Uniform cubic B-spline weights (size, cells + 3) of lattice points at pixel centres, of unit norm per pixel."""
    position = (np.arange(size) + 0.5) / size * cells
    first = np.floor(position).astype(int)
    t = position - first
    weights = np.stack([(1 - t) ** 3, 3 * t**3 - 6 * t**2 + 4, -3 * t**3 + 3 * t**2 + 3 * t + 1, t**3], axis=1)
    basis = np.zeros((size, cells + 3))
    for offset in range(4):
        basis[np.arange(size), first + offset] = weights[:, offset]
    return _array(basis / np.linalg.norm(basis, axis=1, keepdims=True))


def _noise(rng: np.random.Generator, size: int, cells: int, count: int) -> Floats:
    """Smooth Gaussian noise (count, size * size), mean 0 and variance 1 at every pixel, about `cells` bumps a side."""
    basis = _spline_basis(size, cells)
    lattice = rng.standard_normal((count, cells + 3, cells + 3), dtype=np.float32)
    return _array((basis @ lattice @ basis.T).reshape(count, size * size))


def _ramp(values: Floats) -> Floats:
    """Clip to [0, 1]."""
    return np.asarray(np.clip(values, 0.0, 1.0), np.float32)


def _coverage(distance: Floats, size: int) -> Floats:
    """Share of each pixel inside a shape, from signed distances in drawing units: an edge one pixel wide."""
    return _ramp(0.5 - distance * np.float32(size / SIDE))


def _ellipses(
    points: Floats, size: int, centres: Floats, radii: Floats, angles: Floats, *, margin: float
) -> tuple[NDArray[np.intp], Floats]:
    """Relative radii in a small window of pixels around each of many ellipses: cost grows with their area only.

    Args:
        points: (2, size * size) coordinates of the pixels, displaced by at most about `margin`.
        size: side of the picture in pixels.
        centres: (k, 2), drawing units.
        radii: (k, 2) half axes, drawing units.
        angles: (k,) of the first half axis, radians.
        margin: by how much the window exceeds the largest half axis.

    Returns:
        pixel numbers (k, w) in a picture padded by one dummy pixel at the end, where windows leave the picture; and
        radii (k, w) relative to the outline: 0 at the centre, 1 on the outline.
    """
    unit = size / SIDE
    reach = int(np.ceil((float(radii.max()) + margin) * unit))
    offsets = np.arange(-reach, reach + 1)
    columns, rows = (np.floor((centres.T + SIDE / 2) * unit).astype(int)[:, :, None] + offsets)[:, :, None, :]
    rows = rows.transpose(0, 2, 1)
    inside = (columns >= 0) & (columns < size) & (rows >= 0) & (rows < size)
    pixels = np.where(inside, rows * size + columns, size * size).reshape(len(centres), -1)
    x, y = points[:, np.minimum(pixels, size * size - 1)] - centres.T[:, :, None]
    cos, sin = np.cos(angles)[:, None], np.sin(angles)[:, None]
    u, v = (cos * x + sin * y) / radii[:, :1], (cos * y - sin * x) / radii[:, 1:]
    return pixels, np.sqrt(u * u + v * v)


def _disc(relative: Floats, radii: Floats, size: int) -> Floats:
    """Coverage of ellipses from relative radii (k, w) and half axes (k, 2)."""
    return _coverage((relative - 1.0) * np.sqrt(radii[:, :1] * radii[:, 1:]), size)


def _merge(combine: np.ufunc, pixels: NDArray[np.intp], values: Floats, size: int) -> Floats:
    """Gather the windows of many shapes into one plane (pixels,), where they overlap by `combine` (add, maximum)."""
    plane = np.zeros(size * size + 1, np.float32)
    combine.at(plane, pixels.reshape(-1), values.reshape(-1))
    return plane[:-1]


def _chain_distance(points: Floats, nodes: Floats, radii: Floats, bridges: Floats) -> Floats:
    """Signed distance (pixels,) to discs at `nodes` (k, 2) whose neighbours have bridges of half width (k-1,)."""
    x, y = points
    dx, dy = x - nodes[:, :1], y - nodes[:, 1:]
    distance = _array((np.sqrt(dx * dx + dy * dy) - radii[:, None]).min(axis=0))
    if len(nodes) == 1:
        return distance
    step = nodes[1:] - nodes[:-1]
    length = np.maximum((step**2).sum(axis=1, keepdims=True), 1e-6)
    along = _ramp((dx[:-1] * step[:, :1] + dy[:-1] * step[:, 1:]) / length)
    gap = np.hypot(dx[:-1] - along * step[:, :1], dy[:-1] - along * step[:, 1:]) - bridges[:, None]
    return _array(np.minimum(distance, gap.min(axis=0)))


def _array(values: object) -> Floats:
    return np.asarray(values, dtype=np.float32)


def _packed(rng: np.random.Generator, spacing: float, jitter: float, share: float) -> Floats:
    """Places (k, 2) of cells that touch: a turned hexagonal lattice a little larger than the picture, shaken.

    Args:
        rng: source of randomness.
        spacing: distance of neighbours, drawing units.
        jitter: standard deviation of the shaking, relative to the spacing.
        share: share of the places that are taken.
    """
    reach = SIDE / 2 + 0.6 * spacing
    steps = np.arange(np.ceil(-1.5 * reach / spacing), np.ceil(1.5 * reach / spacing) + 1)
    column, row = np.meshgrid(steps, np.arange(1.16 * steps[0], 1.16 * steps[-1] + 1))
    places = np.stack([(column + 0.5 * (np.arange(len(row))[:, None] % 2)).ravel(), 0.866 * row.ravel()], axis=1)
    places = spacing * (places + rng.uniform(-0.5, 0.5, 2)) @ _rotation(rng)
    places = places[(np.abs(places).max(axis=1) < reach)]
    places += rng.normal(0.0, jitter * spacing, places.shape)
    return _array(places[rng.random(len(places)) < share])


def _rotation(rng: np.random.Generator) -> NDArray[np.float64]:
    turn = rng.uniform(0.0, 2.0 * np.pi)
    return np.array([[np.cos(turn), -np.sin(turn)], [np.sin(turn), np.cos(turn)]])


def _ovals(rng: np.random.Generator, radii: NDArray[np.floating], spread: float) -> tuple[Floats, Floats]:
    """Half axes (k, 2) and angles (k,) of ovals with the areas of discs of these radii."""
    squash = np.exp(rng.normal(0.0, spread, len(radii)))
    return _array(np.stack([radii * squash, radii / squash], axis=1)), _array(rng.uniform(0.0, np.pi, len(radii)))


def _expose(
    rng: np.random.Generator, stains: Floats, absorbance: Floats, size: int, *, light: Floats, blur: tuple[float, float]
) -> NDArray[np.uint8]:
    """Photograph stain amounts (3, pixels): Beer-Lambert absorption, uneven light, blur, sensor noise.

    Args:
        rng: source of randomness.
        stains: amounts of the three stains.
        absorbance: (stain, colour channel) of this slide.
        size: side in pixels.
        light: brightness (3,) of the empty slide, 1 is white.
        blur: smallest and largest standard deviation of the point spread, drawing units.

    Returns:
        (size, size, 3) uint8.
    """
    picture = np.exp(-(absorbance.T @ stains))
    across, down = rng.normal(0.0, 0.04, 2).tolist()
    x, y = _pixel_centres(size)
    picture *= light[:, None] * (1.0 + (across * x + down * y) / (SIDE / 2))
    sigma = rng.uniform(*blur) * size / SIDE
    offsets = np.arange(size, dtype=np.float32)
    kernel = np.exp(-0.5 * ((offsets[:, None] - offsets) / max(sigma, 0.2)) ** 2)
    kernel /= kernel.sum(axis=1, keepdims=True)
    picture = (kernel @ picture.reshape(3, size, size) @ kernel.T).transpose(1, 2, 0)
    picture += rng.uniform(0.004, 0.02) * rng.standard_normal((size, size, 3), dtype=np.float32)
    return (_ramp(picture) * 255.0 + 0.5).astype(np.uint8)


def _slide_absorbance(rng: np.random.Generator, stains: Floats, gain: float, mixing: float) -> Floats:
    """Absorbances of one slide: every stain stronger or weaker (staining time, pH) and a little off in hue."""
    gains = np.exp(rng.normal(0.0, gain, (3, 1)))
    return (stains * gains * np.exp(rng.normal(0.0, mixing, (3, 3)))).astype(np.float32)


# --- Blood smears -----------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Leukocyte:
    """What distinguishes one white cell from another; lengths of the nucleus are relative to the cell's radius."""

    radius: float
    nodes: Floats
    """Centres (k, 2) of the discs that make up the nucleus."""
    radii: Floats
    bridges: Floats
    nucleus: float
    """Stain of the nucleus, 1 is dense."""
    clumps: float
    """Contrast of the chromatin."""
    cytoplasm: tuple[float, float, float]
    granules: tuple[float, float, float]
    """Stain that full granules add."""
    grains: int
    """Granules along the side of the picture: more are finer."""
    density: float
    """Threshold of the granules in standard deviations of noise: lower is denser."""
    cover: float = 0.0
    """How much the granules hide the nucleus, 0 to 1."""
    roughness: float = 0.6
    """Deformation of the outlines, drawing units."""
    vacuoles: int = 0


def _arc(rng: np.random.Generator, count: int, span: float, radius: float, jitter: float) -> Floats:
    """Points (count, 2) along an arc of `span` radians around its own centre of mass."""
    angle = np.linspace(-span / 2, span / 2, count)
    nodes = radius * np.stack([np.cos(angle), np.sin(angle)], axis=1)
    nodes -= 0.85 * nodes.mean(axis=0)
    return _array(nodes + rng.normal(0.0, jitter, (count, 2)))


def _band_nucleus(rng: np.random.Generator, width: tuple[float, float]) -> tuple[Floats, Floats, Floats]:
    """A sausage bent into a C: nodes, radii and bridges of nearly even width."""
    half_width = rng.uniform(*width)
    nodes = _arc(rng, 6, rng.uniform(2.2, 4.2), rng.uniform(0.40, 0.52), 0.03)
    return nodes, _array(half_width * rng.uniform(0.9, 1.12, 6)), _array(half_width * rng.uniform(0.75, 1.0, 5))


def _lobed_nucleus(rng: np.random.Generator, lobes: int, size: tuple[float, float]) -> tuple[Floats, Floats, Floats]:
    """Rounded lobes on an arc, joined by thin bridges."""
    span = {2: rng.uniform(2.0, 3.2), 3: rng.uniform(2.6, 4.2), 4: rng.uniform(3.6, 5.0), 5: rng.uniform(4.2, 5.4)}[
        lobes
    ]
    nodes = _arc(rng, lobes, span, rng.uniform(0.36, 0.54), 0.09)
    return nodes, _array(rng.uniform(*size, lobes)), _array(rng.uniform(0.05, 0.13, lobes - 1))


def _kidney_nucleus(rng: np.random.Generator) -> tuple[Floats, Floats, Floats]:
    """A thick bean to horseshoe."""
    half_width = rng.uniform(0.33, 0.45)
    nodes = _arc(rng, 5, rng.uniform(1.4, 4.0), rng.uniform(0.26, 0.42), 0.05)
    return nodes, _array(half_width * rng.uniform(0.85, 1.1, 5)), _array(half_width * rng.uniform(0.8, 1.0, 4))


def _round_nucleus(rng: np.random.Generator, size: tuple[float, float]) -> tuple[Floats, Floats, Floats]:
    """Two nearly concentric discs: round to oval, sometimes with a shallow dent."""
    radius = rng.uniform(*size)
    angle, apart = rng.uniform(0, 2 * np.pi), rng.uniform(0.02, 0.26)
    middle = rng.normal(0.0, 0.05, 2)
    arm = apart * np.array([np.cos(angle), np.sin(angle)]) * radius
    return _array([middle - arm, middle + arm]), _array(radius * rng.uniform(0.86, 1.0, 2)), _array([radius * 0.7])


def _neutrophil(rng: np.random.Generator) -> _Leukocyte:
    """Segmented nucleus, fine lilac granules; some are bands, some have toxic (coarse, dark) granules."""
    if rng.random() < 0.20:
        nucleus = _band_nucleus(rng, (0.18, 0.34))
    else:
        lobes = int(rng.choice([2, 3, 4, 5], p=[0.18, 0.42, 0.28, 0.12]))
        nucleus = _lobed_nucleus(
            rng, lobes, {2: (0.30, 0.42), 3: (0.26, 0.36), 4: (0.22, 0.31), 5: (0.19, 0.27)}[lobes]
        )
    toxic = rng.random() < 0.06
    return _Leukocyte(
        rng.normal(11.3, 1.0),
        *nucleus,
        nucleus=rng.normal(0.98, 0.10),
        clumps=rng.uniform(0.10, 0.25),
        cytoplasm=(rng.uniform(0.08, 0.20), rng.uniform(0.18, 0.34), rng.uniform(0.0, 0.10)),
        granules=(0.7, 0.7, 0.05)
        if toxic
        else (rng.uniform(0.08, 0.22), rng.uniform(0.15, 0.35), rng.uniform(0.0, 0.10)),
        grains=38 if toxic else 46,
        density=rng.uniform(0.0, 0.6) if toxic else rng.uniform(-0.2, 0.6),
        cover=rng.uniform(0.1, 0.35) if toxic else 0.0,
    )


def _eosinophil(rng: np.random.Generator) -> _Leukocyte:
    """Bilobed nucleus in dense orange granules; some have lost many of them."""
    lobes = 3 if rng.random() < 0.2 else 2
    nucleus = _lobed_nucleus(rng, lobes, (0.31, 0.43) if lobes == 2 else (0.25, 0.34))
    weak = rng.random() < 0.28
    fill = rng.uniform(0.25, 0.5) if weak else rng.uniform(0.65, 1.1)
    return _Leukocyte(
        rng.normal(11.8, 1.0),
        *nucleus,
        nucleus=rng.normal(0.95, 0.10),
        clumps=rng.uniform(0.10, 0.25),
        cytoplasm=(rng.uniform(0.08, 0.25), rng.uniform(0.15, 0.35), rng.uniform(0.10, 0.25)),
        granules=(0.22 * fill, 0.60 * fill, 0.85 * fill),
        grains=40,
        density=rng.uniform(0.2, 0.7) if weak else rng.uniform(-0.9, -0.2),
        cover=rng.uniform(0.0, 0.2),
    )


def _lymphocyte(rng: np.random.Generator) -> _Leukocyte:
    """Round dense nucleus in scant blue cytoplasm; large ones have more of it, paler, and an indented nucleus."""
    large = rng.random() < 0.28
    if large and rng.random() < 0.45:
        nucleus = _kidney_nucleus(rng)
    else:
        nucleus = _round_nucleus(rng, (0.60, 0.76) if large else (0.76, 0.90))
    return _Leukocyte(
        rng.normal(11.2, 1.2) if large else rng.normal(8.8, 0.8),
        *nucleus,
        nucleus=rng.normal(0.95 if large else 1.15, 0.08),
        clumps=rng.uniform(0.08, 0.22),
        cytoplasm=(rng.uniform(0.35, 0.75), rng.uniform(0.05, 0.25), 0.0),
        granules=(0.5, 0.6, 0.0),
        grains=40,
        density=rng.uniform(1.4, 2.2) if large else 9.0,
        roughness=rng.uniform(0.4, 1.0),
    )


def _monocyte(rng: np.random.Generator) -> _Leukocyte:
    """Large cell, kidney or horseshoe nucleus of loose chromatin, grey-blue cytoplasm, some vacuoles."""
    shape = rng.random()
    if shape < 0.70:
        nucleus = _kidney_nucleus(rng)
    elif shape < 0.85:
        nucleus = _round_nucleus(rng, (0.58, 0.74))
    else:
        nucleus = _band_nucleus(rng, (0.24, 0.36))
    return _Leukocyte(
        rng.normal(12.8, 1.4),
        *nucleus,
        nucleus=rng.normal(0.82, 0.10),
        clumps=rng.uniform(0.12, 0.30),
        cytoplasm=(rng.uniform(0.35, 0.62), rng.uniform(0.18, 0.36), rng.uniform(0.0, 0.12)),
        granules=(0.15, 0.22, 0.0),
        grains=46,
        density=rng.uniform(0.0, 0.8),
        roughness=rng.uniform(0.6, 1.5),
        vacuoles=int(rng.integers(1, 6)) if rng.random() < 0.4 else 0,
    )


def _basophil(rng: np.random.Generator) -> _Leukocyte:
    """Coarse dark purple granules over an indistinct nucleus; some have few granules left."""
    lobed = rng.random() < 0.5
    nucleus = _lobed_nucleus(rng, int(rng.integers(2, 4)), (0.32, 0.46)) if lobed else _kidney_nucleus(rng)
    weak = rng.random() < 0.30
    return _Leukocyte(
        rng.normal(10.4, 1.0),
        *nucleus,
        nucleus=rng.normal(0.78, 0.10),
        clumps=rng.uniform(0.05, 0.15),
        cytoplasm=(rng.uniform(0.20, 0.45), rng.uniform(0.30, 0.50), rng.uniform(0.0, 0.10)),
        granules=(1.25, 1.35, 0.15),
        grains=34,
        density=rng.uniform(0.3, 0.8) if weak else rng.uniform(-0.7, 0.1),
        cover=rng.uniform(0.5, 0.75) if weak else rng.uniform(0.8, 1.0),
        roughness=rng.uniform(0.5, 1.0),
    )


_LEUKOCYTES = {
    "Basophil": _basophil,
    "Eosinophil": _eosinophil,
    "Lymphocyte": _lymphocyte,
    "Monocyte": _monocyte,
    "Neutrophil": _neutrophil,
}


def _red_cells(
    rng: np.random.Generator, points: Floats, size: int, scale: float, *, centre: NDArray[np.float64], keep_out: float
) -> Floats:
    """Haemoglobin (pixels,) of the red cells: discs and ovals with pale centres, piled up where they overlap."""
    typical = rng.uniform(5.4, 6.6) * scale
    places = _packed(rng, 2.0 * typical * rng.uniform(0.95, 1.15), rng.uniform(0.10, 0.22), rng.uniform(0.4, 0.9))
    radii = typical * np.exp(rng.normal(0.0, 0.07, len(places)))
    away = np.hypot(*(places - centre).T) > keep_out + radii
    places, radii = places[away], radii[away]
    if len(radii) == 0:
        return np.zeros(size * size, np.float32)
    axes, angles = _ovals(rng, radii, rng.uniform(0.02, 0.12))
    pixels, relative = _ellipses(points, size, places, axes, angles, margin=1.2)
    pallor = _array(np.clip(rng.normal(rng.uniform(0.3, 0.9), 0.2, len(radii)), 0.0, 0.95))[:, None]
    hollow = pallor / (1.0 + (relative / np.float32(rng.uniform(0.38, 0.55))) ** 4)
    thickness = _disc(relative, axes, size) * (1.0 - hollow) * _array(rng.normal(1.0, 0.12, (len(radii), 1)))
    return _merge(np.add, pixels, _array(thickness), size)


def _smear_light(rng: np.random.Generator) -> Floats:
    """Colour (3,) of the empty slide: from cream (old lamp, buffered stain) to a cold lavender."""
    warmth = rng.uniform(0.3, 1.0)
    colour = warmth * np.array([1.0, 0.93, 0.80]) + (1.0 - warmth) * np.array([0.90, 0.88, 0.95])
    return _array(colour * rng.uniform(0.94, 1.05) * rng.uniform(0.98, 1.02, 3))


def _draw_smear(rng: np.random.Generator, size: int, name: str) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    """Draw a smear around one leukocyte of the named class.

    Returns:
        (size, size, 3) RGB and (size, size) mask: nucleus 255, cytoplasm 128, background 0.
    """
    cell = _LEUKOCYTES[name](rng)
    scale = float(np.exp(rng.normal(0.0, 0.07)))
    radius = cell.radius * scale
    position = np.clip(rng.normal(0.0, 2.2, 2), -5, 5)
    bend = _noise(rng, size, 5, 2)
    folds = _noise(rng, size, 9, 2)
    texture = _noise(rng, size, 14, 3)
    slide = _pixel_centres(size)

    # The slide: plasma, red cells, a few platelets. Red cells give way to the leukocyte.
    stains = np.zeros((3, size * size), np.float32)
    stains += _array([[0.02], [0.03], [0.01]])
    red = _red_cells(rng, slide + 0.4 * bend, size, scale, centre=position, keep_out=0.85 * radius)
    stains += _array(rng.uniform([0.14, 0.17, 0.19], [0.20, 0.23, 0.26]))[:, None] * red
    platelets = int(rng.poisson(1.2))
    if platelets:
        axes, angles = _ovals(rng, rng.uniform(0.8, 1.5, platelets) * scale, 0.2)
        places = _array(rng.uniform(-SIDE / 2, SIDE / 2, (platelets, 2)))
        pixels, relative = _ellipses(slide, size, places, axes, angles, margin=0.5)
        stains += _array([[0.7], [0.7], [0.0]]) * _merge(np.maximum, pixels, _disc(relative, axes, size), size)

    # The cell: an oval, bent; then its nucleus, kept inside.
    points = slide - _array(position)[:, None]
    warped = points + np.float32(cell.roughness) * bend + np.float32(0.3) * folds
    axes, angles = _ovals(rng, np.array([radius]), 0.07)
    cos, sin = np.cos(angles), np.sin(angles)
    u, v = (cos * warped[0] + sin * warped[1]) / axes[:, 0], (cos * warped[1] - sin * warped[0]) / axes[:, 1]
    outline = (np.sqrt(u * u + v * v) - 1.0) * np.float32(radius)
    nodes = _array(cell.nodes @ _rotation(rng) * radius + rng.normal(0.0, 0.04 * radius, 2))
    core = _chain_distance(
        warped + np.float32(0.45) * folds, nodes, cell.radii * np.float32(radius), cell.bridges * np.float32(radius)
    )
    core = np.maximum(core, outline + np.float32(0.5))

    body, nucleus = _coverage(outline, size), _coverage(core, size)
    granular = _ramp(0.5 + 0.8 * (_noise(rng, size, cell.grains, 1)[0] - np.float32(cell.density)))
    pale = 1.0 + 0.15 * texture[0]
    content = _array(cell.cytoplasm)[:, None] * pale + _array(cell.granules)[:, None] * granular
    for _ in range(cell.vacuoles):
        spot = rng.uniform(0.3, 0.9) * radius * np.array([np.cos(a := rng.uniform(0, 2 * np.pi)), np.sin(a)])
        hole = _coverage(_chain_distance(points, _array([spot]), _array([rng.uniform(0.7, 1.5)]), _array([])), size)
        content *= 1.0 - 0.8 * hole
    dense = np.float32(cell.nucleus) * (1.0 + np.float32(cell.clumps) * texture[1])
    chromatin = _array([[1.50], [1.40], [0.05]]) * dense + _array(cell.granules)[:, None] * (
        np.float32(cell.cover) * granular
    )
    content += nucleus * (chromatin - content)
    stains += body * (content - stains)

    # Most slides are well made; one in six is stained, lit and focused badly.
    poor = rng.random() < 1 / 6
    picture = _expose(
        rng,
        np.maximum(stains, 0.0),
        _slide_absorbance(rng, SMEAR_STAINS, 0.30 if poor else 0.08, 0.12 if poor else 0.03),
        size,
        light=_smear_light(rng),
        blur=(0.5, 1.3) if poor else (0.3, 0.75),
    )
    mask = np.where(core < 0, NUCLEUS, np.where(outline < 0, CYTOPLASM, 0)).astype(np.uint8)
    return picture, mask.reshape(size, size)


# --- Lymph node -------------------------------------------------------------------------------------------------------


def _draw_lymph_node(
    rng: np.random.Generator, size: int, *, tumor: bool
) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    """Draw lymph node tissue with or without metastasis.

    Returns:
        (size, size, 3) RGB and (size, size) mask: 255 on the nuclei of tumor cells, 0 elsewhere.
    """
    points = _pixel_centres(size)
    bend = _noise(rng, size, 7, 2)
    coarse = _noise(rng, size, 4, 2)
    fibres = _noise(rng, size, 16, 2)
    warped = points + 0.6 * bend
    mask = np.zeros((size, size), np.uint8)

    # Stroma: eosin in wavy bundles, with clefts and fat that the stain leaves white.
    gap = _ramp((coarse[0] - np.float32(rng.uniform(0.9, 2.4))) * 3.0)
    bundles = np.sin(warped[0] * rng.uniform(-0.5, 0.5) + warped[1] * rng.uniform(-0.5, 0.5) + 1.5 * coarse[1])
    stains = np.zeros((3, size * size), np.float32)
    stains[0] = 0.16 + 0.05 * fibres[0]
    stains[1] = np.float32(rng.uniform(0.25, 0.5)) * (1.0 + 0.22 * bundles + 0.2 * fibres[1])

    # Where tumor grows; lymphocytes keep the rest. Normal nodes may have pale germinal centre cells instead.
    site = _ramp((coarse[1] + np.float32(rng.uniform(-0.1, 1.2) if tumor else rng.uniform(-2.5, 0.2))) * 2.0)
    typical = rng.uniform(1.7, 2.3)
    places = _packed(rng, typical * rng.uniform(2.0, 2.8), 0.16, rng.uniform(0.4, 1.0))
    axes, angles = _ovals(rng, typical * np.exp(rng.normal(0.0, 0.10, len(places))), 0.10)
    pixels, relative = _ellipses(warped, size, places, axes, angles, margin=1.8)
    dark = _disc(relative, axes, size) * _array(rng.uniform(0.75, 1.1, (len(places), 1)))
    lymphocytes = _merge(np.maximum, pixels, dark, size) * (1.0 - site)
    stains[0] += rng.uniform(0.9, 1.3) * lymphocytes * (1.0 + 0.1 * fibres[0])
    typical = rng.uniform(2.7, 4.2) if tumor else rng.uniform(2.3, 3.1)
    variety = rng.uniform(0.14, 0.30) if tumor else 0.08
    places = _packed(rng, typical * rng.uniform(2.1, 2.7), 0.18, rng.uniform(0.75, 1.0))
    bodies, nucleoli, nuclei = _pale_nuclei(rng, warped, size, places, typical=typical, variety=variety)
    stains[0] += site * (rng.uniform(0.40, 0.85) * bodies * (1.0 + 0.25 * fibres[1]) + rng.uniform(0.3, 0.8) * nucleoli)
    stains[0] += 0.12 * site
    stains *= 1.0 - gap
    if tumor:
        mask.reshape(-1)[(nuclei > 0.5) & (site > 0.5) & (gap < 0.5)] = NUCLEUS
    picture = _expose(
        rng,
        np.maximum(stains, 0.0),
        _slide_absorbance(rng, TISSUE_STAINS, 0.22, 0.12),
        size,
        light=_array(rng.uniform([0.93, 0.90, 0.93], [1.0, 0.98, 1.0])),
        blur=(0.3, 0.6),
    )
    return picture, mask


def _pale_nuclei(
    rng: np.random.Generator, points: Floats, size: int, places: Floats, *, typical: float, variety: float
) -> tuple[Floats, Floats, Floats]:
    """Vesicular nuclei: stain of body and membrane, of nucleoli, and coverage, each (pixels,)."""
    count = len(places)
    axes, angles = _ovals(rng, typical * np.exp(rng.normal(0.0, variety, count)), 0.08 + 0.4 * variety)
    pixels, relative = _ellipses(points, size, places, axes, angles, margin=1.8)
    inside = _disc(relative, axes, size)
    body = inside * (0.55 + 0.5 * _ramp(relative**4)) * _array(rng.uniform(0.65, 1.25, (count, 1)))
    dots, no_angle = _ovals(rng, rng.uniform(0.4, 0.9, count) * typical / 3.5, 0.1)
    aside = places + _array(rng.normal(0.0, 0.25, (count, 2))) * axes
    near, distance = _ellipses(points, size, aside, dots, no_angle, margin=1.8)
    spots = _disc(distance, dots, size)
    return (
        _merge(np.maximum, pixels, body, size),
        _merge(np.maximum, near, spots, size),
        _merge(np.maximum, pixels, inside, size),
    )


# --- Papillary kidney -------------------------------------------------------------------------------------------------


def _draw_kidney(rng: np.random.Generator, size: int) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    """Draw papillae: fibrovascular cores lined by cuboidal cells, white lumen between them.

    Returns:
        (size, size, 3) RGB and an empty (size, size) mask.
    """
    points = _pixel_centres(size)
    bend = _noise(rng, size, 5, 2)
    fibres = _noise(rng, size, 16, 2)
    warped = points + 1.3 * bend
    height = rng.uniform(3.2, 4.8)
    distance = np.full(size * size, np.inf, np.float32)
    places: list[NDArray[np.float64]] = []
    stalks: list[tuple[Floats, float]] = []
    for start in _packed(rng, 20.0, 0.15, rng.uniform(0.7, 1.0)):
        half_width = rng.uniform(1.0, 4.5)
        heading = rng.uniform(0, 2 * np.pi) + np.cumsum(rng.normal(0.0, 0.6, 3))
        stride = rng.uniform(0.5, 9.0)  # short strides are papillae cut across
        nodes = _array(start + np.cumsum(stride * np.stack([np.cos(heading), np.sin(heading)], axis=1), axis=0))
        if np.abs(nodes).max(axis=1).min() > SIDE / 2 + half_width + height + 2.0:
            continue  # out of the picture, whatever the bending
        stalks.append((nodes, half_width))
        distance = np.minimum(distance, _stalk_distance(warped, nodes, half_width))
        places.append(_lining(nodes, half_width + 0.45 * height))
    lining = np.concatenate(places) if places else np.zeros((0, 2))
    core = _coverage(distance, size)
    tissue = _coverage(distance - np.float32(height), size)

    stains = np.zeros((3, size * size), np.float32)
    stains[0] = tissue * np.float32(rng.uniform(0.10, 0.25)) * (1.0 + 0.3 * fibres[0])
    stains[1] = tissue * np.float32(rng.uniform(0.25, 0.55)) * (1.0 + 0.2 * fibres[1]) + core * np.float32(
        rng.uniform(-0.1, 0.25)
    )
    blood = core * _ramp((_noise(rng, size, 12, 1)[0] - np.float32(rng.uniform(0.6, 2.0))) * 3.0)
    stains[2] = 0.7 * blood
    # A nucleus per lining cell, except where another core runs.
    lining = lining + rng.normal(0.0, 0.35, lining.shape)
    free = np.ones(len(lining), bool)
    for nodes, half_width in stalks:
        free &= _stalk_distance(_array(lining.T), nodes, half_width) > 0.25 * height
    lining = lining[free & (np.abs(lining).max(axis=1) < SIDE / 2 + 6)]
    if len(lining):
        body, spots, _ = _pale_nuclei(rng, warped, size, _array(lining), typical=0.36 * height, variety=0.12)
        stains[0] += tissue * (rng.uniform(0.7, 1.1) * body + 0.3 * spots)
    picture = _expose(
        rng,
        np.maximum(stains, 0.0),
        _slide_absorbance(rng, TISSUE_STAINS, 0.2, 0.10),
        size,
        light=_array(rng.uniform([0.93, 0.90, 0.93], [1.0, 0.98, 1.0])),
        blur=(0.25, 0.6),
    )
    return picture, np.zeros((size, size), np.uint8)


def _stalk_distance(points: Floats, nodes: Floats, half_width: float) -> Floats:
    """Signed distance (pixels,) to a core of even width along a chain of nodes."""
    widths = np.full(len(nodes), half_width, np.float32)
    return _chain_distance(points, nodes, widths, widths[1:])


def _lining(nodes: Floats, offset: float, spacing: float = 3.6) -> NDArray[np.float64]:
    """Points (k, 2) about `spacing` apart at distance `offset` around a chain of nodes."""
    path = nodes.astype(np.float64)
    steps = np.diff(path, axis=0)
    lengths = np.hypot(steps[:, 0], steps[:, 1])
    along = np.arange(0.0, lengths.sum(), spacing)
    knots = np.concatenate([[0.0], np.cumsum(lengths)])
    spine = np.stack([np.interp(along, knots, path[:, axis]) for axis in (0, 1)], axis=1)
    direction = steps[np.minimum(np.searchsorted(knots, along, side="right") - 1, len(steps) - 1)]
    direction = direction / np.maximum(np.hypot(direction[:, :1], direction[:, 1:]), 1e-6)
    normal = np.stack([-direction[:, 1], direction[:, 0]], axis=1)
    around = max(int(np.pi * offset / spacing), 2)
    caps = []
    for end, way in ((path[-1], steps[-1]), (path[0], -steps[0])):
        angles = np.arctan2(way[1], way[0]) + (np.arange(around) + 0.5) / around * np.pi - np.pi / 2
        caps.append(end + offset * np.stack([np.cos(angles), np.sin(angles)], axis=1))
    return np.concatenate([spine + offset * normal, spine - offset * normal, *caps])
