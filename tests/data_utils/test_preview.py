from pathlib import Path

import numpy as np
from PIL import Image

from data_utils.config import DataConfig
from data_utils.preview import THUMBNAIL, preview
from data_utils.sources.opening import open_source


def test_sheet_shows_images_beside_their_masks(config: DataConfig, tmp_path: Path) -> None:
    source = open_source(config, "wbc")
    path = preview(source, tmp_path / "new" / "sheet.png", per_class=4)
    sheet = np.asarray(Image.open(path))
    # Five rows; four images and two masks in each.
    assert sheet.shape[0] // THUMBNAIL == 5
    assert (sheet.shape[1] - 120) // THUMBNAIL == 6
    # The stripes of the first mask, in the second tile of the first row.
    left = 120 + THUMBNAIL + 4
    centre = sheet[4 + THUMBNAIL // 2, left : left + THUMBNAIL]
    assert set(np.unique(centre)) == {0, 128, 255}


def test_unlabelled_images_make_one_row(tmp_path: Path) -> None:
    path = preview(open_source(DataConfig(), "prcc"), tmp_path / "sheet.png", per_class=3)
    assert Image.open(path).size[1] // THUMBNAIL == 1


def test_an_unreadable_file_is_crossed_out(config: DataConfig, root: Path, tmp_path: Path) -> None:
    (root / "wbc" / "train" / "data" / "Basophil" / "0.png").write_bytes(b"no image")
    path = preview(open_source(config, "wbc"), tmp_path / "sheet.png", per_class=2)
    colours = np.asarray(Image.open(path)).reshape(-1, 3)
    assert np.any(np.all(colours == (255, 0, 0), axis=1))
