"""Records of a study: numbered immutable segments, durable before anything is done about them."""

from __future__ import annotations

import io
import json
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from analysis.records.schema import TABLES
from analysis.records.segments import SEGMENT_NAME, arrow_schema, read_segments
from study.errors import StudyFailed
from study.storage.durable import write_durably

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    import pandas as pd

_COMPACT_AFTER = 512
"""Row segments of a table that are merged into one Parquet segment while a study runs: small files slow readers down."""


def write_table(path: Path, rows: Sequence[Mapping[str, Any]] | pd.DataFrame, columns: Mapping[str, str]) -> None:
    """Write rows durably as one Parquet file with the columns of the record schema."""
    import pandas as pd
    import pyarrow as pa
    import pyarrow.parquet

    schema = arrow_schema(columns)
    table = (
        pa.Table.from_pandas(rows, schema=schema, preserve_index=False)
        if isinstance(rows, pd.DataFrame)
        else pa.Table.from_pylist([dict(row) for row in rows], schema=schema)
    )
    buffer = io.BytesIO()
    pyarrow.parquet.write_table(table, buffer, compression="zstd")
    write_durably(path, buffer.getvalue())


@contextmanager
def _nothing_lost(folder: Path) -> Iterator[None]:
    """Say what a full disk means for a study."""
    try:
        yield
    except OSError as error:
        raise StudyFailed(
            f"{folder}: cannot be written ({error.strerror or error}). Nothing recorded is lost; mend this and run the same"
            " command again"
        ) from error


class RecordWriter:
    """Appends rows to the tables of one run directory. One writer at a time: the run directory's lock sees to that."""

    def __init__(
        self,
        folder: Path,
        publish: Callable[[Path], None] = lambda _: None,
        remove: Callable[[Path], None] = lambda path: path.unlink(),
    ):
        """Continue after what is there.

        Args:
            folder: ``records`` of a run directory.
            publish: Makes a file that was written durable where the study lies.
            remove: Removes a file there.
        """
        self._folder, self._publish, self._remove = folder, publish, remove
        self._pending: dict[str, int] = {}
        last = 0
        for table in TABLES:
            (folder / table).mkdir(parents=True, exist_ok=True)
            for half_written in (folder / table).glob(".*"):
                half_written.unlink()
            segments = [path for path in (folder / table).iterdir() if SEGMENT_NAME.fullmatch(path.name)]
            last = max([last, *(int(path.stem.split("-")[1]) for path in segments)])
            self._pending[table] = sum(path.suffix == ".jsonl" for path in segments)
        self._next = last + 1

    def append(self, table: str, rows: Sequence[dict[str, Any]]) -> None:
        """Make rows durable as one segment; each gets the next sequence number.

        Raises:
            StudyFailed: they cannot be written, for instance because the disk is full.
        """
        if not rows:
            return
        numbered = [{"sequence": self._next + i, **row} for i, row in enumerate(rows)]
        name = f"{self._next:010d}-{self._next + len(rows) - 1:010d}.jsonl"
        content = "".join(json.dumps(row, allow_nan=False) + "\n" for row in numbered)
        # A write that failed at its very end may have left the segment: its numbers are never given again.
        self._next += len(rows)
        with _nothing_lost(self._folder / table):
            write_durably(self._folder / table / name, content.encode())
            self._publish(self._folder / table / name)
        self._pending[table] += 1
        if self._pending[table] >= _COMPACT_AFTER:
            self._compact(table, row_segments_only=True)

    def compact(self) -> None:
        """Merge each table's segments into one Parquet segment.

        Raises:
            StudyFailed: it cannot be written; the segments stay as they are.
        """
        for table in TABLES:
            self._compact(table, row_segments_only=False)

    def _compact(self, table: str, *, row_segments_only: bool) -> None:
        folder = self._folder / table
        merged_away = [
            path
            for path in folder.iterdir()
            if SEGMENT_NAME.fullmatch(path.name) and (path.suffix == ".jsonl" or not row_segments_only)
        ]
        self._pending[table] = 0
        if not merged_away or (len(merged_away) == 1 and merged_away[0].suffix == ".parquet"):
            return
        rows = read_segments(folder, TABLES[table], only=merged_away)
        merged = folder / f"{rows['sequence'].min():010d}-{rows['sequence'].max():010d}.parquet"
        with _nothing_lost(folder):
            write_table(merged, rows, TABLES[table])
            self._publish(merged)
        # Readers count a row once by its sequence number, so a kill between these two steps loses and repeats nothing.
        for path in merged_away:
            if path != merged:
                self._remove(path)
