from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from data_utils import decoding
from data_utils.decoding import (
    content_hash,
    decode_image,
    decode_mask,
    decode_reduced,
    image_size,
    is_image,
    reduce_image,
)
from data_utils.errors import UnreadableImage


def test_only_visible_image_files_count() -> None:
    names = ["a.JPG", "b.tiff", "._a.jpg", ".hidden.png", "notes.txt", "Thumbs.db"]
    assert [is_image(Path(name)) for name in names] == [True, True, False, False, False, False]


@pytest.mark.parametrize("mode", ["L", "LA", "P", "RGBA", "CMYK", "1", "I;16"])
def test_every_common_mode_becomes_rgb(tmp_path: Path, mode: str) -> None:
    grey = np.tile(np.array([0, 255], np.uint8), (4, 3))
    if mode == "I;16":
        image = Image.fromarray(grey.astype(np.uint16) * 257)
        assert image.mode == mode
    else:
        image = Image.fromarray(grey).convert("RGB").convert(mode)
    path = tmp_path / "image.tif"
    image.save(path)
    assert np.array_equal(decode_image(path), np.repeat(grey[:, :, None], 3, axis=2))


def test_transparent_palette_becomes_rgb_without_a_warning(tmp_path: Path, recwarn: pytest.WarningsRecorder) -> None:
    image = Image.new("P", (4, 4))
    image.putpalette([10, 20, 30, 40, 50, 60])
    image.save(tmp_path / "image.png", transparency=b"\x00\xff")
    assert decode_image(tmp_path / "image.png")[0, 0].tolist() == [10, 20, 30]
    assert not recwarn.list


def test_orientation_of_the_camera_is_applied(tmp_path: Path) -> None:
    image = Image.fromarray(np.arange(36, dtype=np.uint8).reshape(3, 4, 3))
    exif = Image.Exif()
    exif[0x0112] = 6  # to be turned by 90 degrees clockwise
    image.save(tmp_path / "image.png", exif=exif)
    upright = decode_image(tmp_path / "image.png")
    assert np.array_equal(upright, np.rot90(np.asarray(image), -1))
    assert image_size(tmp_path / "image.png") == upright.shape[:2] == (4, 3)


@pytest.mark.parametrize("suffix", [".jpg", ".png", ".bmp", ".tif"])
def test_truncated_file_is_named(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"cut{suffix}"
    Image.fromarray(np.random.default_rng(0).integers(0, 256, (64, 64, 3), dtype=np.uint8)).save(path)
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    with pytest.raises(UnreadableImage, match="cut") as caught:
        decode_image(path)
    assert caught.value.path == str(path)


@pytest.mark.parametrize("content", [b"", b"this is text", b"\x89PNG\r\n\x1a\n" + b"\x00" * 40])
def test_file_that_is_no_image_is_named(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "fake.png"
    path.write_bytes(content)
    with pytest.raises(UnreadableImage, match=r"fake\.png"):
        decode_image(path)
    with pytest.raises(UnreadableImage, match=r"fake\.png"):
        image_size(path)


def test_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(UnreadableImage, match=r"none\.png.*No such file"):
        decode_image(tmp_path / "none.png")


def test_images_too_large_to_decode_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(decoding, "PIXEL_LIMIT", 100)
    Image.new("RGB", (11, 10)).save(tmp_path / "bomb.png")
    with pytest.raises(UnreadableImage, match="11x10 px, more than 100 pixels"):
        decode_image(tmp_path / "bomb.png")


def test_pillows_own_refusal_is_translated(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 40)
    Image.new("RGB", (10, 10)).save(tmp_path / "bomb.png")
    with pytest.raises(UnreadableImage, match="decompression bomb"):
        decode_image(tmp_path / "bomb.png")


@pytest.mark.parametrize(
    ("levels", "expected"),
    [
        ([0, 128, 255], [0, 128, 255]),
        ([5, 120, 250], [0, 128, 255]),
        ([0, 0, 255], [0, 0, 255]),
        ([0, 1, 1], [0, 255, 255]),
        ([0, 1, 2], [0, 128, 255]),
        ([0, 0, 0], [0, 0, 0]),
    ],
)
def test_mask_conventions(tmp_path: Path, levels: list[int], expected: list[int]) -> None:
    Image.fromarray(np.array([levels], np.uint8)).save(tmp_path / "mask.png")
    assert decode_mask(tmp_path / "mask.png").tolist() == [expected]


@pytest.mark.parametrize("palette", [[0, 0, 0, 128, 0, 0, 0, 128, 0], [0, 0, 0, 128, 128, 128, 255, 255, 255]])
def test_palette_masks_of_colours_and_of_greys(tmp_path: Path, palette: list[int]) -> None:
    image = Image.fromarray(np.array([[0, 1, 2]], np.uint8), mode="P")
    image.putpalette(palette)
    image.save(tmp_path / "mask.png")
    assert decode_mask(tmp_path / "mask.png").tolist() == [[0, 128, 255]]


def test_content_hash_tells_pixels_and_shape_apart() -> None:
    pixels = np.arange(24, dtype=np.uint8).reshape(2, 4, 3)
    assert content_hash(pixels) == content_hash(pixels.copy())
    assert content_hash(pixels) != content_hash(pixels.reshape(4, 2, 3))
    assert content_hash(pixels) != content_hash(pixels + 1)
    # A view that is not contiguous is hashed by its values.
    assert content_hash(pixels[:, ::-1]) == content_hash(pixels[:, ::-1].copy())


def test_reducing_keeps_the_ratio_and_masks_keep_their_levels() -> None:
    rng = np.random.default_rng(0)
    image = rng.integers(0, 256, (60, 91, 3), dtype=np.uint8)
    mask = rng.choice(np.array([0, 128, 255], np.uint8), (60, 91))
    small, small_mask = reduce_image(image, mask, 20)
    assert small.shape == (20, 30, 3)
    assert small_mask is not None
    assert small_mask.shape == (20, 30)
    assert set(np.unique(small_mask)) == {0, 128, 255}
    # Averaging nine pixels of noise reduces its spread; picking one of nine would not.
    assert small.std() < image.std() / 2


@pytest.mark.parametrize("mode", ["RGB", "L", "I;16", "RGBA"])
def test_decoding_and_reducing_at_once_gives_the_same_pixels(tmp_path: Path, mode: str) -> None:
    rng = np.random.default_rng(3)
    grey = rng.integers(0, 2**16, (61, 90), dtype=np.uint16)
    image = Image.fromarray(grey) if mode == "I;16" else Image.fromarray((grey >> 8).astype(np.uint8)).convert(mode)
    exif = Image.Exif()
    exif[0x0112] = 6  # turned
    image.save(tmp_path / "image.png", exif=exif)
    whole = decode_image(tmp_path / "image.png")
    assert whole.shape == (90, 61, 3)
    for shorter in (20, 61, 500):
        assert np.array_equal(decode_reduced(tmp_path / "image.png", shorter), reduce_image(whole, None, shorter)[0])


def test_smaller_images_are_not_enlarged() -> None:
    image = np.zeros((10, 30, 3), np.uint8)
    assert reduce_image(image, None, 10)[0] is image
