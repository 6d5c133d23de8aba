"""Writes a run directory as large as wanted without training: for measuring tables, report and explorer.

    python -m tests.benchmarks.large_study FOLDER --trials 10000

The curves are drawn by formulas: they have the shape of real ones and say nothing.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet
import yaml

from analysis.records.schema import (
    EPOCH_COLUMNS,
    IMAGE_COLUMNS,
    NO_SETTINGS,
    PREDICTION_COLUMNS,
    TRIAL_COLUMNS,
    arm_name,
)
from analysis.records.segments import arrow_schema

CLASSES = ("Basophil", "Eosinophil", "Lymphocyte", "Monocyte", "Neutrophil")
VALIDATION = np.array([36, 126, 412, 95, 1059])
FRACTIONS = (0.01, 0.1, 0.5, 1.0)
ARMS = tuple(
    (fraction, fusion, control)
    for fraction in FRACTIONS
    for fusion, control in (("off", ""), ("sum", ""), ("sum", "random"))
)
"""Fraction, fusion and control; with the control, so that every statistic of a complete study is asked for."""
SEEDS = 5
RUNGS = (2, 4, 8, 16)


def write_large_study(folder: Path, trials: int = 10_000, epochs: int = 25, seed: int = 0) -> Path:
    """Write a finished study with about ``trials`` search trials, a confirmation of every arm and its predictions.

    Args:
        folder: The run directory; must not exist.
        trials: Number of trials of the search, over all arms.
        epochs: Number of epochs of every trial; none is stopped early, so that there are trials x epochs rows.
        seed: Seed of the random numbers.
    """
    random = np.random.default_rng(seed)
    folder.mkdir(parents=True)
    config = {
        "name": folder.name,
        "data": {"source": "synthetic"},
        "training": {"epochs": epochs},
        "search": {
            "metric": "val_accuracy",
            "mode": "random",
            "learning_rate": [1e-4, 1e-2],
            "weight_decay": [1e-6, 1e-2],
        },
        "confirm": {"seeds": SEEDS},
    }
    (folder / "study.yaml").write_text(yaml.safe_dump(config), encoding="utf-8")
    manifest = {"schema_version": 1, "name": folder.name, "classes": list(CLASSES), "git_revision": "none"}
    (folder / "manifest.json").write_text(json.dumps(manifest), encoding="utf-8")
    per_arm = trials // len(ARMS)
    search, curves = _trials(random, per_arm, epochs)
    winner = search.assign(top=curves.max(axis=1)).sort_values("top").drop_duplicates("arm", keep="last")
    confirm = winner.drop(columns="top").loc[winner.index.repeat(SEEDS)].reset_index(drop=True)
    confirm["phase"] = "confirm"
    confirm["index"] = np.tile(np.arange(SEEDS), len(winner))
    confirm["seed"] = 1 + confirm["index"]
    confirm["trial_id"] = [f"c{number:07x}" for number in range(len(confirm))]
    confirmed_curves = np.clip(
        np.repeat(curves[winner.index], SEEDS, axis=0) + random.normal(0, 0.01, (len(confirm), epochs)), 0.05, 0.99
    )
    rows = pd.concat([search, confirm], ignore_index=True)
    accuracy = np.concatenate([curves, confirmed_curves])
    _write_epochs(folder, random, rows, accuracy)
    _write_trials(folder, rows, epochs)
    _write_predictions(folder, random, confirm, confirmed_curves)
    return folder


def _trials(random: np.random.Generator, per_arm: int, epochs: int) -> tuple[pd.DataFrame, np.ndarray]:
    parts, curves = [], []
    for fraction, fusion, control in ARMS:
        learning_rate = 10 ** random.uniform(-4, -2, per_arm)
        weight_decay = 10 ** random.uniform(-6, -2, per_arm)
        top = 0.9 + 0.03 * (fusion == "sum") * (control == "") + 0.05 * np.log10(fraction)
        top = top - 0.05 * (np.log10(learning_rate) + 3) ** 2 - 0.01 * (np.log10(weight_decay) + 4) ** 2
        rise = 1 - np.exp(-np.arange(1, epochs + 1) / 5)
        curve = 0.5 + (top[:, None] - 0.5) * rise + random.normal(0, 0.01, (per_arm, epochs))
        curves.append(np.clip(curve, 0.05, 0.99))
        parts.append(
            pd.DataFrame(
                {
                    "phase": "search",
                    "arm": arm_name(fraction, fusion, control),
                    "fraction": fraction,
                    "fusion": fusion,
                    "encoders": "" if fusion == "off" else "prcc+cam16",
                    "control": control,
                    "segmentation": "",
                    "network": "",
                    "index": np.arange(per_arm),
                    "seed": 0,
                    "learning_rate": learning_rate,
                    "weight_decay": weight_decay,
                    "settings": NO_SETTINGS,
                    "train_images": round(8447 * fraction),
                }
            )
        )
    rows = pd.concat(parts, ignore_index=True)
    rows["trial_id"] = [f"{number:08x}" for number in range(len(rows))]
    return rows, np.concatenate(curves)


def _write_epochs(folder: Path, random: np.random.Generator, rows: pd.DataFrame, accuracy: np.ndarray) -> None:
    count, epochs = accuracy.shape
    epoch = np.tile(np.arange(1, epochs + 1), count)
    right = np.rint(accuracy[..., None] * VALIDATION * np.array([0.7, 0.9, 1.0, 0.8, 1.02])).astype(np.int64)
    right = np.minimum(right, VALIDATION).reshape(-1, len(VALIDATION))
    wrong = VALIDATION - right
    confusion = np.zeros((len(right), 5, 5), dtype=np.int64)
    for label in range(5):
        confusion[:, label, label] = right[:, label]
        confusion[:, label, 2 if label == 4 else 4] += wrong[:, label]
    seconds = random.uniform(2, 4, len(epoch))
    begin = 1.7e9 + np.repeat(np.arange(count) // 8, epochs) * epochs * 4.0
    frame = pd.DataFrame(
        {
            "sequence": np.arange(len(epoch)) + count + 1,
            "trial_id": np.repeat(rows["trial_id"].to_numpy(), epochs),
            "epoch": epoch,
            "steps": 100 * epoch,
            "learning_rate": np.repeat(rows["learning_rate"].to_numpy(), epochs),
            "train_loss": 2 * (1 - accuracy.ravel()) + 0.1,
            "train_accuracy": np.clip(accuracy.ravel() + 0.02, 0, 1),
            "val_loss": 2.2 * (1 - accuracy.ravel()) + 0.15,
            "confusion": list(confusion.reshape(-1, 25)),
            "rung": pd.array(np.where(np.isin(epoch, RUNGS), epoch, -1), dtype="Int64"),
            "decision": np.where(epoch == epochs, "complete", "continue"),
            "seconds": seconds,
            "time": begin + 4.0 * epoch,
        }
    )
    frame["rung"] = frame["rung"].replace(-1, pd.NA)
    _write(folder, "epochs", frame, EPOCH_COLUMNS)


def _write_trials(folder: Path, rows: pd.DataFrame, epochs: int) -> None:
    frame = rows.assign(
        status="completed",
        epochs=epochs,
        parameters=719013,
        error="",
        tune_id="",
        host=[f"node{number % 4}" for number in range(len(rows))],
        time=1.7e9,
        sequence=np.arange(len(rows)),
    )
    _write(folder, "trials", frame, TRIAL_COLUMNS)


def _write_predictions(folder: Path, random: np.random.Generator, confirm: pd.DataFrame, curves: np.ndarray) -> None:
    labels = np.repeat(np.arange(5), VALIDATION)
    images = pd.DataFrame(
        [
            {"image": f"{split}{number:06}", "path": f"{split}/{CLASSES[label]}/{number:06}.png", "split": split}
            | {"label": int(label), "group": ""}
            for split in ("val", "test")
            for number, label in enumerate(labels)
        ]
    )
    images.to_parquet(folder / "images.parquet")
    assert list(images) == list(IMAGE_COLUMNS)
    parts = []
    for position, trial_id in enumerate(confirm["trial_id"]):
        for split in ("val", "test"):
            hit = random.random(len(labels)) < curves[position].max()
            taken = np.where(hit, labels, random.integers(0, 5, len(labels)))
            probabilities = np.full((len(labels), 5), 0.05)
            probabilities[np.arange(len(labels)), taken] = 0.8
            parts.append(
                pd.DataFrame(
                    {
                        "trial_id": trial_id,
                        "epoch": int(curves[position].argmax()) + 1,
                        "split": split,
                        "image": [f"{split}{number:06}" for number in range(len(labels))],
                        "label": labels,
                        "probabilities": list(probabilities),
                    }
                )
            )
    frame = pd.concat(parts, ignore_index=True)
    frame["sequence"] = np.arange(len(frame)) + 10_000_000
    _write(folder, "predictions", frame, PREDICTION_COLUMNS)


def _write(folder: Path, table: str, frame: pd.DataFrame, columns: dict[str, str]) -> None:
    target = folder / "records" / table
    target.mkdir(parents=True)
    first, last = int(frame["sequence"].iloc[0]), int(frame["sequence"].iloc[-1])
    content = pa.Table.from_pandas(frame[list(columns)], schema=arrow_schema(columns), preserve_index=False)
    pyarrow.parquet.write_table(content, target / f"{first:010d}-{last:010d}.parquet", compression="zstd")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--trials", type=int, default=10_000)
    parser.add_argument("--epochs", type=int, default=25)
    arguments = parser.parse_args()
    print(write_large_study(arguments.folder, arguments.trials, arguments.epochs))
