"""The record schema: tables, columns and words that a study writes and the analysis reads.

A run directory holds three tables under ``records/``, each a folder of numbered immutable segments
(``<first>-<last>.jsonl`` or ``.parquet``, named after the sequence numbers they hold). Every row has a ``sequence``; a
row that is found twice (a compacted segment beside the ones it was made of) counts once.
"""

from __future__ import annotations

from collections.abc import Sequence
from enum import StrEnum

SCHEMA_VERSION = 1
"""Version of the schema, raised whenever a column changes its meaning; `analysis` refuses records of a newer version."""


class _Word(StrEnum):
    """A word of the records. It is compared, written and shown as the plain text that it is."""

    __repr__ = str.__repr__


class Phase(_Word):
    """Phases of a study in order. Trials exist in the search and in the confirmation."""

    AUDIT = "audit"
    PRETRAIN = "pretrain"
    FEATURES = "features"
    SEARCH = "search"
    CONFIRM = "confirm"
    REPORT = "report"


class PhaseState(_Word):
    """How far a phase is, by the manifest."""

    RUNNING = "running"
    """Begun. In a study nobody runs the phase was interrupted and continues with the study."""
    COMPLETE = "complete"


class TrialStatus(_Word):
    """How far a trial is. Every status but `RUNNING` is final."""

    RUNNING = "running"
    """Handed out. In a study nobody runs the trial was interrupted and continues with the study."""
    COMPLETED = "completed"
    """Trained to its last epoch."""
    STOPPED = "stopped"
    """Stopped by ASHA at a rung."""
    DIVERGED = "diverged"
    """Ended because a loss was not finite."""
    FAILED = "failed"
    """Ended by an exception after all retries."""


class Decision(_Word):
    """What is decided about a trial after an epoch."""

    CONTINUE = "continue"
    STOP = "stop"
    """ASHA stops the trial at a rung."""
    COMPLETE = "complete"
    """The epoch was the last one."""
    DIVERGED = "diverged"
    """A loss is not finite."""


class Fusion(_Word):
    """How what was pretrained joins the classifier.

    Where a fusion stands in an arm's name, an arm with another classifier has the name of that classifier.
    """

    OFF = "off"
    """The classifier alone."""
    SUM = "sum"
    CONCAT = "concat"
    GATED = "gated"
    FINETUNE = "finetune"
    """The classifier starts from pretrained weights; it takes no latent vectors, as the three fusions above do."""


NO_SETTINGS = "{}"
"""``settings`` of a trial of a search over learning rate and weight decay alone. Records from before the column have ""."""

TRIAL_COLUMNS = {
    "sequence": "int64",
    "trial_id": "string",  # a hash of arm, phase, index, configuration and seed
    "phase": "string",  # a `Phase`: search or confirm
    "arm": "string",  # e.g. "WBC_10/sum"
    "fraction": "float64",  # of the labelled training images, in (0, 1]
    "fusion": "string",  # a `Fusion`
    "encoders": "string",  # names joined by "+", empty without pretraining; a network's own name where it has given weights
    "control": "string",  # empty, or the name of the control
    "segmentation": "string",  # "masks" for an arm that learns from masks too, else empty
    "network": "string",  # name of a network of torchvision in place of the residual classifier, else empty
    "index": "int64",  # 0-based: position in the arm's search, or the number of the confirmation
    "seed": "int64",  # subset, initial weights, order and crops follow from it
    "learning_rate": "float64",
    "weight_decay": "float64",
    "settings": "string",  # what else was searched: JSON, keys sorted, e.g. {"training.sampling": "balanced"}; see NO_SETTINGS
    "status": "string",  # a `TrialStatus`
    "epochs": "int64",  # reported so far
    "train_images": "int64",  # 0 until its first epoch
    "parameters": "int64",  # trainable ones; 0 until its first epoch
    "error": "string",  # traceback of a failed trial, else empty
    "tune_id": "string",  # volatile
    "host": "string",  # volatile: of the node that trained its last epoch; of the driver while it has reported nothing
    "time": "float64",  # volatile: seconds since 1970 when the row was written
}
"""Table ``trials``: a row when a trial is handed out, one before its first epoch is recorded, one when it ends; the one with
the highest sequence holds."""

EPOCH_COLUMNS = {
    "sequence": "int64",
    "trial_id": "string",
    "epoch": "int64",  # 1-based
    "steps": "int64",  # gradient steps since the trial began
    "learning_rate": "float64",  # in force at the epoch's last gradient step
    "train_loss": "float64",  # mean cross-entropy over the epoch's images, natural logarithm, without class weights
    "train_accuracy": "float64",  # on augmented crops, in [0, 1]
    "val_loss": "float64",
    "confusion": "list<int64>",  # validation, row-major, rows are true classes, columns predictions
    "rung": "Int64",  # epoch of the ASHA rung that this result entered, else missing
    "decision": "string",  # a `Decision`
    "seconds": "float64",  # volatile: training and validation of this epoch
    "time": "float64",  # volatile: seconds since 1970 when the row was written
}
"""Table ``epochs``: one row per reported epoch of a trial. A loss that is not finite is stored as missing."""

PREDICTION_COLUMNS = {
    "sequence": "int64",
    "trial_id": "string",
    "epoch": "int64",  # the epoch chosen on validation
    "split": "string",  # "val" or "test"
    "image": "string",  # content hash, key into images.parquet
    "label": "int64",
    "probabilities": "list<float64>",  # one per class
}
"""Table ``predictions``: confirmed trials only; every validation and test image once."""

TABLES = {"trials": TRIAL_COLUMNS, "epochs": EPOCH_COLUMNS, "predictions": PREDICTION_COLUMNS}
"""The folders under ``records/`` and their columns."""

IMAGE_COLUMNS = {
    "image": "string",  # content hash of the decoded pixels
    "path": "string",  # relative to the data set's folder
    "split": "string",
    "label": "int64",
    "group": "string",
}
"""``images.parquet``: every image of the blood-cell data set that the study used."""

EVALUATION_COLUMNS = {
    "trial_id": "string",
    "image": "string",  # content hash, key into images.parquet beside it
    "label": "int64",
    "probabilities": "list<float64>",  # one per class
}
"""``evaluations/<name>/predictions.parquet``: confirmed trials on the images of another data set, each image once.

Beside it lie ``images.parquet`` (image, path, label) and, written last, ``evaluation.json``: what was evaluated and left out."""

EVALUATION_IMAGE_COLUMNS = {"image": "string", "path": "string", "label": "int64"}
"""``evaluations/<name>/images.parquet``."""

CURVE_COLUMNS = {
    "epoch": "int64",
    "train_loss": "float64",
    "val_loss": "float64",
    "val_accuracy": "float64",
    "seconds": "float64",
}
"""``pretrain/<encoder>/curve.parquet``; ``val_accuracy`` is missing for the autoencoder."""


MASKS_SUFFIX = "+masks"
"""Ends the names of arms in which an auxiliary head learns from masks."""


def subset_name(fraction: float) -> str:
    """Name of a fraction as in the published report: 0.01 -> ``WBC_1``, 0.125 -> ``WBC_12.5``."""
    return f"WBC_{fraction * 100:.10g}"


def arm_name(
    fraction: float, fusion: str, control: str = "", encoders: Sequence[str] = (), segmentation: bool = False
) -> str:
    """Name of an arm, e.g. ``WBC_10/sum``; ``WBC_10/sum-random`` is a control, ``WBC_10/sum+masks`` learns from masks too.

    Args:
        fraction: Share of the labelled training images, in (0, 1].
        fusion: The fusion, or the name of another classifier.
        control: Name of the control; empty for a compared arm.
        encoders: Names of the encoders, only where a study compares several sets of them: ``WBC_10/sum(prcc)``.
        segmentation: Whether the arm learns from masks too.
    """
    chosen = f"({'+'.join(encoders)})" if encoders else ""
    masks = MASKS_SUFFIX if segmentation else ""
    return f"{subset_name(fraction)}/{fusion}{chosen}{'-' + control if control else ''}{masks}"
