"""Tables that a study writes: folders of numbered immutable segments, and single parquet files."""

from __future__ import annotations

import io
import json
import re
from collections.abc import Collection, Mapping
from pathlib import Path

import pandas as pd
import pyarrow as pa
import pyarrow.json
import pyarrow.parquet

from analysis.records.errors import StudyError

SEGMENT_NAME = re.compile(r"\d+-\d+\.(jsonl|parquet)")
"""Names of segments; other files in the folder, such as half-written temporary ones, are left alone."""

_ARROW_TYPES = {
    "int64": pa.int64(),
    "Int64": pa.int64(),
    "float64": pa.float64(),
    "string": pa.string(),
    "list<int64>": pa.list_(pa.int64()),
    "list<float64>": pa.list_(pa.float64()),
}
_PANDAS_TYPES = {"int64": "int64", "Int64": "Int64", "float64": "float64", "string": "str"}
_ATTEMPTS = 5
"""Number of tries to read a table. A running study may replace segments by a compacted one between listing and reading."""


def read_segments(folder: Path, columns: Mapping[str, str], only: Collection[Path] | None = None) -> pd.DataFrame:
    """Read the segments of a table.

    Args:
        folder: The folder ``records/<table>``, which need not exist.
        columns: Name -> type of the wanted columns, as in `analysis.records.schema`; one of them is ``sequence``.
        only: Segments to read; all in the folder when None.

    Returns:
        One row per sequence number, ascending, with exactly these columns; empty when there are no segments.

    Raises:
        StudyError: A segment is damaged or a column has another type than expected.
    """
    for attempt in range(_ATTEMPTS):
        try:
            return _read_once(folder, columns, only)
        except FileNotFoundError as error:
            if attempt == _ATTEMPTS - 1:
                raise StudyError(
                    f"{error.filename}: vanished while it was read, {_ATTEMPTS} times in a row. The study seems to be "
                    "moved or deleted; read it again when that has ended."
                ) from error
    raise AssertionError("unreachable")


def read_parquet(path: Path, columns: Mapping[str, str]) -> pd.DataFrame:
    """Read one parquet file with the given columns; an empty frame when it does not exist.

    Raises:
        StudyError: The file is damaged or a column has another type than expected.
    """
    table = _parquet_table(path, columns) if path.is_file() else _empty_table(columns)
    return _to_frame(table, columns, path)


def _read_once(folder: Path, columns: Mapping[str, str], only: Collection[Path] | None) -> pd.DataFrame:
    found = folder.iterdir() if folder.is_dir() and only is None else only or ()
    paths = sorted(path for path in found if SEGMENT_NAME.fullmatch(path.name))
    tables = [_parquet_table(path, columns) for path in paths if path.suffix == ".parquet"]
    lines = {path: _complete_lines(path.read_bytes()) for path in paths if path.suffix == ".jsonl"}
    if any(lines.values()):
        tables.append(_jsonl_table(lines, columns))
    table = pa.concat_tables(tables) if tables else _empty_table(columns)
    frame = _to_frame(table, columns, folder)
    if not (frame["sequence"].is_monotonic_increasing and frame["sequence"].is_unique):
        frame = frame.drop_duplicates("sequence").sort_values("sequence", kind="stable")
    return frame.reset_index(drop=True)


def _complete_lines(content: bytes) -> bytes:
    """Content of a .jsonl file without a torn last line, ending in a newline unless empty."""
    content = content.rstrip(b"\r\n\0 ")
    last = content.rfind(b"\n") + 1
    try:
        json.loads(content[last:])
    except ValueError:  # also a UnicodeDecodeError: torn within a character
        content = content[:last]
    return content.rstrip(b"\r\n") + b"\n" if content else b""


def _jsonl_table(lines: Mapping[Path, bytes], columns: Mapping[str, str]) -> pa.Table:
    """Table of the lines of all .jsonl segments together."""
    content = b"".join(lines.values())
    options = pyarrow.json.ParseOptions(explicit_schema=arrow_schema(columns), unexpected_field_behavior="ignore")
    # One block must hold the longest line: a failed trial's traceback can be long.
    block = pyarrow.json.ReadOptions(block_size=max(1 << 22, 2 * max(map(len, content.split(b"\n")))))
    try:
        return pyarrow.json.read_json(io.BytesIO(content), read_options=block, parse_options=options)
    except pa.ArrowInvalid:
        # Slower, but it accepts NaN and finds the place of a mistake.
        return pa.concat_tables(_slow_jsonl_table(path, part, columns) for path, part in lines.items())


def _slow_jsonl_table(path: Path, content: bytes, columns: Mapping[str, str]) -> pa.Table:
    """Table of the lines of one segment, read one by one; an error names the line."""
    rows = []
    for number, line in enumerate(content.splitlines(), start=1):
        try:
            row = json.loads(line)
        except ValueError as error:
            raise StudyError(
                f"{path}, line {number}: not JSON ({error}). Only the last line of a segment may be torn; restore the "
                "file from a copy or delete the line."
            ) from error
        if not isinstance(row, dict):
            raise StudyError(f"{path}, line {number}: found {type(row).__name__}, expected one JSON object a line.")
        rows.append(row)
    try:
        return pa.Table.from_pylist(rows, schema=arrow_schema(columns))
    except (pa.ArrowInvalid, pa.ArrowTypeError) as error:
        raise StudyError(f"{path}: a value has another type than the schema says ({error}).") from error


def _parquet_table(path: Path, columns: Mapping[str, str]) -> pa.Table:
    try:
        with pyarrow.parquet.ParquetFile(path) as file:
            present = [name for name in columns if name in file.schema_arrow.names]
            found = file.read(columns=present)
        arrays = [
            found[name].cast(_ARROW_TYPES[kind]) if name in present else pa.nulls(len(found), _ARROW_TYPES[kind])
            for name, kind in columns.items()
        ]
    except pa.ArrowException as error:
        raise StudyError(
            f"{path}: cannot be read as parquet with the columns {', '.join(columns)} ({error}). It is damaged or was "
            "not written by this version of wbc-study."
        ) from error
    return pa.table(arrays, schema=arrow_schema(columns))


def _to_frame(table: pa.Table, columns: Mapping[str, str], place: Path) -> pd.DataFrame:
    data: dict[str, object] = {}
    for name, kind in columns.items():
        array = table[name]
        if kind == "string":
            data[name] = array.fill_null("").to_pandas().astype("str")
        elif kind == "int64" and array.null_count:
            raise StudyError(
                f"{place}: column {name!r} is missing in {array.null_count} of {len(array)} rows, expected an integer "
                "in each. The records were not written by this version of wbc-study."
            )
        elif kind in _PANDAS_TYPES:
            data[name] = pd.Series(array.to_pandas(integer_object_nulls=True), dtype=_PANDAS_TYPES[kind])
        else:
            data[name] = pd.Series(array.to_pandas(), dtype="object")
    return pd.DataFrame(data, columns=list(columns))


def arrow_schema(columns: Mapping[str, str]) -> pa.Schema:
    """Arrow schema of a table's columns, as segments and single files are written."""
    return pa.schema([(name, _ARROW_TYPES[kind]) for name, kind in columns.items()])


def _empty_table(columns: Mapping[str, str]) -> pa.Table:
    return arrow_schema(columns).empty_table()
