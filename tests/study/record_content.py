"""What two runs of one study must share, however often one of them was interrupted."""

from __future__ import annotations

from pathlib import Path

import pandas as pd

from analysis.records.schema import TABLES
from analysis.records.segments import read_segments

VOLATILE = ["sequence", "tune_id", "host", "time", "seconds"]
"""Columns that tell when and where, not what."""

WITH_SECONDS = ("budget", "pretraining")
"""Tables of the report that tell how long something took."""


def newest_trials(records: Path) -> pd.DataFrame:
    """The newest row of each trial."""
    return read_segments(records / "trials", TABLES["trials"]).drop_duplicates("trial_id", keep="last")


def content(folder: Path) -> dict[str, pd.DataFrame]:
    """The records without volatile columns, sorted."""
    tables = {}
    for name, columns in TABLES.items():
        frame = read_segments(folder / "records" / name, columns).drop(columns=VOLATILE, errors="ignore")
        if name == "trials":
            frame = frame.drop_duplicates("trial_id", keep="last")
        tables[name] = frame.astype(str).sort_values(list(frame.columns)).reset_index(drop=True)
    return tables


def report_tables(folder: Path) -> dict[str, bytes]:
    """The files of the report's tables, without those that hold seconds."""
    files = sorted((folder / "report" / "tables").iterdir())
    return {path.name: path.read_bytes() for path in files if not path.stem.startswith(WITH_SECONDS)}


def rows_of_arms(tables: dict[str, pd.DataFrame], arms: set[str]) -> dict[str, pd.DataFrame]:
    """The rows of some arms: no arm's results depend on which others there are."""
    trials = tables["trials"]
    known = set(trials[trials["arm"].isin(arms)]["trial_id"])
    return {name: table[table["trial_id"].isin(known)].reset_index(drop=True) for name, table in tables.items()}
