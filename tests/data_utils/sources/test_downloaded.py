"""Public data sets, read from small files in the format of the real ones. Nothing is downloaded."""

from __future__ import annotations

import importlib
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from data_utils.cache import prepare
from data_utils.config import DataConfig
from data_utils.errors import DataError
from data_utils.sources.downloaded import BLOODMNIST_LABELS, BloodMnistSource, PcamSource
from data_utils.sources.opening import open_source
from data_utils.sources.source import CLASSES

SPLITS = {"train": 24, "val": 16, "test": 16}


def write_bloodmnist(folder: Path, size: int = 28, seed: int = 0) -> Path:
    """All eight labels in turn, as medmnist's archives hold them."""
    rng = np.random.default_rng(seed)
    arrays: dict[str, Any] = {}
    for split, count in SPLITS.items():
        arrays[f"{split}_images"] = rng.integers(0, 256, (count, size, size, 3), dtype=np.uint8)
        arrays[f"{split}_labels"] = (np.arange(count, dtype=np.uint8) % 8)[:, None]
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"bloodmnist{'' if size == 28 else f'_{size}'}.npz"
    np.savez_compressed(path, allow_pickle=False, **arrays)
    return path


def write_pcam(folder: Path, train: int = 40, validation: int = 20) -> Path:
    """Two files for each split, as torchvision unpacks them."""
    h5py = pytest.importorskip("h5py", reason="PatchCamelyon needs the extra `datasets`")
    rng = np.random.default_rng(1)
    (folder / "pcam").mkdir(parents=True, exist_ok=True)
    for name, count in (("train", train), ("valid", validation)):
        stem = f"camelyonpatch_level_2_split_{name}"
        with h5py.File(folder / "pcam" / f"{stem}_x.h5", "w") as file:
            file["x"] = rng.integers(0, 256, (count, 96, 96, 3), dtype=np.uint8)
        with h5py.File(folder / "pcam" / f"{stem}_y.h5", "w") as file:
            # Three of four are tumor.
            file["y"] = (np.arange(count, dtype=np.uint8) % 4 > 0).astype(np.uint8).reshape(count, 1, 1, 1)
    return folder / "pcam"


@pytest.fixture
def configured(tmp_path: Path) -> Callable[..., DataConfig]:
    def make(**settings: Any) -> DataConfig:
        places = {"downloads": tmp_path / "downloads", "cache_dir": tmp_path / "cache"}
        return DataConfig.model_validate(places | settings)

    return make


def test_the_five_classes_are_those_of_the_loader() -> None:
    info = pytest.importorskip("medmnist.info", reason="the extra `datasets` is not installed")
    labels = {int(number): name for number, name in info.INFO["bloodmnist"]["label"].items()}
    assert {number: labels[number].capitalize() for number in BLOODMNIST_LABELS} == dict(BLOODMNIST_LABELS)
    assert sorted(BLOODMNIST_LABELS.values()) == list(CLASSES["wbc"])
    assert len(labels) == 8


@pytest.mark.parametrize("size", [28, 64])
def test_bloodmnist_gives_five_classes_with_its_own_splits(
    configured: Callable[..., DataConfig], tmp_path: Path, size: int
) -> None:
    path = write_bloodmnist(tmp_path / "downloads", size)
    source = open_source(configured(wbc_source="bloodmnist", bloodmnist={"size": size}), "wbc")
    assert isinstance(source, BloodMnistSource)
    with np.load(path) as archive:
        for i, item in enumerate(source.items):
            number = int(item.path.split("/")[1])
            label = int(archive[f"{item.split}_labels"][number, 0])
            assert source.classes[item.label] == BLOODMNIST_LABELS[label]
            assert np.array_equal(source.read(i), archive[f"{item.split}_images"][number])
    assert [sum(item.split == split for item in source.items) for split in SPLITS] == [15, 10, 10]


def test_prepared_bloodmnist_keeps_the_official_splits(configured: Callable[..., DataConfig], tmp_path: Path) -> None:
    write_bloodmnist(tmp_path / "downloads", 64)
    arrays = prepare(configured(wbc_source="bloodmnist"), "wbc")
    assert (arrays.validation_origin, arrays.test_origin) == ("folder", "folder")
    assert [len(arrays.indices(split)) for split in SPLITS] == [15, 10, 10]
    assert arrays.image(0).shape == (64, 64, 3)
    assert not arrays.masked.any()


def test_another_archive_is_another_data_set(configured: Callable[..., DataConfig], tmp_path: Path) -> None:
    identities = []
    for seed in (0, 0, 1):
        write_bloodmnist(tmp_path / "downloads", 64, seed)
        identities.append(open_source(configured(wbc_source="bloodmnist"), "wbc").identity)
    # Written again with the same content it is the same, whatever its time stamp.
    assert identities[0] == identities[1] != identities[2]


def test_pcam_gives_as_many_of_each_class_and_always_the_same(
    configured: Callable[..., DataConfig], tmp_path: Path
) -> None:
    write_pcam(tmp_path / "downloads")
    config = configured(cam16_source="pcam", pcam={"train": 10, "validation": 4})
    source = open_source(config, "cam16")
    assert isinstance(source, PcamSource)
    assert [(item.split, item.label) for item in source.items].count(("train", 1)) == 5
    assert [(item.split, item.label) for item in source.items].count(("val", 0)) == 2
    assert {int(item.path.split("/")[1]) % 4 > 0 for item in source.items if item.label == 1} == {True}
    assert open_source(config, "cam16").items == source.items
    arrays = prepare(config, "cam16")
    assert len(arrays.indices("train")) == 10
    assert np.array_equal(arrays.image(3), source.read(3))


def test_pcam_can_be_used_whole(configured: Callable[..., DataConfig], tmp_path: Path) -> None:
    write_pcam(tmp_path / "downloads")
    config = configured(cam16_source="pcam", pcam={"train": None, "validation": None})
    assert len(open_source(config, "cam16").items) == 60


def test_every_domain_may_have_a_source_of_its_own(
    configured: Callable[..., DataConfig], tmp_path: Path, write: Callable[..., Path]
) -> None:
    write_bloodmnist(tmp_path / "downloads", 28)
    write_pcam(tmp_path / "downloads")
    for i in range(3):
        write(tmp_path / "mine" / "prcc" / f"{i}.png", i, (32, 32))
    config = configured(
        wbc_source="bloodmnist",
        bloodmnist={"size": 28},
        cam16_source="pcam",
        prcc_source="folder",
        root=tmp_path / "mine",
    )
    kinds = {domain: type(open_source(config, domain)).__name__ for domain in CLASSES}
    assert kinds == {"wbc": "BloodMnistSource", "cam16": "PcamSource", "prcc": "FolderSource"}
    mixed = configured(wbc_source="bloodmnist", bloodmnist={"size": 28})
    assert type(open_source(mixed, "cam16")).__name__ == "SyntheticSource"


@pytest.mark.parametrize("content", [b"", b"no archive", None])
def test_a_damaged_archive_is_named_with_what_to_do(
    configured: Callable[..., DataConfig], tmp_path: Path, content: bytes | None
) -> None:
    path = write_bloodmnist(tmp_path / "downloads", 64)
    path.write_bytes(path.read_bytes()[:-100] if content is None else content)
    with pytest.raises(DataError, match=r"bloodmnist_64\.npz: not readable .* Delete it"):
        open_source(configured(wbc_source="bloodmnist"), "wbc")


def test_an_archive_of_another_size_is_refused(configured: Callable[..., DataConfig], tmp_path: Path) -> None:
    write_bloodmnist(tmp_path / "downloads", 28).rename(tmp_path / "downloads" / "bloodmnist_64.npz")
    with pytest.raises(DataError, match=r"train_images is uint8 \(24, 28, 28, 3\), expected .*64, 64, 3"):
        prepare(configured(wbc_source="bloodmnist"), "wbc")


def test_a_damaged_pcam_file_is_named(configured: Callable[..., DataConfig], tmp_path: Path) -> None:
    folder = write_pcam(tmp_path / "downloads")
    (folder / "camelyonpatch_level_2_split_valid_y.h5").write_bytes(b"no file of this kind")
    with pytest.raises(DataError, match=r"split_valid_y\.h5: not readable"):
        open_source(configured(cam16_source="pcam"), "cam16")


def without(name: str) -> Callable[[str], Any]:
    def import_module(wanted: str) -> Any:
        if wanted == name:
            raise ModuleNotFoundError(f"No module named {name!r}")
        return importlib.import_module(wanted)

    return import_module


@pytest.mark.parametrize(
    ("settings", "domain", "package"),
    [({"wbc_source": "bloodmnist"}, "wbc", "medmnist"), ({"cam16_source": "pcam"}, "cam16", "h5py")],
)
def test_a_missing_package_says_what_to_install(
    configured: Callable[..., DataConfig],
    monkeypatch: pytest.MonkeyPatch,
    settings: dict[str, str],
    domain: str,
    package: str,
) -> None:
    monkeypatch.setattr("data_utils.sources.downloaded.importlib", SimpleNamespace(import_module=without(package)))
    with pytest.raises(DataError, match=rf'{package}.*pip install "wbc-study\[datasets\]"'):
        open_source(configured(**settings), domain)


class Loader:
    """Stands for medmnist where nothing may be downloaded."""

    def __init__(self, fail: bool):
        self.fail = fail

    def BloodMNIST(self, split: str, download: bool, size: int, root: str) -> None:  # noqa: N802 - the package's name
        write_bloodmnist(Path(root), size)
        if self.fail:
            raise RuntimeError("Automatic download failed!\n  Check your network connection")


def test_a_download_is_complete_or_not_there(
    configured: Callable[..., DataConfig], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    config = configured(wbc_source="bloodmnist")
    for fail in (True, False):
        loader = Loader(fail)
        monkeypatch.setattr(
            "data_utils.sources.downloaded.importlib", SimpleNamespace(import_module=lambda name, loader=loader: loader)
        )
        if fail:
            with pytest.raises(
                DataError, match=r"downloads: .*medmnist \(Automatic download failed! Check your network"
            ):
                open_source(config, "wbc")
            assert list((tmp_path / "downloads").iterdir()) == []
    assert len(open_source(config, "wbc").items) == 35
    assert [path.name for path in (tmp_path / "downloads").iterdir()] == ["bloodmnist_64.npz"]
