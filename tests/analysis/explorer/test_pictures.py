"""Pictures from the user's folder, and nothing else."""

from __future__ import annotations

import io
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from analysis import StudyError, load_study
from analysis.explorer.pictures import PictureFolder, pictures_in_cell


def with_pictures(directory: Any, root: Path) -> Path:
    """A study whose first validation images are files below ``<root>/wbc``."""
    directory.add_images("val")
    directory.config["data"] = {"source": "folder", "root": str(root)}
    for row in directory.images:
        path = root / "wbc" / row["path"]
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (400, 300), (200, 10, 10)).save(path, "PNG")
    return directory.save()


def test_a_picture_is_found_in_the_folder_below_the_root_and_reduced(
    run_directory: Callable[..., Any], tmp_path: Path
) -> None:
    study = load_study(with_pictures(run_directory(), tmp_path / "data"))
    folder = PictureFolder(study)
    assert folder.folder == (tmp_path / "data" / "wbc").resolve()
    with Image.open(io.BytesIO(folder.read("val/Basophil/000000"))) as picture:
        assert picture.format == "PNG"
        assert picture.size == (320, 240)


@pytest.mark.parametrize("path", ["../secret.png", "val/../../secret.png", "/etc/passwd", "link"])
def test_a_path_cannot_leave_the_folder(run_directory: Callable[..., Any], tmp_path: Path, path: str) -> None:
    study = load_study(with_pictures(run_directory(), tmp_path / "data"))
    Image.new("RGB", (4, 4)).save(tmp_path / "data" / "secret.png")
    (tmp_path / "data" / "wbc" / "link").symlink_to(tmp_path / "data" / "secret.png")
    with pytest.raises(StudyError, match="leads out of"):
        PictureFolder(study).read(path)


def test_what_is_no_picture_is_not_sent(run_directory: Callable[..., Any], tmp_path: Path) -> None:
    study = load_study(with_pictures(run_directory(), tmp_path / "data"))
    (tmp_path / "data" / "wbc" / "page.png").write_text("<script>alert(1)</script>")
    folder = PictureFolder(study)
    for path in ("page.png", "val/Basophil/missing"):
        with pytest.raises(StudyError, match="cannot be shown"):
            folder.read(path)


def test_generated_or_moved_images_say_why_there_is_no_picture(
    run_directory: Callable[..., Any], finished: Path, tmp_path: Path
) -> None:
    assert "generated" in PictureFolder(load_study(finished)).reason
    path = with_pictures(run_directory("moved"), tmp_path / "data")
    (tmp_path / "data").rename(tmp_path / "new place")
    assert "--data" in PictureFolder(load_study(path)).reason
    assert PictureFolder(load_study(path), tmp_path / "new place").reason == ""


def test_images_of_a_cell_are_those_of_the_predictions(finished: Path) -> None:
    study = load_study(finished)
    rows = study.predictions[
        (study.predictions["trial_id"] == "0.01-off-c101") & (study.predictions["split"] == "test")
    ]
    expected = rows[(rows["label"] == 2) & (rows["predicted"] == 4)]
    found = pictures_in_cell(study, "0.01-off-c101", "test", 2, 4)
    assert len(found) == len(expected) > 0
    assert study.images["path"].iloc[found["row"]].tolist() == found["path"].tolist()
    assert set(found["image"]) == set(expected["image"])
