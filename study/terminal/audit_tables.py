"""The audit as tables for the terminal."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from rich.table import Table

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

_LISTED = 10
"""Files named for each kind of finding; audit.json has all of them."""

_SHARE_TOLERANCE = 0.1
"""Part of itself by which a fraction may miss its name before that is said."""


def audit_tables(findings: Mapping[str, Mapping[str, Any]]) -> Iterator[Table | str]:
    """Images of each domain per split and class, labelled fractions, and what was found wrong."""
    for domain, found in findings.items():
        yield _count_table(domain, found)
        high, wide = found["sizes"]["height"], found["sizes"]["width"]
        yield f"  stored size {high['min']} to {high['max']} x {wide['min']} to {wide['max']} px;"
        yield f"  validation {found['validation_origin']}, test {found['test_origin']}; fingerprint {found['fingerprint'][:16]}"
        if found.get("groups"):
            yield f"  {found['groups']:,} groups, which fractions and splits set aside do not divide"
        for title, lines in _problems(found).items():
            if lines:
                yield f"  {title}: {len(lines)}"
                yield from (f"    {line}" for line in lines[:_LISTED])
                if len(lines) > _LISTED:
                    yield f"    and {len(lines) - _LISTED} more"
        yield ""


def _count_table(domain: str, found: Mapping[str, Any]) -> Table:
    """One line for the images and the masks of each split, and for each labelled fraction; one column for each class."""
    classes = list(dict.fromkeys(name for split in found["images"].values() for name in split))
    rows = {f"{split} images": counts for split, counts in found["images"].items()}
    rows |= {f"{split} masks": counts for split, counts in found["masks"].items() if any(counts.values())}
    rows |= {_fraction_label(float(key), part): part["classes"] for key, part in found.get("fractions", {}).items()}
    table = Table(
        title=f"{domain}: {found['images_total']:,} images", title_justify="left", box=None, padding=(0, 2, 0, 0)
    )
    table.add_column("")
    for name in (*classes, "total"):
        table.add_column(name, justify="right")
    for label, counts in rows.items():
        table.add_row(label, *(f"{counts.get(name, 0):,}" for name in classes), f"{sum(counts.values()):,}")
    return table


def _fraction_label(fraction: float, part: Mapping[str, Any]) -> str:
    """Name of a labelled fraction, with what is particular about its subset."""
    share, notes = part["share"], ["ready-made"] if part.get("ready_made") else []
    if abs(share - fraction) > _SHARE_TOLERANCE * fraction:
        # Every class keeps an image, and groups stay whole.
        notes.append(f"really {100 * share:.3g} %")
    return f"{100 * fraction:g} % of train" + (f" ({', '.join(notes)})" if notes else "")


def _problems(found: Mapping[str, Any]) -> dict[str, list[str]]:
    """Kind of problem -> one line for each file or group that has it."""
    return {
        # Only the folders themselves can have divided them.
        "groups in several splits, which makes the later split optimistic": found.get("groups_across_splits", []),
        "unreadable": [f"{entry['path']}: {entry['reason']}" for entry in found["unreadable"]],
        "identical images": [" = ".join(group) for group in found["duplicates"]],
        "in two splits": [
            f"{entry['path']} ({entry['split']}) is {entry['same_as']}: {entry['action']}" for entry in found["leaks"]
        ],
    }
