"""The audit as a person reads it."""

from __future__ import annotations

from io import StringIO
from typing import Any

from rich.console import Console

from data_utils.arrays import ImageArrays
from data_utils.audit import audit
from study.terminal.audit_tables import audit_tables


def printed(findings: dict[str, Any]) -> list[str]:
    console = Console(file=StringIO(), width=160, highlight=False)
    for part in audit_tables(findings):
        console.print(part, markup=False)
    assert isinstance(console.file, StringIO)
    return console.file.getvalue().splitlines()


def found(**more: Any) -> dict[str, Any]:
    """Findings about two classes, literal."""
    return {
        "images": {"train": {"normal": 1200, "tumor": 30}, "val": {"normal": 4, "tumor": 0}, "test": {}},
        "masks": {"train": {"normal": 2, "tumor": 1}, "val": {"normal": 0, "tumor": 0}},
        "images_total": 1234,
        "sizes": {"height": {"min": 20, "max": 24}, "width": {"min": 30, "max": 32}},
        "fingerprint": "0123456789abcdef" * 4,
        "unreadable": [],
        "duplicates": [],
        "leaks": [],
        "validation_origin": "folder",
        "test_origin": "set aside",
        **more,
    }


def test_images_are_counted_by_split_and_class() -> None:
    lines = printed({"cam16": found()})
    assert lines[0].strip() == "cam16: 1,234 images"
    assert lines[1].split() == ["normal", "tumor", "total"]
    assert [line.split() for line in lines[2:6]] == [
        ["train", "images", "1,200", "30", "1,230"],
        ["val", "images", "4", "0", "4"],
        ["test", "images", "0", "0", "0"],
        ["train", "masks", "2", "1", "3"],  # there is no line about masks where there are none
    ]
    assert " ".join(" ".join(lines[6:]).split()) == (
        "stored size 20 to 24 x 30 to 32 px; validation folder, test set aside; fingerprint 0123456789abcdef"
    )


def test_labelled_fractions_are_counted_too() -> None:
    fractions = {
        "0.01": {"classes": {"normal": 150, "tumor": 4}, "total": 154, "share": 0.12},
        "0.125": {"classes": {"normal": 150, "tumor": 4}, "total": 154, "share": 0.12},
        "0.5": {"classes": {"normal": 150, "tumor": 4}, "total": 154, "share": 0.5, "ready_made": True},
    }
    lines = [" ".join(line.split()) for line in printed({"wbc": found(fractions=fractions)})]
    assert "1 % of train (really 12 %) 150 4 154" in lines
    assert "12.5 % of train 150 4 154" in lines
    assert "50 % of train (ready-made) 150 4 154" in lines


def test_what_was_wrong_is_named() -> None:
    lines = printed(
        {
            "wbc": found(
                unreadable=[{"path": "train/[1].png", "reason": "truncated"}],
                duplicates=[["a.png", "b.png", "c.png"]],
                leaks=[{"path": "a.png", "split": "train", "same_as": "v.png", "action": "dropped from train"}],
            )
        }
    )
    assert lines[-7:-1] == [
        "  unreadable: 1",
        "    train/[1].png: truncated",
        "  identical images: 1",
        "    a.png = b.png = c.png",
        "  in two splits: 1",
        "    a.png (train) is v.png: dropped from train",
    ]


def test_groups_that_the_folders_divide_are_named() -> None:
    lines = printed({"wbc": found(groups=3, groups_across_splits=["patient 1", "patient 2"])})
    assert lines[-5:-1] == [
        "  3 groups, which fractions and splits set aside do not divide",
        "  groups in several splits, which makes the later split optimistic: 2",
        "    patient 1",
        "    patient 2",
    ]
    assert not any("groups" in line for line in printed({"wbc": found(groups=0, groups_across_splits=[])}))


def test_a_long_list_is_cut_and_says_so() -> None:
    lines = printed({"wbc": found(unreadable=[{"path": f"{i}.png", "reason": "bad"} for i in range(13)])})
    assert lines[-13] == "  unreadable: 13"
    assert lines[-3:-1] == ["    9.png: bad", "    and 3 more"]


def test_a_real_audit_can_be_shown(small_arrays: ImageArrays) -> None:
    findings = audit({"wbc": small_arrays}, (0.1, 1.0), seed=0)
    rows = [line.split() for line in printed(findings)]
    assert rows[1] == ["Basophil", "Eosinophil", "Lymphocyte", "Monocyte", "Neutrophil", "total"]
    train = next(row for row in rows if row[:2] == ["train", "images"])
    everything = next(row for row in rows if row[:2] == ["100", "%"])
    assert train[-1] == "100" and train[2:] == everything[4:]


def test_unlabelled_images_are_one_column() -> None:
    findings = found(images={"train": {"unlabelled": 7}}, masks={"train": {"unlabelled": 0}})
    assert printed({"prcc": findings})[1].split() == ["unlabelled", "total"]
