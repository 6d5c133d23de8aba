"""What a finished cache holds, and what its fingerprint stands for; also of generated and of real images."""

import json
import os
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from data_utils import cache
from data_utils.cache import prepare
from data_utils.config import DataConfig, SyntheticConfig
from data_utils.errors import DataError
from data_utils.sources.opening import open_source
from tests.data_utils.conftest import counts, with_settings

CopySubset = Callable[[str, int], Path]


def test_the_fingerprint_is_that_of_the_content(config: DataConfig, root: Path, tmp_path: Path) -> None:
    before = prepare(config, "wbc")
    for path in root.rglob("*.png"):
        os.utime(path, (1, 1))
    after = prepare(with_settings(config, cache_dir=tmp_path / "elsewhere"), "wbc")
    assert after.folder.name != before.folder.name
    assert after.fingerprint == before.fingerprint


def test_the_fingerprint_covers_ready_made_subsets_and_class_names(
    config: DataConfig, tmp_path: Path, copy_subset: CopySubset, monkeypatch: pytest.MonkeyPatch
) -> None:
    fingerprints = [prepare(config, "wbc").fingerprint]
    folder = copy_subset("50", 5)
    fingerprints.append(prepare(config, "wbc").fingerprint)
    (folder / "Monocyte" / "4.png").unlink()
    fingerprints.append(prepare(config, "wbc").fingerprint)
    renamed = open_source(config, "wbc")
    monkeypatch.setattr(renamed, "classes", ("A", "B", "C", "D", "E"))
    monkeypatch.setattr(cache, "open_source", lambda config, domain: renamed)
    fingerprints.append(prepare(with_settings(config, cache_dir=tmp_path / "renamed"), "wbc").fingerprint)
    assert len(set(fingerprints)) == 4


def test_the_index_needs_no_pickle(config: DataConfig) -> None:
    folder = prepare(config, "wbc").folder
    json.loads((folder / "cache.json").read_text())
    with np.load(folder / "index.npz", allow_pickle=False) as index:
        assert all(index[name].dtype.kind in "iU" for name in index.files)


@pytest.mark.parametrize("domain", ["wbc", "cam16", "prcc"])
def test_generated_images_are_prepared(tmp_path: Path, domain: str) -> None:
    small = SyntheticConfig(
        train=40, validation=20, test=20, cam16_train=10, cam16_validation=4, prcc=6, prcc_validation=2
    )
    arrays = prepare(DataConfig(cache_dir=tmp_path, synthetic=small), domain)
    assert len(arrays) == {"wbc": 80, "cam16": 14, "prcc": 8}[domain]
    assert arrays.validation_origin == "folder"


def test_real_patches(real_data: Path, tmp_path: Path) -> None:
    """A few patches of every class and split, by links; val is taken as given, nothing is in two splits."""
    for split in ("train", "val", "test"):
        for name in ("normal", "tumor"):
            folder = tmp_path / "data" / "cam16" / split / "data" / name
            folder.mkdir(parents=True)
            for path in sorted((real_data / "cam16" / split / "data" / name).iterdir())[:10]:
                (folder / path.name).symlink_to(path)
    arrays = prepare(DataConfig(source="folder", root=tmp_path / "data", cache_dir=tmp_path / "cache"), "cam16")
    assert [len(arrays.indices(split)) for split in ("train", "val", "test")] == [20, 20, 20]
    assert arrays.image(0).shape == (96, 96, 3)
    assert 0.2 < arrays.batch(np.arange(60))[0].mean() / 255 < 0.95


def test_real_masked_cells_of_many_sizes(real_data: Path, tmp_path: Path) -> None:
    """Ragged sizes, masks, one basophil, an exact duplicate pair: ordinary, but a basophil is needed to validate too."""
    config = DataConfig(source="folder", root=tmp_path / "data", cache_dir=tmp_path / "cache", test="none")
    wbc = tmp_path / "data" / "wbc"
    wbc.mkdir(parents=True)
    (wbc / "train").symlink_to(real_data / "wbc_masked")
    with pytest.raises(DataError, match="wbc: val has no image of Basophil"):
        prepare(config, "wbc")
    for folder in (real_data / "wbc" / "val" / "data").iterdir():
        (wbc / "val" / "data" / folder.name).mkdir(parents=True)
        for path in sorted(folder.iterdir())[:2]:
            (wbc / "val" / "data" / folder.name / path.name).symlink_to(path)
    arrays = prepare(config, "wbc")
    assert counts(arrays, "val") == [2] * 5
    train = arrays.indices("train")
    assert len(train) + len(arrays.dropped) == 300
    assert all(arrays.has_mask(i) for i in train)
    assert set(np.unique(np.concatenate([arrays.mask(i).ravel() for i in train[:20]]))) <= {0, 128, 255}  # type: ignore[union-attr]  # asserted above
    assert counts(arrays, "train")[0] == 1
    assert len(arrays.duplicates) == 1 + len(arrays.dropped)
    assert arrays.heights.min() < arrays.heights.max()
