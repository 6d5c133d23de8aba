"""Large unlabelled images are read tile by tile."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from data_utils.errors import UnreadableImage
from tests.data_utils.sources.conftest import opened

Write = Callable[..., Path]


def test_unlabelled_images_are_cut_into_tiles_that_cover_them(tmp_path: Path, write: Write) -> None:
    path = write(tmp_path / "pRCC" / "slides" / "a.png", 1, (100, 70))
    write(tmp_path / "pRCC" / "small.png", 2, (30, 30))
    source = opened(tmp_path, "prcc", tile_size=40)
    assert [item.path for item in source.items] == [
        *(f"slides/a.png#{row}-{column}" for row in range(3) for column in range(2)),
        "small.png",
    ]
    assert {item.group for item in source.items} == {"slides/a.png", "small.png"}
    assert {item.label for item in source.items} == {-1}
    whole = np.asarray(Image.open(path))
    tiles = [source.read(i) for i in range(6)]
    assert {tile.shape for tile in tiles} == {(34, 35, 3)}
    assert np.array_equal(tiles[0], whole[:34, :35])
    assert np.array_equal(tiles[5], whole[66:, 35:])
    assert np.array_equal(tiles[2], whole[33:67, :35])
    assert source.read(6).shape == (30, 30, 3)


def test_an_unlabelled_file_that_cannot_be_read_is_named_when_read(tmp_path: Path) -> None:
    (tmp_path / "prcc").mkdir()
    (tmp_path / "prcc" / "bad.png").write_bytes(b"no image")
    source = opened(tmp_path, "prcc")
    with pytest.raises(UnreadableImage, match=r"bad\.png"):
        source.read(0)
