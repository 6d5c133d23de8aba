"""The table that says which patient or smear an image is of: `data.groups`."""

from __future__ import annotations

import csv
from pathlib import Path
from typing import NamedTuple

from data_utils.errors import DataError


class GroupsFile(NamedTuple):
    """What a groups file says."""

    groups: dict[str, str]
    """Path relative to the wbc folder -> group."""
    content: bytes
    """The file as it is; the identity of the images covers it."""


def read_groups(path: Path, column: str) -> GroupsFile:
    """Read a CSV file with the columns `path` and `column`.

    Raises:
        DataError: the file cannot be read, lacks a column, or puts an image into two groups.
    """
    try:
        content = path.read_bytes()
        rows = csv.DictReader(content.decode("utf-8-sig").splitlines())
        fields = list(rows.fieldnames or [])
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(f"data.groups: {path} cannot be read ({error}); expected a CSV file in UTF-8.") from error
    missing = [name for name in ("path", column) if name not in fields]
    if missing:
        raise DataError(
            f"data.groups: {path} has no column {missing[0]!r}; found {', '.join(fields) or 'no columns'}. "
            "Expected `path` (relative to the wbc folder) and the column that data.group_column names."
        )
    groups: dict[str, str] = {}
    for row in rows:
        name = (row["path"] or "").strip().replace("\\", "/").removeprefix("./")
        group = (row[column] or "").strip()
        if groups.setdefault(name, group) != group:
            raise DataError(
                f"data.groups: {path} puts {name!r} into two groups, {groups[name]!r} and {group!r}; expected one."
            )
    return GroupsFile(groups, content)
