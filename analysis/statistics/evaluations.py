"""The confirmed runs of a study on other data sets, as `wbc-study evaluate` stored them."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from analysis.metrics import SPLIT_TITLES
from analysis.records.errors import StudyError
from analysis.records.schema import EVALUATION_COLUMNS
from analysis.records.segments import read_parquet
from analysis.statistics.estimates import arm_intervals
from analysis.statistics.predictions import Predictions, collect_arms, study_predictions

if TYPE_CHECKING:
    from analysis.records.study import Study

OUTSIDE = "outside"
"""Split of predictions for images of another data set; see `analysis.metrics.SPLIT_TITLES`."""


@dataclass(frozen=True)
class Evaluation:
    """The confirmed runs of a study on one other data set."""

    name: str
    """Name of the evaluation: its folder below ``evaluations``."""
    about: dict[str, Any]
    """Content of ``evaluation.json``: data, images, left_out (reason -> count), unreadable (path -> reason), trials, ..."""
    predictions: Predictions
    """Predictions of the runs that are confirmed now; runs of an earlier winner do not count."""

    @property
    def images_by_class(self) -> dict[str, int]:
        """Number of images of each class, 0 included."""
        counts = np.bincount(self.predictions.labels, minlength=len(self.predictions.classes))
        return dict(zip(self.predictions.classes, counts.tolist(), strict=True))


def read_evaluations(study: Study) -> list[Evaluation]:
    """All evaluations of a study that are complete and hold predictions of its confirmed runs, by name.

    Raises:
        StudyError: A file of an evaluation cannot be read, or its runs hold predictions of different images.
    """
    return [
        evaluation
        for path in sorted(study.path.glob("evaluations/*/evaluation.json"))
        if (evaluation := _read(study, path)) is not None
    ]


def _read(study: Study, path: Path) -> Evaluation | None:
    try:
        about = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise StudyError(f"{path}: cannot be read ({error}). Evaluate again: `wbc-study evaluate`.") from error
    rows = read_parquet(path.with_name("predictions.parquet"), EVALUATION_COLUMNS)
    confirmed = study.confirmed
    rows = rows[rows["trial_id"].isin(confirmed["trial_id"])].sort_values(["trial_id", "image"], kind="stable")
    if not len(rows):
        return None
    predicted: dict[str, np.ndarray[Any, np.dtype[np.int64]]] = {}
    images: list[str] = []
    labels = np.zeros(0, dtype=np.int64)
    for trial, run in rows.groupby("trial_id", sort=False):
        found = run["image"].tolist()
        if images and found != images:
            raise StudyError(
                f"{path.with_name('predictions.parquet')}: trial {trial} scored {len(found)} images, others {len(images)} or"
                " other ones, expected the same for all. Evaluate again: `wbc-study evaluate`."
            )
        images, labels = found, run["label"].to_numpy(dtype=np.int64)
        predicted[str(trial)] = np.stack(run["probabilities"].to_list()).argmax(axis=1).astype(np.int64)
    predictions = Predictions(OUTSIDE, study.classes, labels, collect_arms(confirmed, predicted))
    return Evaluation(path.parent.name, about, predictions)


def left_out(evaluation: Evaluation) -> str:
    """One sentence on the images that do not count; empty where all do."""
    counts = evaluation.about.get("left_out") or {}
    listed = ", ".join(f"{count:,} {reason}" for reason, count in counts.items())
    return f"Left out: {listed}." if listed else ""


def shift_table(study: Study) -> pd.DataFrame:
    """Every arm on its own test images and on those of each other data set.

    Returns:
        The columns of `analysis.statistics.estimates.arm_intervals` after ``place``: "test" (or "validation") for the study's own
        images, else the evaluation's name. Empty without evaluations.
    """
    evaluations = read_evaluations(study)
    if not evaluations:
        return pd.DataFrame(columns=["place"])
    predictions = study_predictions(study)
    own = SPLIT_TITLES[predictions.split]
    places = [(own, predictions), *((each.name, each.predictions) for each in evaluations)]
    parts = [arm_intervals(each) for _, each in places]
    for (name, _), part in zip(places, parts, strict=True):
        part.insert(0, "place", name)
    return pd.concat(parts, ignore_index=True)
