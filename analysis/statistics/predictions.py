"""What the confirmed runs predicted for each image: the arrays that every statistic is computed from."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from analysis.records.errors import StudyError
from analysis.records.schema import Fusion

if TYPE_CHECKING:
    from analysis.records.study import Study

Integers = NDArray[np.int64]


@dataclass(frozen=True)
class ArmPredictions:
    """What the confirmed runs of one arm predicted."""

    arm: str
    """Name of the arm, e.g. ``WBC_10/sum``."""
    fraction: float
    """Share of the labelled training images, in (0, 1]."""
    fusion: str
    """``off``, or how pretrained features join the classifier."""
    encoders: str
    """Names of the encoders joined by "+"; empty without fusion."""
    control: str
    """Name of the control; empty for the compared arms."""
    seeds: Integers
    """(S,): seeds of the runs, ascending."""
    predicted: Integers
    """(S, N): the most probable class of each image."""
    segmentation: str = ""
    """"masks" for an arm that learns from masks too, else empty."""
    network: str = ""
    """Name of another classifier than the residual one, else empty."""

    @property
    def is_off(self) -> bool:
        """Whether it is the residual classifier alone, which the others are compared with."""
        return self.fusion == Fusion.OFF and not self.control and not self.network


@dataclass(frozen=True)
class Predictions:
    """What all arms predicted for the images of one split."""

    split: str
    """``test``, or ``val`` where there is no test split: optimistic then."""
    classes: tuple[str, ...]
    """Names of the C classes in the order of the labels."""
    labels: Integers
    """(N,): true classes, in the order of the columns of `ArmPredictions.predicted`."""
    arms: tuple[ArmPredictions, ...]
    """The arms, ordered by fraction, then name."""
    groups: Integers | None = None
    """(N,): group (patient, smear) of each image, from 0; None where no image has one, and each is drawn by itself."""

    @property
    def group_count(self) -> int:
        """Number of groups (patients, smears) that the images are of; 0 where none are known."""
        return 0 if self.groups is None else len(np.unique(self.groups))

    @property
    def lone_group_classes(self) -> list[str]:
        """Classes of two images or more that are all of one group; empty where no groups are known."""
        if self.groups is None:
            return []
        groups = [self.groups[self.labels == position] for position in range(len(self.classes))]
        return [
            name
            for name, members in zip(self.classes, groups, strict=True)
            if len(members) > 1 and len(np.unique(members)) == 1
        ]


def study_predictions(study: Study) -> Predictions:
    """Predictions of a study's confirmed runs on its test images, or on validation where there are none for a test split.

    They are read once for a study.

    Raises:
        StudyError: As `read_predictions` says.
    """
    return study.remember(read_predictions)


def read_predictions(study: Study, split: str | None = None) -> Predictions:
    """Predictions of a study's confirmed runs, read anew; see `study_predictions`.

    Args:
        study: With confirmed runs.
        split: ``test`` or ``val``; when None the test split, or validation where nothing was predicted for a test.

    Raises:
        StudyError: There are no confirmed runs or no predictions of them, or two runs do not pair: they hold other
            images, or another label for the same image.
    """
    confirmed = study.confirmed
    if not len(confirmed):
        raise StudyError(
            f"{study.path}: no confirmed runs, and a statistic needs at least two seeds of an arm. Set confirm.seeds to "
            "2 or more and let the study finish."
        )
    predictions = study.predictions
    predictions = predictions[predictions["trial_id"].isin(confirmed["trial_id"])]
    if split is None:
        split = "test" if (predictions["split"] == "test").any() else "val"
    predictions = predictions[predictions["split"] == split]
    if not len(predictions):
        raise StudyError(
            f"{study.path / 'records' / 'predictions'}: nothing was predicted for the split {split!r} by any of the "
            f"{len(confirmed)} confirmed runs. Restore the records, or run the study again."
        )
    labels, groups, predicted = _pair(study, predictions)
    return Predictions(split, study.classes, labels, collect_arms(confirmed, predicted), groups)


def collect_arms(confirmed: pd.DataFrame, predicted: Mapping[str, Integers]) -> tuple[ArmPredictions, ...]:
    """Predictions of runs by their arms, ordered by fraction, then name.

    Args:
        confirmed: Rows of `Study.confirmed`; one without predictions (not written yet) is left out.
        predicted: Trial id -> the most probable class of each image, (N,), of the same images for all.
    """
    arms = []
    predicted_runs = confirmed[confirmed["trial_id"].isin(predicted)].sort_values(
        ["fraction", "arm", "seed"], kind="stable"
    )
    for name, runs in predicted_runs.groupby("arm", sort=False):
        first = runs.iloc[0]
        arms.append(
            ArmPredictions(
                arm=str(name),
                fraction=float(first["fraction"]),
                fusion=str(first["fusion"]),
                encoders=str(first["encoders"]),
                control=str(first["control"]),
                seeds=runs["seed"].to_numpy(dtype=np.int64),
                predicted=np.stack([predicted[trial] for trial in runs["trial_id"]]),
                # Records of a study without masks may not have the column.
                segmentation=str(first.get("segmentation", "")),
                network=str(first.get("network", "")),
            )
        )
    return tuple(arms)


def _pair(study: Study, predictions: pd.DataFrame) -> tuple[Integers, Integers | None, dict[str, Integers]]:
    """Labels and groups of the split's images, and trial id -> predicted class of each, in the same order for all."""
    place = study.path / "records" / "predictions"
    # Codes instead of texts: a study has hundreds of thousands of rows. Equal pictures are told apart by their paths.
    trial, trials = pd.factorize(predictions["trial_id"], sort=True)
    image, _ = pd.factorize(predictions["image"], sort=True)
    path, _ = pd.factorize(predictions["path"], sort=True)
    order = np.lexsort((path, image, trial))
    bounds = np.flatnonzero(np.diff(trial[order])) + 1
    first, *others = np.split(order, bounds)
    keys = np.stack([image, path], axis=1)
    labels = predictions["label"].to_numpy(dtype=np.int64)
    predicted = predictions["predicted"].to_numpy(dtype=np.int64)
    for position, rows in enumerate(others, start=1):
        pair = f"{place}: trials {trials[0]} and {trials[position]} do not pair"
        if not np.array_equal(keys[rows], keys[first]):
            mine, its = (set(map(tuple, keys[part].tolist())) for part in (first, rows))
            raise StudyError(
                f"{pair}: of their {predictions['split'].iloc[0]} images, {len(mine - its)} are in the first only and "
                f"{len(its - mine)} in the second only, expected the same {len(first)} images. Both belong to one study only "
                "if the data did not change in between: confirm again in a new study."
            )
        unequal = labels[rows] != labels[first]
        if unequal.any():
            where = int(np.flatnonzero(unequal)[0])
            raise StudyError(
                f"{pair}: image {predictions['image'].iloc[int(first[where])]} has the label {labels[first][where]} in the "
                f"first and {labels[rows][where]} in the second ({int(unequal.sum())} such images). The labels changed between "
                "the two: confirm again in a new study."
            )
    groups = _number_groups(predictions["group"].iloc[first])
    return (
        labels[first],
        groups,
        {str(trials[position]): predicted[rows] for position, rows in enumerate([first, *others])},
    )


def _number_groups(names: pd.Series[str]) -> Integers | None:
    """Numbers of the groups of images; an image without a group is one of its own. None where no image has a group."""
    named = (names != "").to_numpy()
    if not named.any():
        return None
    groups, known = pd.factorize(names.where(named), sort=True)
    groups = groups.astype(np.int64)
    groups[~named] = len(known) + np.arange(np.count_nonzero(~named))
    return groups
