"""Reading segments: torn lines, duplicates, both formats."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from analysis.records import segments
from analysis.records.errors import StudyError
from analysis.records.schema import EPOCH_COLUMNS, TRIAL_COLUMNS
from analysis.records.segments import read_segments

COLUMNS = {"sequence": "int64", "name": "string", "value": "float64", "rung": "Int64", "counts": "list<int64>"}


def line(sequence: int, **row: object) -> str:
    return json.dumps({"sequence": sequence, "name": f"n{sequence}", "value": 1, "rung": None, "counts": [1, 2], **row})


def test_missing_folder_is_an_empty_frame_with_the_schema(tmp_path: Path) -> None:
    frame = read_segments(tmp_path / "records" / "epochs", EPOCH_COLUMNS)
    assert len(frame) == 0
    assert list(frame) == list(EPOCH_COLUMNS)
    assert str(frame["epoch"].dtype) == "int64"
    assert str(frame["rung"].dtype) == "Int64"
    assert str(frame["val_loss"].dtype) == "float64"
    assert str(frame["trial_id"].dtype) == "str"
    assert str(frame["confusion"].dtype) == "object"


def test_rows_are_sorted_and_counted_once_across_both_formats(tmp_path: Path) -> None:
    (tmp_path / "3-4.jsonl").write_text(line(4) + "\n" + line(3) + "\n")
    compacted = pd.DataFrame([json.loads(line(number)) for number in (0, 1, 2, 3)])
    compacted["rung"] = compacted["rung"].astype("Int64")
    compacted.to_parquet(tmp_path / "0-3.parquet")
    (tmp_path / "0-1.jsonl").write_text(line(0) + "\n" + line(1) + "\n")
    (tmp_path / "9-9.jsonl.tmp").write_text("half written")
    frame = read_segments(tmp_path, COLUMNS)
    assert frame["sequence"].tolist() == [0, 1, 2, 3, 4]
    assert frame["name"].tolist() == ["n0", "n1", "n2", "n3", "n4"]
    assert [list(counts) for counts in frame["counts"]] == [[1, 2]] * 5
    assert frame["rung"].isna().all()


@pytest.mark.parametrize("torn", ['{"sequence": 2, "na', '{"sequence": 2, "name": "\\ud83', "{", "\0\0\0\0"])
def test_a_torn_last_line_is_ignored(tmp_path: Path, torn: str) -> None:
    (tmp_path / "0-2.jsonl").write_text(line(0) + "\n" + line(1) + "\n" + torn)
    assert read_segments(tmp_path, COLUMNS)["sequence"].tolist() == [0, 1]


def test_a_last_line_without_newline_counts_when_it_is_whole(tmp_path: Path) -> None:
    (tmp_path / "0-1.jsonl").write_text(line(0) + "\n" + line(1))
    assert read_segments(tmp_path, COLUMNS)["sequence"].tolist() == [0, 1]


def test_a_torn_segment_does_not_swallow_the_first_row_of_the_next(tmp_path: Path) -> None:
    (tmp_path / "0-1.jsonl").write_text(line(0) + '\n{"sequen')
    (tmp_path / "1-1.jsonl").write_text(line(1) + "\n")
    assert read_segments(tmp_path, COLUMNS)["sequence"].tolist() == [0, 1]


def test_missing_and_nan_values_are_missing(tmp_path: Path) -> None:
    (tmp_path / "0-1.jsonl").write_text(line(0, value=None, rung=3) + "\n" + line(1, value=float("nan")) + "\n")
    frame = read_segments(tmp_path, COLUMNS)
    assert frame["value"].isna().all()
    assert frame["rung"][0] == 3


def test_a_long_traceback_is_read(tmp_path: Path) -> None:
    (tmp_path / "0-0.jsonl").write_text(line(0, name="x" * 9_000_000) + "\n")
    assert len(read_segments(tmp_path, COLUMNS)["name"][0]) == 9_000_000


@pytest.mark.parametrize(("times", "is_read"), [(4, True), (5, False)])
def test_segments_that_are_replaced_while_they_are_read_are_read_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, times: int, is_read: bool
) -> None:
    (tmp_path / "0000000001-0000000001.jsonl").write_text(line(1) + "\n")
    reads = segments._read_once
    vanished = [FileNotFoundError(2, "No such file", "an old segment")] * times

    def read_once(*arguments: Any) -> pd.DataFrame:
        if vanished:
            raise vanished.pop()
        return reads(*arguments)

    monkeypatch.setattr(segments, "_read_once", read_once)
    if is_read:
        assert read_segments(tmp_path, COLUMNS)["name"].tolist() == ["n1"]
    else:
        with pytest.raises(StudyError, match="an old segment: vanished while it was read, 5 times in a row"):
            read_segments(tmp_path, COLUMNS)


def test_damage_inside_a_segment_is_named(tmp_path: Path) -> None:
    (tmp_path / "0-1.jsonl").write_text("{broken\n" + line(1) + "\n")
    with pytest.raises(StudyError, match=r"0-1\.jsonl, line 1: not JSON"):
        read_segments(tmp_path, COLUMNS)


def test_wrong_types_and_missing_integers_are_named(tmp_path: Path) -> None:
    (tmp_path / "0-0.jsonl").write_text(line(0, value="high") + "\n")
    with pytest.raises(StudyError, match="another type"):
        read_segments(tmp_path, COLUMNS)
    (tmp_path / "0-0.jsonl").write_text('{"sequence": null, "name": "a"}\n')
    with pytest.raises(StudyError, match="'sequence' is missing in 1 of 1"):
        read_segments(tmp_path, COLUMNS)


def test_damaged_parquet_is_named(tmp_path: Path) -> None:
    (tmp_path / "0-1.parquet").write_bytes(b"PAR1 no")
    with pytest.raises(StudyError, match=r"0-1\.parquet: cannot be read"):
        read_segments(tmp_path, TRIAL_COLUMNS)


def test_a_quarter_million_rows_cost_no_python_loop(tmp_path: Path) -> None:
    # Compared with parsing the same rows one by one on this machine: no absolute time is asserted.
    count = 250_000
    frame = pd.DataFrame(
        {"sequence": np.arange(count), "name": "n", "value": 0.5, "rung": pd.array([1] * count, "Int64")}
    )
    frame["counts"] = [[1, 2]] * count
    frame.to_parquet(tmp_path / f"0-{count - 1}.parquet")
    text = line(1)

    def parse() -> None:
        for _ in range(count):
            json.loads(text)

    assert len(read_segments(tmp_path, COLUMNS)) == count
    pairs = [(seconds(lambda: read_segments(tmp_path, COLUMNS)), seconds(parse)) for _ in range(3)]
    assert min(fast for fast, _ in pairs) < 2 * min(slow for _, slow in pairs)


def seconds(call: Callable[[], object]) -> float:
    started = time.perf_counter()
    call()
    return time.perf_counter() - started
