import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from data_utils.audit import audit
from data_utils.cache import prepare
from data_utils.config import DataConfig
from data_utils.errors import DataError

FIVE = ("Basophil", "Eosinophil", "Lymphocyte", "Monocyte", "Neutrophil")


def test_audit_counts_images_masks_and_fractions(config: DataConfig) -> None:
    report = audit({"wbc": prepare(config, "wbc")}, [0.25, 1.0])["wbc"]
    assert report["images"]["train"] == dict.fromkeys(FIVE, 8)
    assert report["images"]["val"] == dict.fromkeys(FIVE, 2)
    assert report["images"]["test"] == dict.fromkeys(FIVE, 2)
    assert sum(sum(masks.values()) for masks in report["masks"].values()) == 10
    assert report["sizes"] == {"height": {"min": 20, "max": 20}, "width": {"min": 24, "max": 24}}
    assert report["fractions"]["0.25"] == {
        "classes": dict.fromkeys(FIVE, 2),
        "total": 10,
        "share": 0.25,
        "ready_made": False,
    }
    assert report["ready_made"] == {}
    assert report["fractions"]["1"]["total"] == 40
    assert (report["validation_origin"], report["test_origin"]) == ("folder", "set aside")
    assert report["unreadable"] == report["duplicates"] == report["leaks"] == []


def test_audit_tells_the_true_share_of_ready_made_subsets(
    config: DataConfig, copy_subset: Callable[[str, int], Path]
) -> None:
    copy_subset("50", 5)
    copy_subset("10", 5)  # five of ten, whatever its name
    report = audit({"wbc": prepare(config, "wbc")}, [0.5, 0.25])["wbc"]
    kept = {"classes": dict.fromkeys(FIVE, 4), "total": 20, "share": 0.5}
    assert report["ready_made"] == {"0.1": kept, "0.5": kept}
    assert report["fractions"]["0.5"] == {**kept, "ready_made": True}


def test_audit_tells_what_was_wrong_and_what_was_done(config: DataConfig, root: Path, tmp_path: Path) -> None:
    train, val = root / "wbc" / "train" / "data" / "Monocyte", root / "wbc" / "val" / "data" / "Monocyte"
    shutil.copy(val / "0.png", train / "leak.png")
    (train / "5.png").write_bytes(b"no image")
    (tmp_path / "groups.csv").write_text(
        "path,group\ntrain/data/Monocyte/1.png,P1\nval/data/Monocyte/1.png,P1\ntrain/data/Monocyte/2.png,P2\n"
    )
    config = config.model_copy(update={"unreadable": "skip", "groups": tmp_path / "groups.csv"})
    report = audit({"wbc": prepare(config, "wbc")})["wbc"]
    assert report["leaks"] == [
        {
            "path": "train/data/Monocyte/leak.png",
            "split": "train",
            "same_as": "val/data/Monocyte/0.png",
            "action": "dropped from train",
        }
    ]
    assert report["duplicates"] == [["train/data/Monocyte/leak.png", "val/data/Monocyte/0.png"]]
    assert report["unreadable"][0]["path"].endswith("Monocyte/5.png")
    assert report["groups"] == 2
    assert report["groups_across_splits"] == ["P1"]


def test_audit_is_plain_json_for_every_domain(tmp_path: Path) -> None:
    config = DataConfig.model_validate(
        {
            "cache_dir": tmp_path,
            "synthetic": {
                "train": 40,
                "validation": 20,
                "test": 20,
                "cam16_train": 10,
                "cam16_validation": 4,
                "prcc": 6,
                "prcc_validation": 2,
            },
        }
    )
    report = audit({domain: prepare(config, domain) for domain in ("wbc", "cam16", "prcc")}, [0.5])
    assert json.loads(json.dumps(report)) == report
    assert report["prcc"]["images"] == {"train": {"unlabelled": 6}, "val": {"unlabelled": 2}, "test": {"unlabelled": 0}}
    assert "fractions" not in report["cam16"]


def test_a_fraction_that_cannot_be_drawn_is_named(config: DataConfig) -> None:
    with pytest.raises(DataError, match=r"fraction 1\.5"):
        audit({"wbc": prepare(config, "wbc")}, [1.5])
