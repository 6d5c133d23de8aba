import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from scipy import stats
from torchvision.transforms import RandomResizedCrop
from torchvision.transforms.v2 import functional as reference

from data_utils.augmentation import (
    ColourJitter,
    draw_colours,
    draw_crops,
    draw_flips,
    recolour,
    resample,
    whole_images,
)

DEVICES = ["cpu", pytest.param("cuda", marks=pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU"))]


def random_images(count: int, height: int, width: int, seed: int = 0) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randint(0, 256, (count, height, width, 3), dtype=torch.uint8, generator=generator)


def expected(image: torch.Tensor, box: list[int], flip: bool, size: tuple[int, int]) -> torch.Tensor:
    planes = image.permute(2, 0, 1).float() / 255
    result = reference.resized_crop(planes, *box, list(size), antialias=True)
    return reference.horizontal_flip(result) if flip else result


@st.composite
def batches(draw: st.DrawFn) -> tuple[list[tuple[int, int]], list[list[int]], list[bool], tuple[int, int]]:
    sizes, boxes, flips = [], [], []
    # Some frames are above the size from which the CPU multiplies each crop on its own, some below.
    largest = draw(st.sampled_from([8, 40, 130]))
    for _ in range(draw(st.integers(1, 3))):
        height, width = draw(st.integers(1, largest)), draw(st.integers(1, largest))
        high, wide = draw(st.integers(1, height)), draw(st.integers(1, width))
        boxes.append([draw(st.integers(0, height - high)), draw(st.integers(0, width - wide)), high, wide])
        sizes.append((height, width))
        flips.append(draw(st.booleans()))
    # torch 2.14's antialiased interpolation is wrong for results one pixel wide, see the test against Pillow.
    return sizes, boxes, flips, (draw(st.integers(1, 48)), draw(st.integers(2, 48)))


@settings(max_examples=50, deadline=None)
@given(batches())
def test_resample_equals_torchvision_on_padded_batches_of_any_sizes(
    batch: tuple[list[tuple[int, int]], list[list[int]], list[bool], tuple[int, int]],
) -> None:
    sizes, boxes, flips, size = batch
    # The padding is noise, not zeros: it must never be read.
    images = random_images(len(sizes), max(h for h, _ in sizes), max(w for _, w in sizes))
    result = resample(images, torch.tensor(boxes), torch.tensor(flips), size)
    assert result.dtype == torch.float32
    assert result.shape == (len(sizes), 3, *size)
    for i, (height, width) in enumerate(sizes):
        target = expected(images[i, :height, :width], boxes[i], flips[i], size)
        torch.testing.assert_close(result[i], target, atol=1e-3, rtol=0)


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("side", [48, 128])
def test_resample_on_each_device(device: str, side: int) -> None:
    images = random_images(5, side, side)
    boxes = draw_crops(torch.full((5, 2), side), torch.Generator().manual_seed(1))
    flips = torch.tensor([True, False, True, False, True])
    result = resample(images.to(device), boxes, flips, 32)
    assert result.device.type == device
    for i in range(5):
        target = expected(images[i], boxes[i].tolist(), bool(flips[i]), (32, 32))
        torch.testing.assert_close(result[i].cpu(), target, atol=1e-3, rtol=0)


@pytest.mark.parametrize("frame", [(3, 1), (100, 120)])
def test_results_one_pixel_wide_equal_pillows(frame: tuple[int, int]) -> None:
    image = random_images(1, *frame)
    result = resample(image, torch.tensor([[0, 0, 3, 1]]), None, (2, 1))[0].permute(1, 2, 0)
    target = np.asarray(Image.fromarray(image[0, :3, :1].numpy()).resize((1, 2), Image.Resampling.BILINEAR))
    # Pillow rounds to whole grey levels.
    assert np.abs(255 * result.numpy() - target).max() <= 0.51


def test_whole_images_of_the_same_size_pass_unchanged() -> None:
    images = random_images(3, 20, 30)
    boxes = whole_images(torch.tensor([[20, 30]] * 3))
    assert boxes.tolist() == [[0, 0, 20, 30]] * 3
    result = resample(images, boxes, None, (20, 30))
    torch.testing.assert_close(result, images.permute(0, 3, 1, 2) / 255)


def test_values_stay_between_zero_and_one() -> None:
    white = torch.full((2, 37, 41, 3), 255, dtype=torch.uint8)
    result = resample(white, whole_images(torch.tensor([[37, 41]] * 2)), None, 29)
    assert result.max() <= 1
    assert result.min() > 0.9999


@pytest.mark.parametrize("size", [(575, 575), (40, 300), (300, 40), (30, 50)])
def test_crops_are_distributed_as_torchvisions(size: tuple[int, int]) -> None:
    """Long images exercise the rejections and the central fallback."""
    count = 2000
    boxes = draw_crops(
        torch.tensor([size] * count), torch.Generator().manual_seed(3), (0.08, 1.0), (0.75, 4 / 3)
    ).numpy()
    assert np.all(boxes[:, :2] >= 0)
    assert np.all(boxes[:, 0] + boxes[:, 2] <= size[0])
    assert np.all(boxes[:, 1] + boxes[:, 3] <= size[1])
    torch.manual_seed(4)
    blank = torch.zeros(3, *size)
    wanted = np.array([RandomResizedCrop.get_params(blank, [0.08, 1.0], [0.75, 4 / 3]) for _ in range(count)])
    for statistic in (
        lambda b: b[:, 2] * b[:, 3],
        lambda b: b[:, 3] / b[:, 2],
        lambda b: b[:, 0],
        lambda b: b[:, 1],
        lambda b: b[:, 0] + b[:, 2],
    ):
        assert stats.ks_2samp(statistic(boxes), statistic(wanted)).pvalue > 0.001


def test_the_fallback_is_torchvisions_central_crop() -> None:
    """A ratio that no crop of the image can have is replaced by the nearest central one."""
    for size in ((10, 100), (100, 10)):
        box = draw_crops(torch.tensor([size]), torch.Generator().manual_seed(0), (1.0, 1.0), (0.75, 4 / 3))[0]
        wanted = RandomResizedCrop.get_params(torch.zeros(3, *size), [1.0, 1.0], [0.75, 4 / 3])
        assert box.tolist() == list(wanted)


def test_draws_depend_on_the_generator_alone() -> None:
    sizes = torch.tensor([[48, 64], [575, 575], [20, 20]])
    first = draw_crops(sizes, torch.Generator().manual_seed(7))
    torch.manual_seed(12345)
    np.random.seed(5)  # noqa: NPY002  # global state is what must not matter
    second = draw_crops(sizes, torch.Generator().manual_seed(7))
    assert torch.equal(first, second)
    assert not torch.equal(first, draw_crops(sizes, torch.Generator().manual_seed(8)))
    # The values that an image takes do not depend on the other images' sizes.
    other = draw_crops(torch.tensor([[300, 10], [575, 575], [9, 9]]), torch.Generator().manual_seed(7))
    assert torch.equal(first[1], other[1])


def test_flips_have_their_probability() -> None:
    generator = torch.Generator().manual_seed(0)
    assert not draw_flips(1000, generator, 0.0).any()
    assert draw_flips(1000, generator, 1.0).all()
    # Five standard deviations of a binomial share.
    assert abs(draw_flips(10_000, generator, 0.3).float().mean() - 0.3) < 5 * (0.3 * 0.7 / 10_000) ** 0.5


def mild(count: int = 3) -> torch.Tensor:
    """Images far from black and white, so that nothing is cut off."""
    return 0.35 + 0.3 * torch.rand((count, 3, 9, 7), generator=torch.Generator().manual_seed(1))


@pytest.mark.parametrize("device", DEVICES)
def test_nothing_is_moved_by_default_or_by_draws_of_zero(device: str) -> None:
    images = mild().to(device)
    assert recolour(images, draw_colours(3, torch.Generator()), ColourJitter()) is images
    everything = ColourJitter(0.2, 0.3, 0.3, 0.3, 0.2)
    torch.testing.assert_close(recolour(images, torch.zeros(3, 10), everything), images, atol=1e-5, rtol=0)


@pytest.mark.parametrize(
    ("name", "adjust", "column"),
    [
        ("brightness", reference.adjust_brightness, 6),
        ("contrast", reference.adjust_contrast, 7),
        ("saturation", reference.adjust_saturation, 8),
    ],
)
def test_brightness_contrast_and_saturation_are_those_of_torchvision(name: str, adjust: object, column: int) -> None:
    draws = torch.zeros(3, 10)
    draws[:, column] = torch.tensor([-1.0, 0.3, 0.8])
    found = recolour(mild(), draws, ColourJitter(**{name: 0.5}))
    for image, result, factor in zip(mild(), found, (0.5, 1.15, 1.4), strict=True):
        torch.testing.assert_close(result, adjust(image, factor), atol=1e-5, rtol=0)  # type: ignore[operator]  # one of the three


def test_together_they_are_applied_in_the_documented_order() -> None:
    draws = torch.zeros(3, 10)
    draws[:, 6:9] = torch.tensor([0.5, -0.5, 1.0])
    found = recolour(mild(), draws, ColourJitter(brightness=0.2, contrast=0.2, saturation=0.2))
    for image, result in zip(mild(), found, strict=True):
        wanted = reference.adjust_brightness(image, 1.1)
        wanted = reference.adjust_saturation(reference.adjust_contrast(wanted, 0.9), 1.2)
        torch.testing.assert_close(result, wanted, atol=1e-5, rtol=0)


def test_a_third_of_the_circle_takes_red_to_green_and_grey_stays() -> None:
    draws = torch.zeros(3, 10)
    draws[:, 9] = 1
    found = recolour(mild(), draws, ColourJitter(hue=1 / 3))
    torch.testing.assert_close(found, mild()[:, [2, 0, 1]], atol=1e-5, rtol=0)
    grey = mild()[:, :1].expand(-1, 3, -1, -1)
    torch.testing.assert_close(recolour(grey, draws, ColourJitter(hue=0.2)), grey, atol=1e-5, rtol=0)


def test_stains_are_moved_as_colour_deconvolution_says() -> None:
    # skimage keeps the vectors as they are; their lengths scale the stains only.
    from skimage.color.colorconv import rgb_from_hed

    unit = rgb_from_hed / np.linalg.norm(rgb_from_hed, axis=1, keepdims=True)
    draws = torch.tensor([[0.5, -1.0, 0.2, 0.1, 0.0, -0.3, 0, 0, 0, 0]])
    image = mild(1)
    found = recolour(image, draws, ColourJitter(stain=0.1))
    stains = -np.log(image[0].permute(1, 2, 0).numpy().astype(np.float64)) @ np.linalg.inv(unit)
    moved = stains * (1 + 0.1 * draws[0, :3].numpy()) + 0.1 * draws[0, 3:6].numpy()
    np.testing.assert_allclose(found[0].permute(1, 2, 0), np.exp(-moved @ unit), atol=1e-5)


def test_colours_stay_in_range_whatever_is_drawn() -> None:
    generator = torch.Generator().manual_seed(5)
    images = torch.rand((64, 3, 8, 8), generator=generator).round()
    found = recolour(images, draw_colours(64, generator), ColourJitter(0.5, 1, 1, 1, 0.5))
    assert found.isfinite().all() and found.min() >= 0 and found.max() <= 1
    draws = draw_colours(2000, generator)
    assert draws.shape == (2000, 10) and draws.min() >= -1 and draws.max() < 1
    assert stats.kstest(draws.ravel().numpy(), "uniform", args=(-1, 2)).pvalue > 1e-3
