"""A labelled contact sheet that shows what the images of each class look like."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw

from data_utils.errors import UnreadableImage
from data_utils.sources.source import Source

THUMBNAIL = 96
"""Side of a thumbnail, px."""

_LABEL_WIDTH = 120
_GAP = 4


def preview(source: Source, path: Path, per_class: int = 6) -> Path:
    """Write a PNG with a row for each class: training images at even distances, masks to the right of their images.

    Up to half of a row's images are ones with masks, where there are any. A file that cannot be read is crossed out.

    Args:
        source: the images of a domain.
        path: where the PNG is written; missing folders are made.
        per_class: images in a row.

    Returns:
        The path that was written.
    """
    rows = []
    for label, name in enumerate(source.classes) if source.classes else [(-1, "unlabelled")]:
        members = [i for i, item in enumerate(source.items) if item.split == "train" and item.label == label]
        masked = [i for i in members if source.has_mask(i)]
        chosen = _spread(masked, per_class // 2)
        chosen += _spread([i for i in members if i not in set(chosen)], per_class - len(chosen))
        tiles = []
        for i in chosen:
            try:
                tiles.append(_fit(Image.fromarray(source.read(i)), Image.Resampling.LANCZOS))
                mask = source.read_mask(i)
            except UnreadableImage:
                # A picture of the data shows damaged files too; preparing the data stops or skips them as configured.
                tiles.append(_cross_out())
                continue
            if mask is not None:
                tiles.append(_fit(Image.fromarray(mask).convert("RGB"), Image.Resampling.NEAREST))
        rows.append((f"{name}\n{len(members)} in train\n{len(masked)} with mask", tiles))
    step = THUMBNAIL + _GAP
    longest = max(len(tiles) for _, tiles in rows)
    sheet = Image.new("RGB", (_LABEL_WIDTH + step * longest + _GAP, step * len(rows) + _GAP), "white")
    draw = ImageDraw.Draw(sheet)
    for row, (text, tiles) in enumerate(rows):
        top = _GAP + row * step
        draw.multiline_text((2 * _GAP, top + _GAP), text, fill="black", spacing=_GAP)
        for column, tile in enumerate(tiles):
            sheet.paste(tile, (_LABEL_WIDTH + column * step, top))
    path.parent.mkdir(parents=True, exist_ok=True)
    sheet.save(path, format="PNG")
    return path


def _spread(indices: list[int], count: int) -> list[int]:
    if len(indices) <= count:
        return list(indices)
    return [indices[int(i)] for i in np.linspace(0, len(indices) - 1, count).round()]


def _fit(image: Image.Image, method: Image.Resampling) -> Image.Image:
    tile = Image.new("RGB", (THUMBNAIL, THUMBNAIL), "lightgrey")
    factor = THUMBNAIL / max(image.size)
    size = (max(1, round(image.width * factor)), max(1, round(image.height * factor)))
    tile.paste(image.resize(size, method), ((THUMBNAIL - size[0]) // 2, (THUMBNAIL - size[1]) // 2))
    return tile


def _cross_out() -> Image.Image:
    tile = Image.new("RGB", (THUMBNAIL, THUMBNAIL), "lightgrey")
    draw = ImageDraw.Draw(tile)
    draw.line((0, 0, THUMBNAIL, THUMBNAIL), fill="red", width=2)
    draw.line((0, THUMBNAIL, THUMBNAIL, 0), fill="red", width=2)
    return tile
