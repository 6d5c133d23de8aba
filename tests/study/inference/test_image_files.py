"""Which files are meant, and in which batches they come."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from data_utils.config import DataConfig
from study.errors import UsageError
from study.inference import image_files
from study.inference.image_files import FileBatches, find_images


def save(path: Path, height: int = 20, width: int = 20, value: int = 0) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", (width, height), (value, value, value)).save(path)
    return path


def test_files_folders_and_patterns_give_each_image_once_in_order(tmp_path: Path) -> None:
    a, b, c = (save(tmp_path / name) for name in ("b/a.png", "b/deep/b.png", "c.png"))
    (tmp_path / "b" / "notes.txt").write_text("no image")
    (tmp_path / "b" / "._a.png").write_text("of macOS")
    odd = tmp_path / "cell"
    odd.write_bytes(c.read_bytes())
    assert find_images([str(c), str(tmp_path / "b"), str(tmp_path)]) == [c, a, b]
    assert find_images([str(tmp_path / "**" / "*.png")]) == [a, b, c]
    # A file that is named is meant, whatever it is called.
    assert find_images([str(odd)]) == [odd]


def test_a_place_without_images_is_refused_by_name(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    for place in ("empty", "nothing.png", "*.jpg"):
        with pytest.raises(UsageError, match=place.replace("*", r"\*")):
            find_images([str(tmp_path / place)])


def config(**data: object) -> DataConfig:
    return DataConfig.model_validate({"image_size": 16, **data})


def test_images_of_the_original_size_come_in_batches_of_one_size(tmp_path: Path) -> None:
    paths = [save(tmp_path / f"{i}.png", height=20 + 4 * (i % 2), value=i) for i in range(6)]
    paths.append(save(tmp_path / "small.png", height=9))
    batches = FileBatches(paths, config(validation_size="original"), torch.device("cpu"), hashes=True)
    found = {tuple(batch.positions): tuple(batch.images.shape) for batch in batches}
    assert found == {(0, 2, 4): (3, 3, 20, 20), (1, 3, 5): (3, 3, 24, 20)}
    assert batches.unreadable == {6: "20x9 px, and this study looks at images of at least 16 px"}


def test_batches_end_before_padding_fills_the_memory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    # A tall and a wide image would be padded to a large square.
    monkeypatch.setattr(image_files, "_PIXELS_WAITING", 10_000)
    paths = [
        save(tmp_path / "a.png", 200, 20, 50),
        save(tmp_path / "b.png", 20, 200, 100),
        save(tmp_path / "c.png", 20, 20, 150),
    ]
    batches = list(FileBatches(paths, config(), torch.device("cpu")))
    assert [batch.positions for batch in batches] == [[0], [1, 2]]
    values = torch.cat([batch.images for batch in batches]).mean(dim=(1, 2, 3))
    np.testing.assert_allclose(values, np.array([50, 100, 150]) / 255, atol=1e-6)
    assert batches[0].contents == []
