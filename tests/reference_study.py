"""Put a finished study where README shows it, without anything that names a machine or a picture.

    python -m tests.reference_study ray_results/mine
    python -m tests.readme_tables --write
    python -m tests.reference_study ray_results/other ray_results/reference_stand_ins    # beside it, without a report

Records, configuration, manifest, audit, evaluations and the tables of images are copied; weights are not. Hosts and messages of
failed trials are left out, names of image files are replaced by numbers, folders by their last parts (``DATA`` stands for the
folder of the images), and probabilities keep three significant digits. The report is written anew, without images.
"""

from __future__ import annotations

import json
import shutil
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import yaml

from analysis import load_study
from analysis.report.page import write_report
from tests.readme_tables import REFERENCE

_BITS = 10
"""Bits of a probability that are kept; the others say nothing and do not compress."""


def publish(run: Path, target: Path, *, report: bool = True) -> None:
    """Copy a study; what lies at the target is replaced.

    Args:
        run: Directory of a finished study.
        target: Folder of what is committed.
        report: Whether to write the report anew; most of it is Plotly, and `wbc-study report` makes it from the records.
    """
    config = yaml.safe_load((run / "study.yaml").read_text(encoding="utf-8"))
    root = str(config["data"].get("root") or "")

    def shorten(text: str) -> str:
        text = text.replace(root, "DATA") if root else text
        return Path(text).name if text.startswith("/") else text

    shutil.rmtree(target, ignore_errors=True)
    target.mkdir(parents=True)
    (target / "study.yaml").write_text(
        yaml.safe_dump(_map_texts(config, shorten), sort_keys=False, allow_unicode=True), encoding="utf-8"
    )
    for name in ("manifest.json", "audit.json"):
        values = _map_texts(json.loads((run / name).read_text(encoding="utf-8")), shorten)
        values = _without_file_names(values) if name == "audit.json" else values
        (target / name).write_text(json.dumps(values, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
    for source in sorted((run / "records").rglob("*.parquet")):
        frame = pd.read_parquet(source)
        if "host" in frame:
            frame["host"] = ""
        if "error" in frame:
            # A traceback names files.
            frame["error"] = frame["error"].where(frame["error"] == "", "left out")
        _write_small(frame, target / source.relative_to(run))
    _copy_images(run, target)
    for folder in sorted((run / "evaluations").glob("*/")):
        kept = target / "evaluations" / folder.name
        _copy_images(folder, kept)
        _write_small(pd.read_parquet(folder / "predictions.parquet"), kept / "predictions.parquet")
        about = _map_texts(json.loads((folder / "evaluation.json").read_text(encoding="utf-8")), shorten)
        about["unreadable"] = {f"{number:05}": "left out" for number in range(len(about["unreadable"]))}
        (kept / "evaluation.json").write_text(json.dumps(about, indent=2) + "\n", encoding="utf-8")
    for curve in sorted((run / "pretrain").glob("*/curve.parquet")):
        (target / "pretrain" / curve.parent.name).mkdir(parents=True)
        shutil.copyfile(curve, target / "pretrain" / curve.parent.name / curve.name)
    if report:
        write_report(load_study(target), images=False)


def _write_small(frame: pd.DataFrame, path: Path) -> None:
    """Numbers that rise, and the bytes of rounded probabilities each with its like, take a third of the place."""
    encoded = {"sequence": "DELTA_BINARY_PACKED"} if "sequence" in frame else {}
    if "probabilities" in frame:
        frame["probabilities"] = [_rounded(np.asarray(row, dtype=np.float32)) for row in frame["probabilities"]]
        encoded["probabilities.list.element"] = "BYTE_STREAM_SPLIT"
    path.parent.mkdir(parents=True, exist_ok=True)
    frame.to_parquet(
        path,
        compression="zstd",
        compression_level=19,
        index=False,
        use_dictionary=[name for name in frame if name not in ("sequence", "probabilities")],
        column_encoding=encoded,
    )


def _rounded(probabilities: np.ndarray[Any, np.dtype[np.float32]]) -> np.ndarray[Any, np.dtype[np.float32]]:
    """With fewer digits, unless another class would be the likeliest."""
    mantissa, exponent = np.frexp(probabilities)
    rounded = np.ldexp(np.round(mantissa * 2**_BITS) / 2**_BITS, exponent).astype(np.float32)
    return rounded if rounded.argmax() == probabilities.argmax() else probabilities


def _copy_images(folder: Path, target: Path) -> None:
    images = pd.read_parquet(folder / "images.parquet")
    images["path"] = [f"{position:05}" for position in range(len(images))]
    target.mkdir(parents=True, exist_ok=True)
    images.to_parquet(target / "images.parquet", compression="zstd", index=False)


def _without_file_names(audit: dict[str, Any]) -> dict[str, Any]:
    """An audit that counts what it found and does not name it."""
    return {
        domain: {
            key: len(value) if key in ("unreadable", "duplicates", "leaks") and isinstance(value, list) else value
            for key, value in found.items()
        }
        if isinstance(found, dict)
        else found
        for domain, found in audit.items()
    }


def _map_texts(value: Any, change: Callable[[str], str]) -> Any:
    if isinstance(value, dict):
        return {key: _map_texts(each, change) for key, each in value.items()}
    if isinstance(value, list):
        return [_map_texts(each, change) for each in value]
    return change(value) if isinstance(value, str) else value


def main(arguments: list[str]) -> None:
    """Run as the module says."""
    run, target = Path(arguments[0]), Path(arguments[1]) if len(arguments) > 1 else REFERENCE
    publish(run, target, report=target.name == REFERENCE.name)
    size = sum(path.stat().st_size for path in target.rglob("*") if path.is_file())
    print(f"Written: {target} ({size / 2**20:.1f} MB)")


if __name__ == "__main__":
    main(sys.argv[1:])
