"""How synthetic pictures are drawn: coordinates, smooth noise, signed distances, stains and the light they let through.

1. Shapes are signed distances (negative inside) evaluated at pixel centres whose coordinates were displaced by smooth
   noise, which bends every outline; masks are these same distances below zero.
2. What a shape deposits are amounts of three stains, one plane each. Overlapping cells add up, as on a slide.
3. Stains become light by the Beer-Lambert law, with absorbances, illumination, blur and sensor noise that differ from
   image to image, as slides differ: colour alone does not give a cell away.

Lengths are in drawing units, of which a picture has 48 a side whatever its size in pixels.
"""

from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float32]

NUCLEUS, CYTOPLASM = 255, 128
"""Mask values; the background is 0. Tumor nuclei also have 255."""

SIDE = 48.0
"""Side of a picture in drawing units."""


@lru_cache(maxsize=4)
def pixel_centres(size: int) -> Floats:
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
    return as_floats(basis / np.linalg.norm(basis, axis=1, keepdims=True))


def smooth_noise(rng: np.random.Generator, size: int, cells: int, count: int) -> Floats:
    """Smooth Gaussian noise (count, size * size), mean 0 and variance 1 at every pixel, about `cells` bumps a side."""
    basis = _spline_basis(size, cells)
    lattice = rng.standard_normal((count, cells + 3, cells + 3), dtype=np.float32)
    return as_floats((basis @ lattice @ basis.T).reshape(count, size * size))


def ramp(values: Floats) -> Floats:
    """Clip to [0, 1]."""
    return np.asarray(np.clip(values, 0.0, 1.0), np.float32)


def coverage(distance: Floats, size: int) -> Floats:
    """Share of each pixel inside a shape, from signed distances in drawing units: an edge one pixel wide."""
    return ramp(0.5 - distance * np.float32(size / SIDE))


def ellipse_windows(
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


def disc_coverage(relative: Floats, radii: Floats, size: int) -> Floats:
    """Coverage of ellipses from relative radii (k, w) and half axes (k, 2)."""
    return coverage((relative - 1.0) * np.sqrt(radii[:, :1] * radii[:, 1:]), size)


def merge_windows(combine: np.ufunc, pixels: NDArray[np.intp], values: Floats, size: int) -> Floats:
    """Gather the windows of many shapes into one plane (pixels,), where they overlap by `combine` (add, maximum)."""
    plane = np.zeros(size * size + 1, np.float32)
    combine.at(plane, pixels.reshape(-1), values.reshape(-1))
    return plane[:-1]


def chain_distance(points: Floats, nodes: Floats, radii: Floats, bridges: Floats) -> Floats:
    """Signed distance (pixels,) to discs at `nodes` (k, 2) whose neighbours have bridges of half width (k-1,)."""
    x, y = points
    dx, dy = x - nodes[:, :1], y - nodes[:, 1:]
    distance = as_floats((np.sqrt(dx * dx + dy * dy) - radii[:, None]).min(axis=0))
    if len(nodes) == 1:
        return distance
    step = nodes[1:] - nodes[:-1]
    length = np.maximum((step**2).sum(axis=1, keepdims=True), 1e-6)
    along = ramp((dx[:-1] * step[:, :1] + dy[:-1] * step[:, 1:]) / length)
    gap = np.hypot(dx[:-1] - along * step[:, :1], dy[:-1] - along * step[:, 1:]) - bridges[:, None]
    return as_floats(np.minimum(distance, gap.min(axis=0)))


def as_floats(values: object) -> Floats:
    """Return values as a float32 array."""
    return np.asarray(values, dtype=np.float32)


def packed_places(rng: np.random.Generator, spacing: float, jitter: float, share: float) -> Floats:
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
    places = spacing * (places + rng.uniform(-0.5, 0.5, 2)) @ random_rotation(rng)
    places = places[(np.abs(places).max(axis=1) < reach)]
    places += rng.normal(0.0, jitter * spacing, places.shape)
    return as_floats(places[rng.random(len(places)) < share])


def random_rotation(rng: np.random.Generator) -> NDArray[np.float64]:
    """Draw a rotation matrix (2, 2), every angle equally likely."""
    turn = rng.uniform(0.0, 2.0 * np.pi)
    return np.array([[np.cos(turn), -np.sin(turn)], [np.sin(turn), np.cos(turn)]])


def random_ovals(rng: np.random.Generator, radii: NDArray[np.floating], spread: float) -> tuple[Floats, Floats]:
    """Half axes (k, 2) and angles (k,) of ovals with the areas of discs of these radii."""
    squash = np.exp(rng.normal(0.0, spread, len(radii)))
    return as_floats(np.stack([radii * squash, radii / squash], axis=1)), as_floats(rng.uniform(0.0, np.pi, len(radii)))


def expose(
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
    x, y = pixel_centres(size)
    picture *= light[:, None] * (1.0 + (across * x + down * y) / (SIDE / 2))
    sigma = rng.uniform(*blur) * size / SIDE
    offsets = np.arange(size, dtype=np.float32)
    kernel = np.exp(-0.5 * ((offsets[:, None] - offsets) / max(sigma, 0.2)) ** 2)
    kernel /= kernel.sum(axis=1, keepdims=True)
    picture = (kernel @ picture.reshape(3, size, size) @ kernel.T).transpose(1, 2, 0)
    picture += rng.uniform(0.004, 0.02) * rng.standard_normal((size, size, 3), dtype=np.float32)
    return (ramp(picture) * 255.0 + 0.5).astype(np.uint8)


def slide_absorbance(rng: np.random.Generator, stains: Floats, gain: float, mixing: float) -> Floats:
    """Absorbances of one slide: every stain stronger or weaker (staining time, pH) and a little off in hue."""
    gains = np.exp(rng.normal(0.0, gain, (3, 1)))
    return (stains * gains * np.exp(rng.normal(0.0, mixing, (3, 3)))).astype(np.float32)
