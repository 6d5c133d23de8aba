"""What a trial is, and what it reports after each epoch."""

from __future__ import annotations

import hashlib
import json
import math
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np

from analysis.metrics import confusion_metrics
from analysis.records.schema import NO_SETTINGS, Phase
from study.design.arms import Arm
from study.design.points import Point, read_settings

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray


@dataclass(frozen=True)
class TrialSpec:
    """One training of one arm at one point of the searched space with one seed."""

    phase: Phase
    """Search or confirmation."""
    arm: Arm
    index: int
    """0-based: position in the arm's search, or number of the confirmation."""
    seed: int
    learning_rate: float
    weight_decay: float
    settings: str = NO_SETTINGS
    """Values of the further searched settings, as `points.write_settings` writes them."""

    @classmethod
    def at(cls, phase: Phase, arm: Arm, index: int, seed: int, point: Point) -> TrialSpec:
        """The trial of an arm at a point."""
        return cls(phase, arm, index, seed, point.learning_rate, point.weight_decay, point.settings)

    @classmethod
    def recorded(cls, row: Mapping[Any, Any], arm: Arm) -> TrialSpec:
        """The trial of a row of the table ``trials``."""
        return cls.at(Phase(row["phase"]), arm, row["index"], row["seed"], recorded_point(row))

    @property
    def point(self) -> Point:
        """Point of the searched space that the trial takes."""
        return Point(self.learning_rate, self.weight_decay, self.settings)

    @property
    def searched(self) -> dict[str, Any]:
        """Values of the further searched settings by their names."""
        return read_settings(self.settings)

    @cached_property
    def trial_id(self) -> str:
        """Our own id, a hash of all fields: the same trial has the same id in every run and after every restart."""
        values: list[Any] = [
            self.phase,
            self.arm.fraction,
            self.arm.fusion,
            self.arm.encoders,
            self.arm.control,
            self.index,
            self.seed,
            self.learning_rate,
            self.weight_decay,
        ]
        # Fields that were added later are part of the id only where they say something, so that earlier trials keep their ids.
        if self.settings != NO_SETTINGS:
            values.append(self.settings)
        if self.arm.segmentation:
            values.append("masks")
        if self.arm.classifier:
            values.append(["network", self.arm.classifier])
        return hashlib.sha256(json.dumps(values).encode()).hexdigest()[:16]

    def columns(self) -> dict[str, Any]:
        """The specification as columns of the table ``trials``."""
        return {
            "trial_id": self.trial_id,
            "phase": self.phase,
            "arm": self.arm.name,
            "fraction": self.arm.fraction,
            "fusion": self.arm.fusion,
            "encoders": "+".join(self.arm.encoders),
            "control": self.arm.control,
            "segmentation": "masks" if self.arm.segmentation else "",
            "network": self.arm.classifier,
            "index": self.index,
            "seed": self.seed,
            "learning_rate": self.learning_rate,
            "weight_decay": self.weight_decay,
            "settings": self.settings,
        }


def recorded_point(row: Mapping[Any, Any]) -> Point:
    """The point of the trial of a row of the table ``trials``."""
    return Point(float(row["learning_rate"]), float(row["weight_decay"]), row["settings"] or NO_SETTINGS)


@dataclass(frozen=True)
class TrialPredictions:
    """Class probabilities at the epoch that was chosen on validation."""

    epoch: int
    """The chosen epoch, 1-based."""
    rows: NDArray[Any]
    """(N,) int64: positions in the image arrays."""
    probabilities: NDArray[Any]
    """(N, classes) float32."""


@dataclass(frozen=True)
class EpochReport:
    """What a trial reports after an epoch. Two reports of the same epoch differ in ``seconds`` alone."""

    epoch: int
    """1-based."""
    steps: int
    """Number of gradient steps since the trial began."""
    learning_rate: float
    """In force at the epoch's last gradient step."""
    train_loss: float
    """Mean cross-entropy over the epoch's images."""
    train_accuracy: float
    """In [0, 1], on augmented crops."""
    val_loss: float
    """Mean cross-entropy over the validation images."""
    confusion: tuple[int, ...]
    """Validation confusion matrix, row-major, rows are true classes."""
    train_images: int
    """Number of training images of the trial."""
    parameters: int
    """Number of trainable parameters."""
    seconds: float
    """Training and validation of the epoch."""
    predictions: TrialPredictions | None = None
    """Present with the last epoch of a confirmed trial only."""

    @classmethod
    def recorded(cls, row: Mapping[Any, Any], train_images: int = 0, parameters: int = 0) -> EpochReport:
        """The report that a row of the table ``epochs`` was made of; what it said of its trial stands in ``trials``."""
        return cls(
            epoch=row["epoch"],
            steps=row["steps"],
            learning_rate=row["learning_rate"],
            train_loss=row["train_loss"],
            train_accuracy=row["train_accuracy"],
            val_loss=row["val_loss"],
            confusion=tuple(int(count) for count in row["confusion"]),
            train_images=train_images,
            parameters=parameters,
            seconds=row["seconds"],
        )

    @property
    def diverged(self) -> bool:
        """Whether a loss is not finite."""
        return not (math.isfinite(self.train_loss) and math.isfinite(self.val_loss))

    def score(self, metric: str) -> float:
        """Score of the epoch on validation, in [0, 1].

        Args:
            metric: ``val_accuracy`` or ``val_macro_f1``.
        """
        classes = round(len(self.confusion) ** 0.5)
        metrics = confusion_metrics(np.asarray(self.confusion).reshape(classes, classes))
        return float(getattr(metrics, metric.removeprefix("val_")))

    def row(self) -> dict[str, Any]:
        """The columns of the table ``epochs`` that follow from the training alone, without volatile ones."""
        return {
            "epoch": self.epoch,
            "steps": self.steps,
            "learning_rate": self.learning_rate,
            "train_loss": self.train_loss if math.isfinite(self.train_loss) else None,
            "train_accuracy": self.train_accuracy,
            "val_loss": self.val_loss if math.isfinite(self.val_loss) else None,
            "confusion": list(self.confusion),
        }
