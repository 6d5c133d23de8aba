"""Synthetic blood smears: red cells, platelets and one leukocyte of a named class.

Labels are never flipped: some cells are difficult because of their morphology (band neutrophils, large lymphocytes, cells poor in
granules).
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from data_utils.drawing.canvas import (
    CYTOPLASM,
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
    random_rotation,
    slide_absorbance,
    smooth_noise,
)

SMEAR_STAINS = np.array([[0.80, 0.50, 0.08], [0.08, 0.60, 0.35], [0.05, 0.45, 0.70]], np.float32)
"""Absorbance (red, green, blue) of one unit of blue, eosin and orange, fitted by eye to May-Gruenwald-Giemsa smears.

The sum of blue and eosin is the purple of nuclei; haemoglobin and eosinophil granules add orange.
"""


def draw_smear(rng: np.random.Generator, size: int, name: str) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    """Draw a smear around one leukocyte of the named class.

    Returns:
        (size, size, 3) RGB and (size, size) mask: nucleus 255, cytoplasm 128, background 0.
    """
    cell = _LEUKOCYTES[name](rng)
    scale = float(np.exp(rng.normal(0.0, 0.07)))
    radius = cell.radius * scale
    position = np.clip(rng.normal(0.0, 2.2, 2), -5, 5)
    bend = smooth_noise(rng, size, 5, 2)
    folds = smooth_noise(rng, size, 9, 2)
    texture = smooth_noise(rng, size, 14, 3)
    stains = _background(rng, size, scale, bend, centre=position, keep_out=0.85 * radius)

    points = pixel_centres(size) - as_floats(position)[:, None]
    warped = points + np.float32(cell.roughness) * bend + np.float32(0.3) * folds
    outline = _outline(rng, warped, radius)
    nodes = as_floats(cell.nodes @ random_rotation(rng) * radius + rng.normal(0.0, 0.04 * radius, 2))
    core = chain_distance(
        warped + np.float32(0.45) * folds, nodes, cell.radii * np.float32(radius), cell.bridges * np.float32(radius)
    )
    core = np.maximum(core, outline + np.float32(0.5))
    content = _cell_content(rng, cell, points, radius, size, texture=texture, nucleus=coverage(core, size))
    stains += coverage(outline, size) * (content - stains)

    # Most slides are well made; one in six is stained, lit and focused badly.
    poor = rng.random() < 1 / 6
    picture = expose(
        rng,
        np.maximum(stains, 0.0),
        slide_absorbance(rng, SMEAR_STAINS, 0.30 if poor else 0.08, 0.12 if poor else 0.03),
        size,
        light=_smear_light(rng),
        blur=(0.5, 1.3) if poor else (0.3, 0.75),
    )
    mask = np.where(core < 0, NUCLEUS, np.where(outline < 0, CYTOPLASM, 0)).astype(np.uint8)
    return picture, mask.reshape(size, size)


@dataclass(frozen=True)
class _Leukocyte:
    """Features of one white cell; lengths of the nucleus are relative to the cell's radius."""

    radius: float
    """Mean radius of the cell, drawing units."""
    nodes: Floats
    """Centres (k, 2) of the discs that make up the nucleus."""
    radii: Floats
    """Radii (k,) of these discs."""
    bridges: Floats
    """Half widths (k - 1,) of the bridges between neighbouring discs."""
    nucleus: float
    """Amount of stain in the nucleus, 1 is dense."""
    clumps: float
    """Contrast of the chromatin."""
    cytoplasm: tuple[float, float, float]
    """Amounts of blue, eosin and orange in the cytoplasm."""
    granules: tuple[float, float, float]
    """Amounts of blue, eosin and orange that full granules add."""
    grains: int
    """Number of granules along the side of the picture: more are finer."""
    density: float
    """Threshold of the granules in standard deviations of noise: lower is denser."""
    cover: float = 0.0
    """Share of the nucleus that the granules hide, 0 to 1."""
    roughness: float = 0.6
    """Deformation of the outlines, drawing units."""
    vacuoles: int = 0
    """Number of vacuoles."""


def _arc(rng: np.random.Generator, count: int, span: float, radius: float, jitter: float) -> Floats:
    """Points (count, 2) along an arc of `span` radians around its own centre of mass."""
    angle = np.linspace(-span / 2, span / 2, count)
    nodes = radius * np.stack([np.cos(angle), np.sin(angle)], axis=1)
    nodes -= 0.85 * nodes.mean(axis=0)
    return as_floats(nodes + rng.normal(0.0, jitter, (count, 2)))


def _band_nucleus(rng: np.random.Generator, width: tuple[float, float]) -> tuple[Floats, Floats, Floats]:
    """A sausage bent into a C: nodes, radii and bridges of nearly even width."""
    half_width = rng.uniform(*width)
    nodes = _arc(rng, 6, rng.uniform(2.2, 4.2), rng.uniform(0.40, 0.52), 0.03)
    return nodes, as_floats(half_width * rng.uniform(0.9, 1.12, 6)), as_floats(half_width * rng.uniform(0.75, 1.0, 5))


def _lobed_nucleus(rng: np.random.Generator, lobes: int, size: tuple[float, float]) -> tuple[Floats, Floats, Floats]:
    """Rounded lobes on an arc, joined by thin bridges."""
    span = {2: rng.uniform(2.0, 3.2), 3: rng.uniform(2.6, 4.2), 4: rng.uniform(3.6, 5.0), 5: rng.uniform(4.2, 5.4)}[
        lobes
    ]
    nodes = _arc(rng, lobes, span, rng.uniform(0.36, 0.54), 0.09)
    return nodes, as_floats(rng.uniform(*size, lobes)), as_floats(rng.uniform(0.05, 0.13, lobes - 1))


def _kidney_nucleus(rng: np.random.Generator) -> tuple[Floats, Floats, Floats]:
    """A thick bean to horseshoe."""
    half_width = rng.uniform(0.33, 0.45)
    nodes = _arc(rng, 5, rng.uniform(1.4, 4.0), rng.uniform(0.26, 0.42), 0.05)
    return nodes, as_floats(half_width * rng.uniform(0.85, 1.1, 5)), as_floats(half_width * rng.uniform(0.8, 1.0, 4))


def _round_nucleus(rng: np.random.Generator, size: tuple[float, float]) -> tuple[Floats, Floats, Floats]:
    """Two nearly concentric discs: round to oval, sometimes with a shallow dent."""
    radius = rng.uniform(*size)
    angle, apart = rng.uniform(0, 2 * np.pi), rng.uniform(0.02, 0.26)
    middle = rng.normal(0.0, 0.05, 2)
    arm = apart * np.array([np.cos(angle), np.sin(angle)]) * radius
    return (
        as_floats([middle - arm, middle + arm]),
        as_floats(radius * rng.uniform(0.86, 1.0, 2)),
        as_floats([radius * 0.7]),
    )


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
    places = packed_places(rng, 2.0 * typical * rng.uniform(0.95, 1.15), rng.uniform(0.10, 0.22), rng.uniform(0.4, 0.9))
    radii = typical * np.exp(rng.normal(0.0, 0.07, len(places)))
    away = np.hypot(*(places - centre).T) > keep_out + radii
    places, radii = places[away], radii[away]
    if len(radii) == 0:
        return np.zeros(size * size, np.float32)
    axes, angles = random_ovals(rng, radii, rng.uniform(0.02, 0.12))
    pixels, relative = ellipse_windows(points, size, places, axes, angles, margin=1.2)
    pallor = as_floats(np.clip(rng.normal(rng.uniform(0.3, 0.9), 0.2, len(radii)), 0.0, 0.95))[:, None]
    hollow = pallor / (1.0 + (relative / np.float32(rng.uniform(0.38, 0.55))) ** 4)
    thickness = disc_coverage(relative, axes, size) * (1.0 - hollow) * as_floats(rng.normal(1.0, 0.12, (len(radii), 1)))
    return merge_windows(np.add, pixels, as_floats(thickness), size)


def _smear_light(rng: np.random.Generator) -> Floats:
    """Colour (3,) of the empty slide: from cream (old lamp, buffered stain) to a cold lavender."""
    warmth = rng.uniform(0.3, 1.0)
    colour = warmth * np.array([1.0, 0.93, 0.80]) + (1.0 - warmth) * np.array([0.90, 0.88, 0.95])
    return as_floats(colour * rng.uniform(0.94, 1.05) * rng.uniform(0.98, 1.02, 3))


def _background(
    rng: np.random.Generator,
    size: int,
    scale: float,
    bend: Floats,
    *,
    centre: NDArray[np.float64],
    keep_out: float,
) -> Floats:
    """Stains (3, pixels) of plasma, red cells and a few platelets; red cells give way to the leukocyte at the centre."""
    slide = pixel_centres(size)
    stains = np.zeros((3, size * size), np.float32)
    stains += as_floats([[0.02], [0.03], [0.01]])
    red = _red_cells(rng, slide + 0.4 * bend, size, scale, centre=centre, keep_out=keep_out)
    stains += as_floats(rng.uniform([0.14, 0.17, 0.19], [0.20, 0.23, 0.26]))[:, None] * red
    platelets = int(rng.poisson(1.2))
    if platelets:
        axes, angles = random_ovals(rng, rng.uniform(0.8, 1.5, platelets) * scale, 0.2)
        places = as_floats(rng.uniform(-SIDE / 2, SIDE / 2, (platelets, 2)))
        pixels, relative = ellipse_windows(slide, size, places, axes, angles, margin=0.5)
        stains += as_floats([[0.7], [0.7], [0.0]]) * merge_windows(
            np.maximum, pixels, disc_coverage(relative, axes, size), size
        )
    return stains


def _outline(rng: np.random.Generator, points: Floats, radius: float) -> Floats:
    """Distance (pixels,) to the outline of a cell around the origin, an oval; negative inside."""
    axes, angles = random_ovals(rng, np.array([radius]), 0.07)
    cos, sin = np.cos(angles), np.sin(angles)
    u, v = (cos * points[0] + sin * points[1]) / axes[:, 0], (cos * points[1] - sin * points[0]) / axes[:, 1]
    return as_floats((np.sqrt(u * u + v * v) - 1.0) * np.float32(radius))


def _cell_content(
    rng: np.random.Generator,
    cell: _Leukocyte,
    points: Floats,
    radius: float,
    size: int,
    *,
    texture: Floats,
    nucleus: Floats,
) -> Floats:
    """Stains (3, pixels) of cytoplasm, granules, vacuoles and chromatin, as if the cell filled the picture."""
    granular = ramp(0.5 + 0.8 * (smooth_noise(rng, size, cell.grains, 1)[0] - np.float32(cell.density)))
    pale = 1.0 + 0.15 * texture[0]
    content = as_floats(cell.cytoplasm)[:, None] * pale + as_floats(cell.granules)[:, None] * granular
    for _ in range(cell.vacuoles):
        spot = rng.uniform(0.3, 0.9) * radius * np.array([np.cos(a := rng.uniform(0, 2 * np.pi)), np.sin(a)])
        hole = coverage(
            chain_distance(points, as_floats([spot]), as_floats([rng.uniform(0.7, 1.5)]), as_floats([])), size
        )
        content *= 1.0 - 0.8 * hole
    dense = np.float32(cell.nucleus) * (1.0 + np.float32(cell.clumps) * texture[1])
    chromatin = as_floats([[1.50], [1.40], [0.05]]) * dense + as_floats(cell.granules)[:, None] * (
        np.float32(cell.cover) * granular
    )
    return as_floats(content + nucleus * (chromatin - content))
