import numpy as np
import pytest

from data_utils.drawing.canvas import (
    SIDE,
    as_floats,
    chain_distance,
    coverage,
    disc_coverage,
    ellipse_windows,
    expose,
    merge_windows,
    packed_places,
    pixel_centres,
    smooth_noise,
)


def test_noise_has_mean_zero_and_variance_one_at_every_pixel() -> None:
    noise = smooth_noise(np.random.default_rng(0), 12, 5, 4000)
    assert noise.shape == (4000, 144)
    # Five standard errors of 4000 draws.
    assert np.abs(noise.mean(axis=0)).max() < 5 / 4000**0.5
    assert np.abs(noise.var(axis=0) - 1).max() < 5 * (2 / 4000) ** 0.5


def test_distance_to_two_discs_with_a_bridge() -> None:
    points = as_floats([[0, 5, 10, 5, -4], [0, 0, 0, 3, 0]])
    distance = chain_distance(points, as_floats([[0, 0], [10, 0]]), as_floats([2, 3]), as_floats([1]))
    assert distance.tolist() == pytest.approx([-2, -1, -3, 2, 2])


@pytest.mark.parametrize("size", [24, 96])
def test_an_ellipse_covers_its_area_wherever_it_leaves_the_picture(size: int) -> None:
    centres, radii = as_floats([[0, 0], [SIDE / 2, 0]]), as_floats([[8, 4], [8, 4]])
    pixels, relative = ellipse_windows(pixel_centres(size), size, centres, radii, as_floats([0, 0]), margin=1.0)
    inside = disc_coverage(relative, radii, size)
    planes = [merge_windows(np.add, pixels[i], inside[i], size) for i in (0, 1)]
    area = [float(plane.sum()) * (SIDE / size) ** 2 for plane in planes]
    assert area == pytest.approx([np.pi * 32, np.pi * 16], rel=0.05)


def test_an_edge_is_one_pixel_wide() -> None:
    assert coverage(as_floats([-1, -0.25, 0, 0.25, 1]), 96).tolist() == [1, 1, 0.5, 0, 0]


def test_places_are_as_dense_as_their_spacing_says() -> None:
    rng = np.random.default_rng(0)
    inside = [np.sum(np.abs(packed_places(rng, 4.0, 0.1, 0.5)).max(axis=1) < SIDE / 2) for _ in range(50)]
    # A hexagonal lattice has a place per 0.866 spacing^2, of which half are taken.
    assert np.mean(inside) == pytest.approx(0.5 * SIDE**2 / (0.866 * 16), rel=0.05)


def test_more_stain_lets_less_light_through() -> None:
    stains = np.zeros((3, 400), np.float32)
    stains[0, :200] = 1.0
    picture = expose(
        np.random.default_rng(0),
        stains,
        as_floats([[1.0, 0.5, 0.0], [0, 0, 0], [0, 0, 0]]),
        20,
        light=as_floats([0.9, 0.9, 0.9]),
        blur=(0.1, 0.2),
    )
    assert picture.shape == (20, 20, 3)
    # Beer-Lambert: exp(-1), exp(-0.5) and 1 of the light.
    ratio = picture[:8].mean(axis=(0, 1)) / picture[12:].mean(axis=(0, 1))
    assert ratio == pytest.approx(np.exp([-1.0, -0.5, 0.0]), rel=0.15)
