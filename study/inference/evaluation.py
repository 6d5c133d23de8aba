"""The confirmed models of a study on the labelled images of another data set."""

from __future__ import annotations

import hashlib
import json
import time
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from analysis.records.schema import EVALUATION_COLUMNS, EVALUATION_IMAGE_COLUMNS
from analysis.records.study import load_study
from data_utils.sources.labelled import find_labelled
from study.config.files import check_config
from study.errors import UsageError
from study.inference.confirmed import choose_arm, load_confirmed
from study.inference.image_files import FileBatches
from study.inference.prediction import find_device
from study.inference.probabilities import score_batches
from study.storage.durable import write_durably
from study.storage.provenance import describe_environment
from study.storage.records import write_table

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

    Images are prepared as the study's validation images were. An image that the study itself has, in whatever split, is left out;
    one that the folder has several times counts once, or not at all where its labels contradict each other. An evaluation of the
    same name is replaced.

    Args:
        directory: Of a study with confirmed runs. The control ``shuffled`` is left out: it looks at other images of its study.
        data: Folder with ``<Class>/``, ``data/<Class>/`` or ``<split>/data/<Class>/``.
        name: Of the evaluation; the folder's when None.
        device: ``cpu`` or ``cuda``; the accelerator where there is one when None.
        tell: Called with the number of files that are done and of all.

    Returns:
        The evaluation's name.

    Raises:
        DataError: the folder is not as expected.
        UsageError: the study has no confirmed runs, or no image is left to evaluate.
    """
    study = load_study(directory.folder)
    choose_arm(study, None)
    name = name or data.expanduser().resolve().name
    _check_name(name)
    config = check_config(study.config, str(directory.config_file))
    labelled = find_labelled(data.expanduser(), study.classes)
    runs = study.confirmed[study.confirmed["control"] != "shuffled"]
    place = find_device(device)
    models = load_confirmed(directory, config, runs, study.classes).to(place)
    batches = FileBatches([path for path, _ in labelled], config.data, place, hashes=True)
    contents = [""] * len(labelled)
    probabilities = np.zeros((len(models.models), len(labelled), len(study.classes)), dtype=np.float32)
    done = 0
    for batch, scored in score_batches(models, batches, place):
        probabilities[:, batch.positions] = scored.numpy()
        for position, content in zip(batch.positions, batch.contents, strict=True):
            contents[position] = content
        done += len(batch.positions)
        tell(done + len(batches.unreadable), len(labelled))
    labels = [label for _, label in labelled]
    kept, left_out = _choose_images(contents, labels, study.images)
    if not kept:
        raise UsageError(f"{data}: none of its {len(labelled)} images is left to evaluate: {_list_counts(left_out)}")
    # Written last: a folder without it is no evaluation.
    folder = directory.folder / "evaluations" / name
    (folder / "evaluation.json").unlink(missing_ok=True)
    folder.mkdir(parents=True, exist_ok=True)
    relative = [path.relative_to(data.expanduser()).as_posix() for path, _ in labelled]
    write_table(
        folder / "images.parquet",
        [{"image": contents[row], "path": relative[row], "label": labels[row]} for row in kept],
        EVALUATION_IMAGE_COLUMNS,
    )
    write_table(
        folder / "predictions.parquet",
        [
            {
                "trial_id": model.trial_id,
                "image": contents[row],
                "label": labels[row],
                "probabilities": [float(p) for p in probabilities[number, row]],
            }
            for number, model in enumerate(models.models)
            for row in kept
        ],
        EVALUATION_COLUMNS,
    )
    about: dict[str, Any] = {
        "name": name,
        "data": str(data.expanduser().absolute()),
        "fingerprint": hashlib.sha256("".join(sorted(contents[row] for row in kept)).encode()).hexdigest(),
        "images": len(kept),
        "left_out": left_out,
        "unreadable": {relative[position]: reason for position, reason in sorted(batches.unreadable.items())},
        "trials": [model.trial_id for model in models.models],
        "time": time.time(),
        **describe_environment(),
    }
    write_durably(folder / "evaluation.json", (json.dumps(about, indent=2) + "\n").encode())
    return name


def _choose_images(
    contents: Sequence[str], labels: Sequence[int], own: pd.DataFrame
) -> tuple[list[int], dict[str, int]]:
    """Positions of the images that count, and how many do not, by the reason.

    Args:
        contents: Content hash of each file, empty where it cannot be read.
        labels: Of each file.
        own: The images of the study itself.
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


def _list_counts(left_out: dict[str, int]) -> str:
    return ", ".join(f"{count:,} {reason}" for reason, count in left_out.items())


def _check_name(name: str) -> None:
    if not name or name in (".", "..") or "/" in name or "\\" in name or "\0" in name:
        raise UsageError(f"--name {name!r}: expected a name that can be one folder, such as `raabin`")
