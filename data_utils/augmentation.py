"""Crop, resize, flip and recolour a batch at once: resampling and colour changes as batched matrix products."""

from __future__ import annotations

import math
from dataclasses import astuple, dataclass

import torch
from torch import Tensor
from torch.nn.functional import interpolate

ATTEMPTS = 10
"""Number of draws before the central crop, as in torchvision.transforms.RandomResizedCrop.get_params."""

LARGE = 96 * 96
"""Number of pixels of a frame from which the CPU cuts and resizes image by image: half the products would lie outside the crops.

Measured on one core, ms an image, together / one by one: 48 to 32 px .10 / .12, 128 to 64 px .43 / .24, 360 to 64 px 3 / .7,
575 to 224 px 20 / 2. An accelerator always multiplies the whole batch."""


def draw_crops(
    sizes: Tensor,
    generator: torch.Generator,
    scale: tuple[float, float] = (0.08, 1.0),
    ratio: tuple[float, float] = (0.75, 4 / 3),
) -> Tensor:
    """Draw one crop for every image, as torchvision's RandomResizedCrop does, for the whole batch at once.

    Each image takes the same number of random values whatever happens, so draws depend on the generator and the sizes.

    Args:
        sizes: int64 (B, 2), height and width of every image, px.
        generator: source of randomness; draws are made on its device.
        scale: range of the crop's share of the image area.
        ratio: range of the crop's width divided by its height.

    Returns:
        int64 (B, 4) on the device of `sizes`: top, left, height, width, px.
    """
    device = generator.device
    heights, widths = sizes.to(device=device, dtype=torch.float64).unbind(1)
    uniform = torch.rand((len(sizes), 2 * ATTEMPTS + 2), generator=generator, device=device, dtype=torch.float64)
    area = (heights * widths)[:, None] * (scale[0] + (scale[1] - scale[0]) * uniform[:, :ATTEMPTS])
    low, high = torch.log(torch.tensor(ratio, dtype=torch.float64)).tolist()
    aspect = torch.exp(low + (high - low) * uniform[:, ATTEMPTS : 2 * ATTEMPTS])
    tried_widths = torch.round(torch.sqrt(area * aspect))
    tried_heights = torch.round(torch.sqrt(area / aspect))
    fits = (
        (tried_widths > 0)
        & (tried_widths <= widths[:, None])
        & (tried_heights > 0)
        & (tried_heights <= heights[:, None])
    )
    first = fits.to(torch.int8).argmax(dim=1, keepdim=True)
    found = fits.any(dim=1)
    # Central fallback: the largest crop whose ratio is allowed.
    image_ratio = widths / heights
    central_widths = torch.where(image_ratio > ratio[1], torch.round(heights * ratio[1]), widths)
    central_heights = torch.where(image_ratio < ratio[0], torch.round(widths / ratio[0]), heights)
    crop_widths = torch.where(found, tried_widths.gather(1, first)[:, 0], central_widths)
    crop_heights = torch.where(found, tried_heights.gather(1, first)[:, 0], central_heights)
    free_rows, free_columns = heights - crop_heights, widths - crop_widths
    tops = torch.where(found, torch.floor(uniform[:, -2] * (free_rows + 1)), torch.floor(free_rows / 2))
    lefts = torch.where(found, torch.floor(uniform[:, -1] * (free_columns + 1)), torch.floor(free_columns / 2))
    return torch.stack([tops, lefts, crop_heights, crop_widths], dim=1).to(device=sizes.device, dtype=torch.int64)


def draw_flips(count: int, generator: torch.Generator, probability: float = 0.5) -> Tensor:
    """Draw which images are mirrored.

    Returns:
        bool (count,) on the generator's device.
    """
    return torch.rand(count, generator=generator, device=generator.device) < probability


def whole_images(sizes: Tensor) -> Tensor:
    """Return the crops that take every image whole: int64 (B, 4) for sizes (B, 2) of heights and widths."""
    return torch.cat([torch.zeros_like(sizes), sizes], dim=1)


def resample(images: Tensor, boxes: Tensor, flips: Tensor | None, size: int | tuple[int, int]) -> Tensor:
    """Cut the boxes out of the images and resize them, bilinear and antialiased.

    Equal to torchvision's `v2.functional.resized_crop(image, ..., antialias=True)` on float images. The triangle filter
    is separable: one matrix takes the rows of the box to the rows of the result, another the columns.

    Args:
        images: uint8 (B, H, W, 3), smaller images padded at the bottom and right; padding is never read.
        boxes: int64 (B, 4), top, left, height, width, px; each inside its image.
        flips: bool (B,), true mirrors left and right; None mirrors none.
        size: side of the result, or its height and width, px.

    Returns:
        float32 (B, 3, height, width) in [0, 1], on the device of `images`.
    """
    target = (size, size) if isinstance(size, int) else size
    rows, columns = images.shape[1:3]
    # torch 2.14.1 reads the wrong pixels for results that are one pixel wide.
    if images.device.type == "cpu" and rows * columns >= LARGE and min(target) > 1:
        return _resample_one_by_one(images, boxes, flips, target)
    edges = boxes.to(device=images.device, dtype=torch.float32)
    by_row = _filter_matrices(edges[:, 0], edges[:, 2], rows, target[0]) / 255
    by_column = _filter_matrices(edges[:, 1], edges[:, 3], columns, target[1])
    if flips is not None:
        by_column = torch.where(flips.to(images.device)[:, None, None], by_column.flip(1), by_column)
    return _multiply(images, by_row, by_column)


def _resample_one_by_one(images: Tensor, boxes: Tensor, flips: Tensor | None, size: tuple[int, int]) -> Tensor:
    """Resample by torch's own antialiased filter, which passes over a crop once but knows no batch of boxes."""
    resized = torch.empty(len(images), 3, *size)
    for i, (top, left, high, wide) in enumerate(boxes.tolist()):
        crop = images[i, top : top + high, left : left + wide].permute(2, 0, 1)[None].float()
        resized[i] = interpolate(crop, size, mode="bilinear", antialias=True)[0]
    if flips is not None:
        mirrored = flips.to(images.device)
        resized[mirrored] = resized[mirrored].flip(3)
    return resized.div_(255).clamp_(0, 1)


def _multiply(images: Tensor, by_row: Tensor, by_column: Tensor) -> Tensor:
    """Apply filters (B, height, H) and (B, width, W) to images (B, H, W, 3); returns (B, 3, height, width)."""
    batch, rows, columns, channels = images.shape
    height, width = by_row.shape[1], by_column.shape[1]
    pixels = images.to(torch.float32, memory_format=torch.contiguous_format).reshape(batch, rows, columns * channels)
    reduced = torch.bmm(by_row, pixels).reshape(batch, height, columns, channels)
    planes = reduced.permute(0, 3, 1, 2).reshape(batch, channels * height, columns)
    result = torch.bmm(planes, by_column.transpose(1, 2))
    # Rounding may leave a weight sum one unit in the last place above one.
    return result.reshape(batch, channels, height, width).clamp_(0, 1)


def _filter_matrices(starts: Tensor, lengths: Tensor, source: int, target: int) -> Tensor:
    """Return triangle filters, float32 (B, target, source), that take `lengths` pixels from `starts` to target pixels.

    The filter of Pillow and torch: as wide as the reduction when it shrinks, plain linear interpolation when it
    enlarges, cut off at the edges of the crop and normalised.
    """
    step = (lengths / target)[:, None, None]
    centres = step * (torch.arange(target, device=starts.device) + 0.5)[None, :, None]
    positions = torch.arange(source, device=starts.device)[None, None, :] + 0.5 - starts[:, None, None]
    weights = (1 - (positions - centres).abs() / step.clamp(min=1)).clamp_(min=0)
    weights = weights * ((positions > 0) & (positions < lengths[:, None, None]))
    return weights / weights.sum(dim=2, keepdim=True)


STAINS = ((0.65, 0.70, 0.29), (0.07, 0.99, 0.11), (0.27, 0.57, 0.78))
"""Optical density of haematoxylin, eosin and a third stain (rows) in red, green and blue: Ruifrok and Johnston 2001,
"Quantification of histochemical staining by color deconvolution". Giemsa's azure and eosin lie close to the first two."""

_DARKEST = 1 / 255
"""Brightness that a pixel is raised to before its logarithm is taken."""

_LUMA = (0.2989, 0.587, 0.114)
"""Grey of a colour (ITU-R BT.601), with torchvision's digits."""


@dataclass(frozen=True)
class ColourJitter:
    """How far colours are moved at random, each image by itself; 0 leaves them as they are."""

    stain: float = 0.0
    """Sigma: each stain's density is multiplied with 1 +- sigma and moved by +- sigma (Tellez et al. 2018, "Whole-slide mitosis
    detection in H&E breast histology using PHH3 as a reference to train distilled stain-invariant convolutional networks")."""
    brightness: float = 0.0
    """Colours are multiplied with 1 +- this."""
    contrast: float = 0.0
    """The distance of each pixel from the image's mean grey is multiplied with 1 +- this."""
    saturation: float = 0.0
    """The distance of each pixel from its own grey is multiplied with 1 +- this."""
    hue: float = 0.0
    """Colours are turned around the grey axis by +- this share of a circle."""

    @property
    def is_on(self) -> bool:
        """Whether any colour is moved."""
        return any(astuple(self))


def draw_colours(count: int, generator: torch.Generator) -> Tensor:
    """Draw how colours are moved, for `recolour`: float32 (count, 10) in [-1, 1), always as many, on the generator's device."""
    return 2 * torch.rand((count, 10), generator=generator, device=generator.device) - 1


def recolour(images: Tensor, draws: Tensor, jitter: ColourJitter) -> Tensor:
    """Move the stains, then brightness, contrast, saturation and hue of each image.

    Brightness, contrast and saturation are those of torchvision's ColorJitter, in this order and limited to [0, 1] at the end.
    Hue is turned around the grey axis of the colour cube: one matrix for an image. A third of a circle takes red to green.

    Args:
        images: float32 (B, 3, H, W) in [0, 1].
        draws: (B, 10) in [-1, 1], as `draw_colours` gives them.
        jitter: how far a draw of 1 moves the colours.

    Returns:
        float32 (B, 3, H, W) in [0, 1]; the images themselves where nothing is moved.
    """
    if not jitter.is_on:
        return images
    draws = draws.to(images.device)
    if jitter.stain:
        images = _restain(images, draws[:, 0:3] * jitter.stain + 1, draws[:, 3:6] * jitter.stain)
    luma = torch.tensor(_LUMA, device=images.device)
    factors = (1 + draws[:, 6:9] * images.new_tensor([jitter.brightness, jitter.contrast, jitter.saturation])).clamp(
        min=0
    )
    # Each step is an affine map of colours (B, 3, 3): x -> matrix x + offset; only the mean grey has to be measured.
    matrix = factors[:, 0, None, None] * torch.eye(3, device=images.device)
    mean_grey = factors[:, 0] * torch.einsum("c,bchw->b", luma, images) / images[0, 0].numel()
    matrix = factors[:, 1, None, None] * matrix
    offset = ((1 - factors[:, 1]) * mean_grey)[:, None].expand(-1, 3)
    saturate = factors[:, 2, None, None] * torch.eye(3, device=images.device)
    saturate = saturate + (1 - factors[:, 2])[:, None, None] * luma.expand(3, 3)
    turn = _turn(draws[:, 9] * jitter.hue) @ saturate
    matrix, offset = turn @ matrix, (turn @ offset[:, :, None])[:, :, 0]
    return (torch.einsum("bdc,bchw->bdhw", matrix, images) + offset[:, :, None, None]).clamp_(0, 1)


def _restain(images: Tensor, factors: Tensor, shifts: Tensor) -> Tensor:
    """Multiply (B, 3) and move (B, 3) the stains that optical densities are made of: one matrix for each image."""
    stains = torch.tensor(STAINS, device=images.device)
    # Rows of stains are unit vectors of optical density, as Ruifrok and Johnston normalise them.
    stains = stains / stains.norm(dim=1, keepdim=True)
    matrix = torch.linalg.inv(stains) @ (factors[:, :, None] * stains)
    density = -images.clamp(min=_DARKEST).log()
    moved = torch.einsum("bcd,bchw->bdhw", matrix, density) + (shifts @ stains)[:, :, None, None]
    restained: Tensor = (-moved).exp().clamp_(0, 1)
    return restained


def _turn(share: Tensor) -> Tensor:
    """Return rotations (B, 3, 3) around the grey axis by shares of a circle (B,), by Rodrigues' formula."""
    angle = (2 * math.pi * share)[:, None, None]
    one = torch.full((3, 3), 1 / 3, device=share.device)
    side = 1 / math.sqrt(3)
    cross = torch.tensor([[0.0, -side, side], [side, 0.0, -side], [-side, side, 0.0]], device=share.device)
    turn: Tensor = angle.cos() * torch.eye(3, device=share.device) + angle.sin() * cross + (1 - angle.cos()) * one
    return turn
