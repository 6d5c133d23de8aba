"""Segments are durable, numbered, merged without loss, and never half there."""

from __future__ import annotations

import errno
import json
import os
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from analysis.records.schema import EPOCH_COLUMNS, TABLES, TRIAL_COLUMNS
from analysis.records.segments import read_segments
from study.errors import StudyFailed
from study.storage import records as records_module
from study.storage.records import RecordWriter, write_table


def epoch(number: int, trial_id: str = "t", **more: Any) -> dict[str, Any]:
    values = {
        "steps": 3 * number,
        "learning_rate": 1e-3,
        "train_loss": 0.1 + number,
        "train_accuracy": 0.5,
        "val_loss": None if number % 3 == 0 else 1 / number,
        "confusion": [number, 0, 1, 2],
        "rung": number if number % 2 else None,
        "decision": "continue",
        "seconds": 0.25,
        "time": 1.7e9,
    }
    return {"trial_id": trial_id, "epoch": number, **values, **more}


def trial(trial_id: str = "t") -> dict[str, Any]:
    return {"trial_id": trial_id, "index": 0, "seed": 0, "epochs": 0, "train_images": 0, "parameters": 0}


def read(folder: Path, table: str = "epochs") -> pd.DataFrame:
    return read_segments(folder / table, TABLES[table])


def names(folder: Path, table: str = "epochs") -> list[str]:
    return sorted(path.name for path in (folder / table).iterdir())


def test_rows_are_read_back_as_they_were_written(tmp_path: Path) -> None:
    writer = RecordWriter(tmp_path)
    written = [epoch(number) for number in range(1, 4)]
    writer.append("epochs", written[:2])
    writer.append("epochs", written[2:])
    found = read(tmp_path)
    assert list(found["sequence"]) == [1, 2, 3]
    assert list(found.columns) == list(EPOCH_COLUMNS)
    assert list(found["train_loss"]) == [row["train_loss"] for row in written]
    assert [list(counts) for counts in found["confusion"]] == [row["confusion"] for row in written]
    assert list(found["rung"].isna()) == [False, True, False]
    assert list(found["val_loss"].isna()) == [False, False, True]


def test_all_tables_share_one_sequence(tmp_path: Path) -> None:
    # What happened first must be known across tables.
    writer = RecordWriter(tmp_path)
    writer.append("epochs", [epoch(1), epoch(2)])
    writer.append("trials", [trial()])
    writer.append("epochs", [epoch(3)])
    assert names(tmp_path) == ["0000000001-0000000002.jsonl", "0000000004-0000000004.jsonl"]
    assert names(tmp_path, "trials") == ["0000000003-0000000003.jsonl"]


def test_nothing_to_write_is_no_segment(tmp_path: Path) -> None:
    RecordWriter(tmp_path).append("epochs", [])
    assert names(tmp_path) == []


@pytest.mark.parametrize("compacted", [False, True])
def test_sequence_numbers_continue_after_reopening(tmp_path: Path, compacted: bool) -> None:
    writer = RecordWriter(tmp_path)
    writer.append("epochs", [epoch(1), epoch(2)])
    writer.append("trials", [trial()])
    if compacted:
        writer.compact()
    RecordWriter(tmp_path).append("epochs", [epoch(3)])
    assert list(read(tmp_path)["sequence"]) == [1, 2, 4]


def test_a_number_that_is_not_finite_is_refused_before_it_is_written(tmp_path: Path) -> None:
    # It would be no JSON: other readers would refuse the whole segment.
    writer = RecordWriter(tmp_path)
    with pytest.raises(ValueError, match="JSON compliant"):
        writer.append("epochs", [epoch(1, train_loss=float("nan"))])
    assert names(tmp_path) == []


def test_compaction_keeps_every_row_and_is_idempotent(tmp_path: Path) -> None:
    writer = RecordWriter(tmp_path)
    for number in range(1, 8):
        writer.append("epochs", [epoch(number)])
    before = read(tmp_path)
    writer.compact()
    assert names(tmp_path) == ["0000000001-0000000007.parquet"]
    pd.testing.assert_frame_equal(read(tmp_path), before)
    content = (tmp_path / "epochs" / names(tmp_path)[0]).read_bytes()
    writer.compact()
    assert (tmp_path / "epochs" / names(tmp_path)[0]).read_bytes() == content
    writer.append("epochs", [epoch(8)])
    writer.compact()
    assert names(tmp_path) == ["0000000001-0000000008.parquet"]
    assert list(read(tmp_path)["epoch"]) == list(range(1, 9))


def test_compacting_empty_tables_writes_nothing(tmp_path: Path) -> None:
    RecordWriter(tmp_path).compact()
    assert [names(tmp_path, table) for table in TABLES] == [[], [], []]


def test_a_kill_before_the_merged_segments_are_deleted_loses_and_repeats_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    writer = RecordWriter(tmp_path)
    for number in range(1, 6):
        writer.append("epochs", [epoch(number)])
    before = read(tmp_path)

    class Killed(BaseException):
        pass

    def unlink(path: Path, missing_ok: bool = False) -> None:
        if path.suffix == ".jsonl" and path.name.startswith("0000000003"):
            raise Killed
        if path.exists() or not missing_ok:
            os.unlink(path)  # noqa: PTH108 - Path.unlink is what is replaced here

    with monkeypatch.context() as patch:
        patch.setattr(Path, "unlink", unlink)
        with pytest.raises(Killed):
            writer.compact()
    assert "0000000001-0000000005.parquet" in names(tmp_path) and len(names(tmp_path)) > 1
    pd.testing.assert_frame_equal(read(tmp_path), before)
    # The next process goes on from there, also when it merges before it writes.
    writer = RecordWriter(tmp_path)
    writer.compact()
    assert names(tmp_path) == ["0000000001-0000000005.parquet"]
    pd.testing.assert_frame_equal(read(tmp_path), before)
    writer.append("epochs", [epoch(6)])
    assert list(read(tmp_path)["sequence"]) == [1, 2, 3, 4, 5, 6]
    writer.compact()
    assert names(tmp_path) == ["0000000001-0000000006.parquet"]
    pd.testing.assert_frame_equal(read(tmp_path).head(5), before)


def test_many_segments_are_merged_while_the_study_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(records_module, "_COMPACT_AFTER", 4)
    writer = RecordWriter(tmp_path)
    for number in range(1, 7):
        writer.append("epochs", [epoch(number)])
        writer.append("trials", [trial()]) if number < 3 else None
    # Merged: the four that were there, not the other table, not an earlier merged one.
    assert [Path(name).suffix for name in names(tmp_path)] == [".parquet", ".jsonl", ".jsonl"]
    assert [Path(name).suffix for name in names(tmp_path, "trials")] == [".jsonl", ".jsonl"]
    assert list(read(tmp_path)["epoch"]) == list(range(1, 7))
    # Segments of an earlier process count.
    writer = RecordWriter(tmp_path)
    writer.append("epochs", [epoch(7)])
    writer.append("epochs", [epoch(8)])
    assert [Path(name).suffix for name in names(tmp_path)] == [".parquet", ".parquet"]
    assert list(read(tmp_path)["epoch"]) == list(range(1, 9))


def test_a_torn_temporary_file_is_ignored(tmp_path: Path) -> None:
    writer = RecordWriter(tmp_path)
    writer.append("epochs", [epoch(1)])
    (tmp_path / "epochs" / ".0000000002-0000000002.jsonl.4711").write_text('{"sequence": 2, "trial')
    (tmp_path / "epochs" / ".0000000001-0000000009.parquet.4711").write_bytes(b"PAR1")
    assert list(read(tmp_path)["sequence"]) == [1]
    writer = RecordWriter(tmp_path)
    writer.append("epochs", [epoch(2)])
    writer.compact()
    assert list(read(tmp_path)["sequence"]) == [1, 2]


def full_disk(descriptor: int) -> None:
    raise OSError(errno.ENOSPC, "No space left on device")


def test_a_full_disk_leaves_no_partial_segment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    writer = RecordWriter(tmp_path)
    writer.append("epochs", [epoch(1)])
    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", full_disk)
        with pytest.raises(StudyFailed, match="No space left"):
            writer.append("epochs", [epoch(2)])
    assert names(tmp_path) == ["0000000001-0000000001.jsonl"]
    writer.append("epochs", [epoch(2)])
    assert list(read(tmp_path)["epoch"]) == [1, 2]


def test_a_full_disk_during_compaction_keeps_the_segments(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    writer = RecordWriter(tmp_path)
    for number in (1, 2):
        writer.append("epochs", [epoch(number)])
    before = names(tmp_path)
    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", full_disk)
        with pytest.raises(StudyFailed, match="No space left"):
            writer.compact()
    assert names(tmp_path) == before


def test_rows_after_a_write_that_failed_at_its_very_end_do_not_replace_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # The segment is there, only its folder could not be synchronised: the writer cannot know.
    writer = RecordWriter(tmp_path)
    synchronise = os.fsync

    def only_files(descriptor: int) -> None:
        if Path(f"/proc/self/fd/{descriptor}").is_dir():
            full_disk(descriptor)
        synchronise(descriptor)

    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", only_files)
        with pytest.raises(StudyFailed, match="No space left"):
            writer.append("epochs", [epoch(1)])
    writer.append("epochs", [epoch(2)])
    assert list(read(tmp_path)["epoch"]) == [1, 2]
    assert read(tmp_path)["sequence"].is_unique


def test_each_line_of_a_segment_is_json(tmp_path: Path) -> None:
    RecordWriter(tmp_path).append("epochs", [epoch(1), epoch(3, decision="ein\nZeilenumbruch ü")])
    lines = (tmp_path / "epochs" / names(tmp_path)[0]).read_text().splitlines()
    assert [json.loads(line)["sequence"] for line in lines] == [1, 2]
    assert json.loads(lines[1])["val_loss"] is None
    assert read(tmp_path)["decision"][1] == "ein\nZeilenumbruch ü"


def test_a_table_of_rows_or_of_a_frame_is_the_same(tmp_path: Path) -> None:
    row = dict.fromkeys(TRIAL_COLUMNS) | {"sequence": 1, "trial_id": "t", "learning_rate": 1e-3}
    write_table(tmp_path / "rows.parquet", [row], TRIAL_COLUMNS)
    write_table(tmp_path / "frame.parquet", pd.DataFrame([row]), TRIAL_COLUMNS)
    rows, frame = (pd.read_parquet(tmp_path / name) for name in ("rows.parquet", "frame.parquet"))
    pd.testing.assert_frame_equal(rows, frame)
    assert list(rows.columns) == list(TRIAL_COLUMNS)


ACTIONS = st.lists(
    st.one_of(st.integers(1, 3), st.just("compact"), st.just("reopen"), st.just("fail")), min_size=1, max_size=15
)


@settings(max_examples=25, deadline=None)
@given(actions=ACTIONS)
def test_no_order_of_appends_compactions_failures_and_restarts_loses_a_row(
    tmp_path_factory: pytest.TempPathFactory, actions: list[int | str]
) -> None:
    folder = tmp_path_factory.mktemp("records")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(records_module, "_COMPACT_AFTER", 3)
        writer, expected = RecordWriter(folder), 0
        for action in actions:
            if action == "compact":
                writer.compact()
            elif action == "reopen":
                writer = RecordWriter(folder)
            elif action == "fail":
                with pytest.MonkeyPatch.context() as full:
                    full.setattr(os, "fsync", full_disk)
                    with pytest.raises(StudyFailed, match="No space"):
                        writer.append("epochs", [epoch(999)])
            else:
                writer.append("epochs", [epoch(expected + i + 1) for i in range(int(action))])
                expected += int(action)
    found = read(folder)
    assert list(found["epoch"]) == list(range(1, expected + 1))
    assert found["sequence"].is_monotonic_increasing and found["sequence"].is_unique
