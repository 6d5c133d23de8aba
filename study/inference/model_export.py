"""An arm's confirmed models as files for others: ONNX, checked against PyTorch, and a model card."""

from __future__ import annotations

import math
import re
import tempfile
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from PIL import Image

from analysis.explorer.pictures import PictureFolder
from analysis.records.errors import StudyError
from analysis.records.study import load_study
from analysis.report.model_card import model_card
from analysis.statistics.calibration import ensemble_temperature
from data_utils.config import DataConfig
from data_utils.decoding import decode_image
from data_utils.sources.opening import open_source
from study.config.files import check_config
from study.errors import UsageError
from study.inference.confirmed_models import load_arm
from study.inference.onnx_export import check_onnx, export_onnx
from study.inference.prediction import FilePredictions, predict
from study.storage.durable import write_durably

if TYPE_CHECKING:
    from analysis.records.study import Study
    from study.storage.run_directory import RunDirectory

_OF_EACH_CLASS = 8
"""Largest number of the study's validation images of a class on which an exported file is compared with PyTorch."""


@dataclass(frozen=True)
class ExportedModel:
    """Files that were written, and how well they agree with PyTorch."""

    model: Path
    card: Path
    images: int
    """Number of images on which the file was compared with PyTorch."""
    difference: float
    """Largest absolute difference of a probability."""


def export_model(
    directory: RunDirectory,
    *,
    arm: str | None = None,
    seed: int | None = None,
    out: Path | None = None,
    images: Sequence[Path] = (),
) -> ExportedModel:
    """Write ``model.onnx`` and ``MODEL_CARD.md``.

    Args:
        directory: Run directory of a study with confirmed runs.
        arm: Name of the arm; when None the best on validation.
        seed: Seed of one confirmed run; when None the mean of all runs of the arm.
        out: Folder; when None ``exports/<arm>`` in the run directory.
        images: Files to compare on, beside drawn cells of several sizes and some of the study's own validation images, where
            they still are.

    Raises:
        UsageError: no such arm or seed, or the extra ``export`` is missing.
        StudyFailed: the file does not agree with PyTorch.
    """
    study = load_study(directory.folder)
    config = check_config(study.config, str(directory.config_file))
    models = load_arm(directory, study, config, arm, seed)
    if models.models[0].arm.control == "classical":
        raise UsageError(
            "the control `classical` describes images with scikit-image and cannot be exported. Choose another --arm"
        )
    name, seeds = models.models[0].arm.name, [model.seed for model in models.models]
    temperature = ensemble_temperature(study, [model.trial_id for model in models.models])
    folder = out or directory.folder / "exports" / re.sub(r"[^\w.()+-]", "_", name)
    target, card = folder / "model.onnx", folder / "MODEL_CARD.md"
    about = {"study": study.name, "arm": name, "seeds": seeds, "warning": "Not for diagnosis."}
    # What an earlier export left stays until the new file has been compared.
    unchecked = folder / ".unchecked.onnx"
    try:
        export_onnx(models, config.data, temperature, unchecked, about)
        with tempfile.TemporaryDirectory() as drawn:
            files = [*_draw_cells(Path(drawn)), *own_images(study), *images]
            predicted = predict(directory, files, arm=name, seed=seed, device="cpu")
            compared, difference = _compare(unchecked, predicted, models.classes)
        unchecked.replace(target)
    finally:
        unchecked.unlink(missing_ok=True)
    write_durably(card, model_card(study, name, seeds, temperature).encode())
    return ExportedModel(target, card, compared, difference)


def own_images(study: Study) -> list[Path]:
    """Files of some validation images of each class, where the study's images are files in a folder and still there."""
    pictures, files = PictureFolder(study), []
    for _, paths in study.images[study.images["split"] == "val"].groupby("label")["path"]:
        there: list[Path] = []
        for path in paths:
            with suppress(StudyError):  # no folder, or the path leads out of it
                there.append(pictures.locate(path))
        there = [file for file in there if file.is_file()]
        files += there[:: max(1, math.ceil(len(there) / _OF_EACH_CLASS))]
    return files


def _compare(file: Path, predicted: FilePredictions, classes: Sequence[str]) -> tuple[int, float]:
    """Compare an exported file with PyTorch: number of images that can be read, and largest difference of a probability."""
    read = predicted.table[predicted.table["error"] == ""]
    pixels = [decode_image(Path(path)) for path in read["file"]]
    plain, calibrated = (
        read[[f"{kind}_{name.lower()}" for name in classes]].to_numpy() for kind in ("p", "calibrated")
    )
    return len(read), check_onnx(file, pixels, plain, calibrated)


def _draw_cells(folder: Path) -> list[Path]:
    """Drawn cells of three sizes, one of each class."""
    files = []
    for size in (24, 96, 300):
        # The smallest number that the source draws; all that matters is that the images are not uniform.
        source = open_source(DataConfig.model_validate({"synthetic": {"train": 10, "test": 0, "size": size}}), "wbc")
        first = {item.label: number for number, item in reversed(list(enumerate(source.items)))}
        for label, number in sorted(first.items()):
            path = folder / f"{size}-{label}.png"
            # Not square, as cut-out cells are.
            Image.fromarray(source.read(number)[: size - size // 8]).save(path)
            files.append(path)
    return files
