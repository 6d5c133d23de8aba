"""Images and masks as they are decoded, reduced and stored."""

from pathlib import Path

import pytest
from PIL import Image

from data_utils.cache import prepare
from data_utils.config import DataConfig
from data_utils.errors import DataError, UnreadableImage
from tests.data_utils.conftest import with_settings


def test_unreadable_files_stop_or_are_skipped_and_listed(config: DataConfig, root: Path) -> None:
    image = root / "wbc" / "train" / "data" / "Monocyte" / "5.png"
    image.write_bytes(image.read_bytes()[:200])
    mask = root / "wbc" / "train" / "mask" / "Monocyte" / "0.png"
    mask.write_bytes(b"no mask")
    with pytest.raises(UnreadableImage, match="Monocyte"):
        prepare(config, "wbc")
    arrays = prepare(with_settings(config, unreadable="skip"), "wbc")
    assert [path for path, _ in arrays.unreadable] == [str(mask), str(image)]
    assert len(arrays) == 59
    row = arrays.paths.tolist().index("train/data/Monocyte/0.png")
    assert arrays.mask(row) is None


def test_a_mask_of_another_size_is_named(config: DataConfig, root: Path) -> None:
    Image.new("L", (5, 6)).save(root / "wbc" / "train" / "mask" / "Monocyte" / "0.png")
    with pytest.raises(
        DataError, match=r"Monocyte/0\.png: its mask is 5x6 px, the image 24x20 px.*mask/Monocyte/0\.png"
    ):
        prepare(config, "wbc")


def test_images_are_reduced_when_stored(config: DataConfig) -> None:
    arrays = prepare(with_settings(config, stored_size=10), "wbc")
    assert arrays.image(0).shape == (10, 12, 3)
    mask = arrays.mask(0)
    assert mask is not None
    assert mask.shape == (10, 12)
