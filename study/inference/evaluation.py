"""The confirmed models of a study on the labelled images of another data set."""

from __future__ import annotations

import hashlib
import json
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from analysis.records.schema import EVALUATION_COLUMNS, EVALUATION_IMAGE_COLUMNS
from analysis.records.study import load_study
from data_utils.sources.labelled_files import find_labelled
from study.config.files import check_config
from study.errors import UsageError
from study.inference.confirmed_models import ConfirmedModels, choose_arm, load_confirmed
from study.inference.image_files import FileBatches
from study.inference.probabilities import score_batches
from study.storage.durable import write_durably
from study.storage.provenance import describe_environment
from study.storage.records import write_table
from study.training.device import find_device

if TYPE_CHECKING:
    import pandas as pd

    from study.storage.run_directory import RunDirectory


def evaluate(
    directory: RunDirectory,
    data: Path,
    *,
    name: str | None = None,
    device: str | None = None,
    tell: Callable[[int, int], None] = lambda *_: None,
) -> str:
    """Score every confirmed model on a labelled folder and store what each of them says in the run directory.

    Images are prepared as the study's validation images were. An image that the study itself has, in any split, is left out. An
    image that the folder has several times counts once, or not at all where its labels contradict each other. An evaluation of
    the same name is replaced. The control ``shuffled`` is left out: it looks at other images of its study.

    Args:
        directory: Run directory of a study with confirmed runs.
        data: Folder with ``<Class>/``, ``data/<Class>/`` or ``<split>/data/<Class>/``.
        name: The evaluation's name; the folder's name when None.
        device: ``cpu`` or ``cuda``; when None the accelerator, or the CPU where there is none.
        tell: Called with the number of files that are done and the number of all files.

    Returns:
        The evaluation's name.

    Raises:
        DataError: the folder is not as expected.
        UsageError: the study has no confirmed runs, or no image is left to evaluate.
    """
    study = load_study(directory.folder)
    choose_arm(study, None)
    root = data.expanduser()
    name = name or root.resolve().name
    _check_name(name)
    config = check_config(study.config, str(directory.config_file))
    labelled = find_labelled(root, study.classes)
    files, labels = [path for path, _ in labelled], [label for _, label in labelled]
    place = find_device(device)
    runs = study.confirmed[study.confirmed["control"] != "shuffled"]
    models = load_confirmed(directory, config, runs, study.classes).to(place)
    batches = FileBatches(files, config.data, place, hashes=True)
    contents, probabilities = _score_files(models, batches, tell)
    kept, left_out = _choose_images(contents, labels, study.images)
    if not kept:
        raise UsageError(f"{data}: none of its {len(files)} images is left to evaluate: {_list_counts(left_out)}")
    relative = [path.relative_to(root).as_posix() for path in files]
    images = [{"image": contents[row], "path": relative[row], "label": labels[row]} for row in kept]
    trials = [model.trial_id for model in models.models]
    about = {
        "name": name,
        "data": str(root.absolute()),
        "fingerprint": _fingerprint([contents[row] for row in kept]),
        "images": len(images),
        "left_out": left_out,
        "unreadable": {relative[position]: reason for position, reason in sorted(batches.unreadable.items())},
        "trials": trials,
    }
    predictions = _prediction_rows(trials, images, probabilities[:, kept])
    _write_evaluation(directory.folder / "evaluations" / name, images, predictions, about)
    return name


def _score_files(
    models: ConfirmedModels, batches: FileBatches, tell: Callable[[int, int], None]
) -> tuple[list[str], NDArray[np.float32]]:
    """Content hash of each of the N files, empty where it cannot be read, and probabilities of the M models, (M, N, C)."""
    count = len(batches.paths)
    contents = [""] * count
    probabilities = np.zeros((len(models.models), count, len(models.classes)), dtype=np.float32)
    done = 0
    for batch, scored in score_batches(models, batches, batches.device):
        probabilities[:, batch.positions] = scored.numpy()
        for position, content in zip(batch.positions, batch.contents, strict=True):
            contents[position] = content
        done += len(batch.positions)
        tell(done + len(batches.unreadable), count)
    return contents, probabilities


def _prediction_rows(
    trials: Sequence[str], images: Sequence[Mapping[str, Any]], probabilities: NDArray[np.float32]
) -> list[dict[str, Any]]:
    """Rows of the evaluation's predictions: every trial's probabilities, (M, N, C), of every image."""
    return [
        {
            "trial_id": trial_id,
            "image": image["image"],
            "label": image["label"],
            "probabilities": [float(p) for p in answer],
        }
        for trial_id, answers in zip(trials, probabilities, strict=True)
        for image, answer in zip(images, answers, strict=True)
    ]


def _write_evaluation(
    folder: Path,
    images: Sequence[Mapping[str, Any]],
    predictions: Sequence[Mapping[str, Any]],
    about: Mapping[str, Any],
) -> None:
    """Write an evaluation, with the time and the environment, in place of what the folder has."""
    # Written last: a folder without it is no evaluation.
    description = folder / "evaluation.json"
    description.unlink(missing_ok=True)
    complete = {**about, "time": time.time(), **describe_environment()}
    folder.mkdir(parents=True, exist_ok=True)
    write_table(folder / "images.parquet", images, EVALUATION_IMAGE_COLUMNS)
    write_table(folder / "predictions.parquet", predictions, EVALUATION_COLUMNS)
    write_durably(description, (json.dumps(complete, indent=2) + "\n").encode())


def _choose_images(
    contents: Sequence[str], labels: Sequence[int], own: pd.DataFrame
) -> tuple[list[int], dict[str, int]]:
    """Positions of the images that count, and how many do not, by the reason.

    Args:
        contents: Content hash of each file, empty where it cannot be read.
        labels: Label of each file.
        own: The images of the study itself, a row each.
    """
    split_of = dict(zip(own["image"], own["split"], strict=True))
    seen: dict[str, set[int]] = {}
    for content, label in zip(contents, labels, strict=True):
        seen.setdefault(content, set()).add(label)
    kept: dict[str, int] = {}
    left_out: Counter[str] = Counter()
    for position, content in enumerate(contents):
        if not content:
            left_out["cannot be read"] += 1
        elif content in split_of:
            left_out[f"also in the study's {split_of[content]} images"] += 1
        elif len(seen[content]) > 1:
            left_out["in folders of several classes"] += 1
        elif content in kept:
            left_out["identical to another"] += 1
        else:
            kept[content] = position
    return list(kept.values()), dict(sorted(left_out.items()))


def _fingerprint(contents: Sequence[str]) -> str:
    """SHA-256 over the content hashes, in whatever order the images come."""
    return hashlib.sha256("".join(sorted(contents)).encode()).hexdigest()


def _list_counts(left_out: dict[str, int]) -> str:
    return ", ".join(f"{count:,} {reason}" for reason, count in left_out.items())


def _check_name(name: str) -> None:
    if not name or name in (".", "..") or "/" in name or "\\" in name or "\0" in name:
        raise UsageError(f"--name {name!r}: expected a name that can be one folder, such as `raabin`")
