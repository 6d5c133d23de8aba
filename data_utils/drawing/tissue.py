"""Synthetic tissue: lymph node with and without metastasis, and papillary kidney."""

import numpy as np
from numpy.typing import NDArray

from data_utils.drawing.canvas import (
    NUCLEUS,
    SIDE,
    Floats,
    as_floats,
    chain_distance,
    coverage,
    disc_coverage,
    ellipse_windows,
    expose,
    merge_windows,
    packed_places,
    pixel_centres,
    ramp,
    random_ovals,
    slide_absorbance,
    smooth_noise,
)

TISSUE_STAINS = np.array([[0.56, 0.72, 0.41], [0.22, 0.80, 0.56], [0.05, 0.75, 0.65]], np.float32)
"""Absorbance (red, green, blue) of one unit of haematoxylin, eosin and the yellowish red of erythrocytes.

The first two are the reference vectors of Macenko et al. (2009), "A method for normalizing histology slides for
quantitative analysis".
"""


def draw_lymph_node(rng: np.random.Generator, size: int, *, tumor: bool) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    """Draw lymph node tissue with or without metastasis.

    Returns:
        (size, size, 3) RGB and (size, size) mask: 255 on the nuclei of tumor cells, 0 elsewhere.
    """
    points = pixel_centres(size)
    bend = smooth_noise(rng, size, 7, 2)
    coarse = smooth_noise(rng, size, 4, 2)
    fibres = smooth_noise(rng, size, 16, 2)
    warped = points + 0.6 * bend
    mask = np.zeros((size, size), np.uint8)

    # Stroma: eosin in wavy bundles, with clefts and fat that the stain leaves white.
    gap = ramp((coarse[0] - np.float32(rng.uniform(0.9, 2.4))) * 3.0)
    bundles = np.sin(warped[0] * rng.uniform(-0.5, 0.5) + warped[1] * rng.uniform(-0.5, 0.5) + 1.5 * coarse[1])
    stains = np.zeros((3, size * size), np.float32)
    stains[0] = 0.16 + 0.05 * fibres[0]
    stains[1] = np.float32(rng.uniform(0.25, 0.5)) * (1.0 + 0.22 * bundles + 0.2 * fibres[1])

    # Where tumor grows; lymphocytes keep the rest. Normal nodes may have pale germinal centre cells instead.
    site = ramp((coarse[1] + np.float32(rng.uniform(-0.1, 1.2) if tumor else rng.uniform(-2.5, 0.2))) * 2.0)
    typical = rng.uniform(1.7, 2.3)
    places = packed_places(rng, typical * rng.uniform(2.0, 2.8), 0.16, rng.uniform(0.4, 1.0))
    axes, angles = random_ovals(rng, typical * np.exp(rng.normal(0.0, 0.10, len(places))), 0.10)
    pixels, relative = ellipse_windows(warped, size, places, axes, angles, margin=1.8)
    dark = disc_coverage(relative, axes, size) * as_floats(rng.uniform(0.75, 1.1, (len(places), 1)))
    lymphocytes = merge_windows(np.maximum, pixels, dark, size) * (1.0 - site)
    stains[0] += rng.uniform(0.9, 1.3) * lymphocytes * (1.0 + 0.1 * fibres[0])
    typical = rng.uniform(2.7, 4.2) if tumor else rng.uniform(2.3, 3.1)
    variety = rng.uniform(0.14, 0.30) if tumor else 0.08
    places = packed_places(rng, typical * rng.uniform(2.1, 2.7), 0.18, rng.uniform(0.75, 1.0))
    bodies, nucleoli, nuclei = _pale_nuclei(rng, warped, size, places, typical=typical, variety=variety)
    stains[0] += site * (rng.uniform(0.40, 0.85) * bodies * (1.0 + 0.25 * fibres[1]) + rng.uniform(0.3, 0.8) * nucleoli)
    stains[0] += 0.12 * site
    stains *= 1.0 - gap
    if tumor:
        mask.reshape(-1)[(nuclei > 0.5) & (site > 0.5) & (gap < 0.5)] = NUCLEUS
    picture = expose(
        rng,
        np.maximum(stains, 0.0),
        slide_absorbance(rng, TISSUE_STAINS, 0.22, 0.12),
        size,
        light=as_floats(rng.uniform([0.93, 0.90, 0.93], [1.0, 0.98, 1.0])),
        blur=(0.3, 0.6),
    )
    return picture, mask


def _pale_nuclei(
    rng: np.random.Generator, points: Floats, size: int, places: Floats, *, typical: float, variety: float
) -> tuple[Floats, Floats, Floats]:
    """Vesicular nuclei: stain of body and membrane, of nucleoli, and coverage, each (pixels,)."""
    count = len(places)
    axes, angles = random_ovals(rng, typical * np.exp(rng.normal(0.0, variety, count)), 0.08 + 0.4 * variety)
    pixels, relative = ellipse_windows(points, size, places, axes, angles, margin=1.8)
    inside = disc_coverage(relative, axes, size)
    body = inside * (0.55 + 0.5 * ramp(relative**4)) * as_floats(rng.uniform(0.65, 1.25, (count, 1)))
    dots, no_angle = random_ovals(rng, rng.uniform(0.4, 0.9, count) * typical / 3.5, 0.1)
    aside = places + as_floats(rng.normal(0.0, 0.25, (count, 2))) * axes
    near, distance = ellipse_windows(points, size, aside, dots, no_angle, margin=1.8)
    spots = disc_coverage(distance, dots, size)
    return (
        merge_windows(np.maximum, pixels, body, size),
        merge_windows(np.maximum, near, spots, size),
        merge_windows(np.maximum, pixels, inside, size),
    )


def draw_kidney(rng: np.random.Generator, size: int) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    """Draw papillae: fibrovascular cores lined by cuboidal cells, white lumen between them.

    Returns:
        (size, size, 3) RGB and an empty (size, size) mask.
    """
    points = pixel_centres(size)
    bend = smooth_noise(rng, size, 5, 2)
    fibres = smooth_noise(rng, size, 16, 2)
    warped = points + 1.3 * bend
    height = rng.uniform(3.2, 4.8)
    distance = np.full(size * size, np.inf, np.float32)
    places: list[NDArray[np.float64]] = []
    stalks: list[tuple[Floats, float]] = []
    for start in packed_places(rng, 20.0, 0.15, rng.uniform(0.7, 1.0)):
        half_width = rng.uniform(1.0, 4.5)
        heading = rng.uniform(0, 2 * np.pi) + np.cumsum(rng.normal(0.0, 0.6, 3))
        stride = rng.uniform(0.5, 9.0)  # short strides are papillae cut across
        nodes = as_floats(start + np.cumsum(stride * np.stack([np.cos(heading), np.sin(heading)], axis=1), axis=0))
        if np.abs(nodes).max(axis=1).min() > SIDE / 2 + half_width + height + 2.0:
            continue  # out of the picture, whatever the bending
        stalks.append((nodes, half_width))
        distance = np.minimum(distance, _stalk_distance(warped, nodes, half_width))
        places.append(_lining(nodes, half_width + 0.45 * height))
    lining = np.concatenate(places) if places else np.zeros((0, 2))
    core = coverage(distance, size)
    tissue = coverage(distance - np.float32(height), size)

    stains = np.zeros((3, size * size), np.float32)
    stains[0] = tissue * np.float32(rng.uniform(0.10, 0.25)) * (1.0 + 0.3 * fibres[0])
    stains[1] = tissue * np.float32(rng.uniform(0.25, 0.55)) * (1.0 + 0.2 * fibres[1]) + core * np.float32(
        rng.uniform(-0.1, 0.25)
    )
    blood = core * ramp((smooth_noise(rng, size, 12, 1)[0] - np.float32(rng.uniform(0.6, 2.0))) * 3.0)
    stains[2] = 0.7 * blood
    # A nucleus per lining cell, except where another core runs.
    lining = lining + rng.normal(0.0, 0.35, lining.shape)
    free = np.ones(len(lining), bool)
    for nodes, half_width in stalks:
        free &= _stalk_distance(as_floats(lining.T), nodes, half_width) > 0.25 * height
    lining = lining[free & (np.abs(lining).max(axis=1) < SIDE / 2 + 6)]
    if len(lining):
        body, spots, _ = _pale_nuclei(rng, warped, size, as_floats(lining), typical=0.36 * height, variety=0.12)
        stains[0] += tissue * (rng.uniform(0.7, 1.1) * body + 0.3 * spots)
    picture = expose(
        rng,
        np.maximum(stains, 0.0),
        slide_absorbance(rng, TISSUE_STAINS, 0.2, 0.10),
        size,
        light=as_floats(rng.uniform([0.93, 0.90, 0.93], [1.0, 0.98, 1.0])),
        blur=(0.25, 0.6),
    )
    return picture, np.zeros((size, size), np.uint8)


def _stalk_distance(points: Floats, nodes: Floats, half_width: float) -> Floats:
    """Signed distance (pixels,) to a core of even width along a chain of nodes."""
    widths = np.full(len(nodes), half_width, np.float32)
    return chain_distance(points, nodes, widths, widths[1:])


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
