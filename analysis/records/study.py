"""One study as frames in memory, read from its run directory, finished or running."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable
from functools import cached_property
from pathlib import Path
from typing import Any, TypeVar, cast

import numpy as np
import pandas as pd
import yaml
from numpy.typing import NDArray

from analysis.metrics import confusion_metrics, count_confusion
from analysis.records.errors import StudyError
from analysis.records.object_store import is_remote, pull_study
from analysis.records.published import CLASSES
from analysis.records.schema import (
    CURVE_COLUMNS,
    EPOCH_COLUMNS,
    IMAGE_COLUMNS,
    NO_SETTINGS,
    PREDICTION_COLUMNS,
    SCHEMA_VERSION,
    TRIAL_COLUMNS,
    Decision,
    Phase,
    TrialStatus,
    subset_name,
)
from analysis.records.segments import read_parquet, read_segments

_Made = TypeVar("_Made")

ARM_COLUMNS = ["arm", "fraction", "subset", "fusion", "encoders", "control", "segmentation", "network"]
SELECTION_METRICS = ("val_accuracy", "val_macro_f1")
"""Values of ``search.metric``; the first is the default."""


def load_study(path: str | Path) -> Study:
    """Open a run directory. Its tables are read when they are first asked for, each once.

    Args:
        path: ``ray_results/<study>``, or ``s3://bucket/prefix/<study>``, of which a copy is kept on this machine; the study may
            still be running.

    Raises:
        StudyError: There is no study, or its records are newer than this program.

    Example:
        >>> load_study(study.path).name
        'tiny'
    """
    if isinstance(path, str) and is_remote(path):
        url, path = path, pull_study(path)
        if not (path / "study.yaml").is_file():
            raise StudyError(f"{url}: no study here, study.yaml is missing")
    path = Path(path)
    if not (path / "study.yaml").is_file():
        raise StudyError(_no_study(path))
    config = _read_mapping(path / "study.yaml")
    manifest = _read_mapping(path / "manifest.json")
    version = manifest.get("schema_version", SCHEMA_VERSION)
    if not isinstance(version, int) or version > SCHEMA_VERSION:
        raise StudyError(
            f"{path / 'manifest.json'}: schema_version is {version!r}, this program reads up to {SCHEMA_VERSION}. "
            "Update wbc-study."
        )
    return Study(path, config=config, manifest=manifest, audit=_read_mapping(path / "audit.json"))


class Study:
    """The records of one study. Made by `load_study`; load again to see what a running study wrote since.

    Attributes:
        path: The run directory.
        name: The study's name as configured; may contain any character.
        config: Content of ``study.yaml``.
        manifest: Content of ``manifest.json``; empty or incomplete while a study runs.
        audit: Content of ``audit.json``; empty before the audit has ended.
    """

    def __init__(self, path: Path, config: dict[str, Any], manifest: dict[str, Any], audit: dict[str, Any]) -> None:
        self.path = path
        self.config = config
        self.manifest = manifest
        self.audit = audit
        self.name = str(config.get("name") or path.resolve().name)
        self._made: dict[Callable[[Any], Any], Any] = {}
        self._making = threading.RLock()

    def remember(self, compute: Callable[[Study], _Made]) -> _Made:
        """Call a function with this study once; later calls with the same function return the same object.

        Args:
            compute: A function of a module, which is also the key. It may call `remember` with other functions.

        Raises:
            StudyError: The function raised it. Errors are not remembered.

        Example:
            >>> def count_trials(study):
            ...     return len(study.trials)
            >>> study.remember(count_trials)
            20
        """
        with self._making:
            if compute not in self._made:
                self._made[compute] = compute(self)
            return cast(_Made, self._made[compute])

    @cached_property
    def classes(self) -> tuple[str, ...]:
        """Class names in the order of the labels; those of blood cells until the manifest names them.

        Example:
            >>> study.classes[-1]
            'Neutrophil'
        """
        return tuple(str(name) for name in self.manifest.get("classes") or CLASSES)

    @property
    def metric(self) -> str:
        """Name of the validation metric by which epochs and winners are chosen.

        Raises:
            StudyError: The configuration names a metric that is not known.

        Example:
            >>> study.metric
            'val_accuracy'
        """
        search = self.config.get("search")
        metric = str((search if isinstance(search, dict) else {}).get("metric", SELECTION_METRICS[0]))
        if metric not in SELECTION_METRICS:
            raise StudyError(
                f"{self.path / 'study.yaml'}: search.metric is {metric!r}, expected one of "
                f"{', '.join(SELECTION_METRICS)}."
            )
        return metric

    @cached_property
    def trials(self) -> pd.DataFrame:
        """One row per trial: its newest record, the values at its best epoch and what it cost.

        The best epoch has the highest `metric`; ties go to the lower validation loss, then to the earlier epoch. An
        epoch whose loss was not finite is never the best.

        Returns:
            The columns of `analysis.records.schema.TRIAL_COLUMNS`, with its types, and subset (str), best_epoch (Int64),
            val_accuracy, val_macro_f1, val_weighted_f1, val_loss, val_recall_<class> (float64), gradient_steps (int64), seconds
            (float64). Missing values where a trial has reported nothing yet. After them one column for each further setting
            that was searched, named as in the configuration (``training.sampling``), of the type of its values.

        Example:
            >>> study.trials.groupby("status").size().to_dict()
            {'completed': 16, 'stopped': 4}
        """
        trials = read_segments(self.path / "records" / "trials", TRIAL_COLUMNS)
        trials = trials.drop_duplicates("trial_id", keep="last").reset_index(drop=True)
        trials["subset"] = [subset_name(fraction) for fraction in trials["fraction"]]
        trials["subset"] = trials["subset"].astype("str")
        trials["settings"] = trials["settings"].replace("", NO_SETTINGS)
        epochs = self._epochs
        finite = epochs[epochs["val_loss"].notna() & (epochs["decision"] != Decision.DIVERGED)]
        best = finite.sort_values(
            [self.metric, "val_loss", "epoch"], ascending=[False, True, True], kind="stable"
        ).drop_duplicates("trial_id")
        best = best.rename(columns={"epoch": "best_epoch"})
        values = ["val_accuracy", "val_macro_f1", "val_weighted_f1", "val_loss", *self._recall_columns("val")]
        trials = trials.merge(best[["trial_id", "best_epoch", *values]], on="trial_id", how="left")
        trials["best_epoch"] = trials["best_epoch"].astype("Int64")
        cost = epochs.groupby("trial_id").agg(
            reported=("epoch", "max"), gradient_steps=("steps", "max"), seconds=("seconds", "sum")
        )
        cost = cost.reindex(trials["trial_id"]).fillna(0)
        # The row of a running trial was written when it was handed out and does not know how far it has come.
        trials["epochs"] = np.maximum(trials["epochs"], cost["reported"].to_numpy()).astype("int64")
        trials["gradient_steps"] = cost["gradient_steps"].to_numpy(dtype="int64")
        trials["seconds"] = cost["seconds"].to_numpy(dtype="float64")
        searched = [json.loads(text) for text in trials["settings"]]
        for name in sorted({name for values in searched for name in values}):
            trials[name] = [values.get(name) for values in searched]
        return trials

    @cached_property
    def searched_settings(self) -> list[str]:
        """Names of the further settings that the trials differ in, such as ``training.sampling``: columns of `trials`.

        Example:
            >>> study.searched_settings
            []
        """
        return sorted({name for text in self.trials["settings"].unique() for name in json.loads(text)})

    @cached_property
    def epochs(self) -> pd.DataFrame:
        """Every reported epoch once, in the order of the records, with its trial's arm.

        Returns:
            The columns of `analysis.records.schema.EPOCH_COLUMNS`, with its types (``confusion``: lists), val_accuracy,
            val_macro_f1, val_weighted_f1, val_recall_<class> (float64), and the trial's phase, arm, fraction, subset, fusion,
            encoders, control, segmentation, network, index, seed and status, as in `trials`. ``learning_rate`` is
            the one in force during the epoch.

        Example:
            >>> study.epochs[["epoch", "val_accuracy"]].dtypes.astype(str).tolist()
            ['int64', 'float64']
        """
        columns = ["trial_id", "phase", *ARM_COLUMNS, "index", "seed", "status"]
        return self._epochs.merge(self.trials[columns], on="trial_id", how="inner")

    @cached_property
    def epoch_trials(self) -> NDArray[np.intp]:
        """Row of `trials` that each row of `epochs` belongs to.

        Example:
            >>> bool((study.trials["arm"].iloc[study.epoch_trials].to_numpy() == study.epochs["arm"]).all())
            True
        """
        found: NDArray[np.intp] = pd.Index(self.trials["trial_id"]).get_indexer(pd.Index(self.epochs["trial_id"]))
        return found

    @cached_property
    def confirmed(self) -> pd.DataFrame:
        """One row per arm and seed: the completed trials of the confirmation of the arm's winner.

        A search that was extended may have found another winner; confirmations of an earlier one do not count.

        Returns:
            trial_id, phase, arm, fraction, subset, fusion, encoders, control, segmentation, network, status, seed, learning_rate,
            weight_decay, settings, best_epoch, val_loss, val_accuracy, val_macro_f1, val_weighted_f1, val_recall_<class>, the
            same with ``test_`` (missing without a test split; no test loss), train_images, parameters, and one column for each
            of `searched_settings`; types as in `trials`, metrics float64. Ordered by fraction, arm, seed.

        Example:
            >>> study.confirmed.groupby("arm")["test_accuracy"].count().to_dict()
            {'WBC_1/off': 2, 'WBC_1/sum': 2, 'WBC_100/off': 2, 'WBC_100/sum': 2}
        """
        chosen = self.confirmations()
        chosen = chosen[chosen["status"] == TrialStatus.COMPLETED]
        chosen = chosen.drop_duplicates(["arm", "seed"], keep="last")
        return self._with_test(chosen.sort_values(["fraction", "arm", "seed"], kind="stable"))

    @cached_property
    def predictions(self) -> pd.DataFrame:
        """Class probabilities of the confirmed trials for every validation and test image.

        Returns:
            sequence, trial_id, epoch, split, image, label, with the types of `analysis.records.schema.PREDICTION_COLUMNS`,
            p_<class> (float64), predicted (int64), and the trial's arm, fraction, fusion, seed, phase and the image's path
            and group (str; empty when ``images.parquet`` is missing).

        Example:
            >>> sorted(study.predictions["split"].unique())
            ['test', 'val']
        """
        raw = read_segments(self.path / "records" / "predictions", PREDICTION_COLUMNS)
        probabilities = _stack(raw.pop("probabilities"), (len(self.classes),), "predictions.probabilities", self.path)
        for position, name in enumerate(self.classes):
            raw[f"p_{name.lower()}"] = probabilities[:, position]
        raw["predicted"] = probabilities.argmax(axis=1).astype("int64")
        # The same picture may exist twice under two paths: the n-th row of a picture belongs to its n-th path.
        raw["copy"] = raw.groupby(["trial_id", "split", "image"]).cumcount()
        images = self.images[["image", "split", "path", "group"]].copy()
        images["copy"] = images.groupby(["split", "image"]).cumcount()
        joined = raw.merge(images, on=["split", "image", "copy"], how="left")
        # A trial that wrote its predictions again after an interruption still counts once.
        joined = joined[joined["path"].notna() | (joined["copy"] == 0)].drop(columns="copy")
        for column in ("path", "group"):
            joined[column] = joined[column].fillna("").astype("str")
        columns = ["trial_id", "arm", "fraction", "fusion", "seed", "phase"]
        return joined.merge(self.trials[columns], on="trial_id", how="inner")

    @cached_property
    def images(self) -> pd.DataFrame:
        """Every blood-cell image that the study used, with the columns of `analysis.records.schema.IMAGE_COLUMNS`.

        Example:
            >>> study.images.columns.tolist()
            ['image', 'path', 'split', 'label', 'group']
        """
        return read_parquet(self.path / "images.parquet", IMAGE_COLUMNS)

    @cached_property
    def curves(self) -> pd.DataFrame:
        """Pretraining curves: the columns of `analysis.records.schema.CURVE_COLUMNS` after ``encoder``.

        Example:
            >>> study.curves["encoder"].unique().tolist()
            ['cam16', 'prcc']
        """
        paths = sorted(self.path.glob("pretrain/*/curve.parquet"))
        curves = [read_parquet(path, CURVE_COLUMNS).assign(encoder=path.parent.name) for path in paths]
        columns = ["encoder", *CURVE_COLUMNS]
        if not curves:
            return read_parquet(self.path / "missing", CURVE_COLUMNS).assign(encoder="")[columns]
        return pd.concat(curves, ignore_index=True)[columns]

    def winners(self) -> pd.DataFrame:
        """The best full-length (completed) search trial of each arm.

        Ties go to the lower validation loss, then to the lower index. Arms without a completed trial are absent.

        Returns:
            Rows of `trials`, ordered by fraction and arm.

        Example:
            >>> study.winners()["arm"].tolist()
            ['WBC_1/off', 'WBC_1/sum', 'WBC_100/off', 'WBC_100/sum']
        """
        trials = self.trials
        full = trials[
            (trials["phase"] == Phase.SEARCH)
            & (trials["status"] == TrialStatus.COMPLETED)
            & trials[self.metric].notna()
        ]
        full = full.sort_values([self.metric, "val_loss", "index"], ascending=[False, True, True], kind="stable")
        best = full.drop_duplicates("arm").sort_values(["fraction", "arm"], kind="stable")
        return best.reset_index(drop=True)

    def confirmations(self) -> pd.DataFrame:
        """The trials that confirm the arms' winners, whatever their status.

        A search that was extended may have found another winner; confirmations of an earlier one do not count.

        Returns:
            Rows of `trials`, in the order of the records.

        Example:
            >>> study.confirmations()["phase"].unique().tolist()
            ['confirm']
        """
        trials = self.trials[self.trials["phase"] == Phase.CONFIRM]
        point = ["learning_rate", "weight_decay", "settings"]
        won = self.winners().set_index("arm")[point].reindex(trials["arm"])
        current = (won.to_numpy() == trials[point].to_numpy()).all(axis=1)
        chosen: pd.DataFrame = trials[current | won["learning_rate"].isna().to_numpy()].reset_index(drop=True)
        return chosen

    def selected(self) -> pd.DataFrame:
        """The runs that the tables show: the confirmed ones, or the winners of the search while there are none.

        Returns:
            The columns of `confirmed` and ``rule``: "confirmed" or "winner".

        Example:
            >>> study.selected()["rule"].unique().tolist()
            ['confirmed']
        """
        if len(self.confirmed):
            return self.confirmed.assign(rule="confirmed")
        return self._with_test(self.winners()).assign(rule="winner")

    @cached_property
    def _epochs(self) -> pd.DataFrame:
        """Epoch records with their metrics, without anything of the trial."""
        epochs = read_segments(self.path / "records" / "epochs", EPOCH_COLUMNS)
        # A crash between an epoch's record and its checkpoint makes the trial report the same epoch again.
        epochs = epochs.drop_duplicates(["trial_id", "epoch"]).reset_index(drop=True)
        size = len(self.classes)
        confusion = _stack(epochs["confusion"], (size, size), "epochs.confusion", self.path)
        metrics = confusion_metrics(confusion)
        epochs["val_accuracy"] = metrics.accuracy
        epochs["val_macro_f1"] = metrics.macro_f1
        epochs["val_weighted_f1"] = metrics.weighted_f1
        for position, column in enumerate(self._recall_columns("val")):
            epochs[column] = metrics.recall[:, position]
        return epochs

    def _recall_columns(self, split: str) -> list[str]:
        return [f"{split}_recall_{name.lower()}" for name in self.classes]

    def _with_test(self, trials: pd.DataFrame) -> pd.DataFrame:
        """Add the test metrics of the given trials, keep the columns of `confirmed`."""
        trials = trials.reset_index(drop=True)
        predictions = self.predictions
        test = predictions[(predictions["split"] == "test") & predictions["trial_id"].isin(trials["trial_id"])]
        groups = pd.Index(trials["trial_id"]).get_indexer(pd.Index(test["trial_id"]))
        metrics = confusion_metrics(
            count_confusion(test["label"], test["predicted"], len(self.classes), groups, len(trials))
        )
        trials["test_accuracy"] = metrics.accuracy
        trials["test_macro_f1"] = metrics.macro_f1
        trials["test_weighted_f1"] = metrics.weighted_f1
        for position, column in enumerate(self._recall_columns("test")):
            trials[column] = metrics.recall[:, position]
        values = [
            [f"{split}_accuracy", f"{split}_macro_f1", f"{split}_weighted_f1", *self._recall_columns(split)]
            for split in ("val", "test")
        ]
        settings = ["seed", "learning_rate", "weight_decay", "settings", "best_epoch", "val_loss"]
        scores, size = [*values[0], *values[1]], ["train_images", "parameters"]
        return trials[["trial_id", "phase", *ARM_COLUMNS, "status", *settings, *scores, *size, *self.searched_settings]]


def _stack(lists: pd.Series[Any], shape: tuple[int, ...], column: str, place: Path) -> np.ndarray[Any, np.dtype[Any]]:
    """Lists of one length as float64 (N, *shape); a missing list becomes NaN-free zeros.

    Raises:
        StudyError: A list has another length.
    """
    size = int(np.prod(shape))
    values = lists.to_numpy()
    present = lists.notna().to_numpy()  # a list is never missing, whatever it holds
    stacked = np.zeros((len(values), size))
    if present.any():
        flat = np.concatenate(values[present]).astype(np.float64)
        if flat.size != present.sum() * size:
            lengths = sorted({len(value) for value in values[present]})
            raise StudyError(
                f"{place}: records/{column} holds lists of {', '.join(map(str, lengths))} values, expected {size} for "
                "the classes named in manifest.json. The records and the manifest are not of the same study."
            )
        stacked[present] = flat.reshape(-1, size)
    return stacked.reshape(len(values), *shape)


def _read_mapping(path: Path) -> dict[str, Any]:
    """Content of a JSON or YAML file, {} when it does not exist."""
    if not path.is_file():
        return {}
    text = path.read_text(encoding="utf-8")
    try:
        content = json.loads(text) if path.suffix == ".json" else yaml.safe_load(text)
    except (ValueError, yaml.YAMLError) as error:
        raise StudyError(f"{path}: cannot be read ({error}). Restore it from a copy or run the study again.") from error
    if not isinstance(content, dict):
        raise StudyError(f"{path}: found {type(content).__name__}, expected a mapping of names to values.")
    return content


def _no_study(path: Path) -> str:
    found = f"{path}: no study here, study.yaml is missing" if path.is_dir() else f"{path}: there is no such folder"
    inside = sorted(file.parent.name for file in path.glob("*/study.yaml")) if path.is_dir() else []
    beside = sorted(file.parent.name for file in path.resolve().parent.glob("*/study.yaml"))
    if inside:
        return f"{found}. Studies inside it: {', '.join(inside)}."
    if beside:
        return f"{found}. Studies beside it: {', '.join(beside)}."
    return f"{found}, and there are no studies beside it. Make one with `wbc-study run`."
