"""Public data sets in the files of their maintained loaders: BloodMNIST (medmnist) and PatchCamelyon (torchvision).

The loaders download and check the files, once; from then on the files are read as they are.
"""

from __future__ import annotations

import importlib
import shutil
import tempfile
import zipfile
from collections.abc import Callable, Mapping, Sequence
from functools import cached_property
from pathlib import Path
from threading import Lock
from typing import Any

import numpy as np
from numpy.typing import NDArray

from data_utils.config import DataConfig, cache_root
from data_utils.errors import DataError, UnreadableImage
from data_utils.sources.source import CLASSES, Item, Split

BLOODMNIST_LABELS: Mapping[int, str] = {
    0: "Basophil",
    1: "Eosinophil",
    4: "Lymphocyte",
    5: "Monocyte",
    6: "Neutrophil",
}
"""Five of BloodMNIST's eight labels (`medmnist.INFO`); erythroblasts, immature granulocytes and platelets are left out."""

PCAM_FILES: Mapping[Split, str] = {"train": "train", "val": "valid"}
"""How PatchCamelyon's files name the splits that pretraining uses; its test split is never downloaded."""


class _DownloadedSource:
    """What both data sets share: neither groups nor masks nor ready-made fractions."""

    domain: str
    items: Sequence[Item]

    @property
    def classes(self) -> tuple[str, ...]:
        """Class names in label order."""
        return CLASSES[self.domain]

    @property
    def subsets(self) -> Mapping[float, frozenset[str]]:
        """Ready-made fractions, of which there are none."""
        return {}

    def has_mask(self, i: int) -> bool:  # noqa: ARG002 - the protocol's signature
        """Return False: no image has a mask."""
        return False

    def read_mask(self, i: int) -> NDArray[np.uint8] | None:  # noqa: ARG002 - as above
        """Return None, the mask of an image without one."""
        return None

    def mask_name(self, i: int) -> str:  # noqa: ARG002 - as above
        """Return an empty name: there is no mask."""
        return ""


class BloodMnistSource(_DownloadedSource):
    """White blood cells of BloodMNIST (Acevedo et al. 2020, CC BY 4.0) with its official splits, square images.

    Args:
        config: `downloads` and `bloodmnist` are read.

    Raises:
        DataError: the file is missing and cannot be downloaded, or is not as expected.
    """

    domain = "wbc"

    def __init__(self, config: DataConfig) -> None:
        size = config.bloodmnist.size
        self._size = size
        # The loader's own name: the smallest size has no number in it.
        self.path = _folder(config) / f"bloodmnist{'' if size == 28 else f'_{size}'}.npz"
        if not self.path.is_file():
            _download(self.path.parent, "medmnist", lambda package, folder: _fetch_bloodmnist(package, folder, size))
        self._numbers: list[int] = []
        items = []
        for split in ("train", "val", "test"):
            labels = self._open(f"{split}_labels").reshape(-1)
            for number in np.flatnonzero(np.isin(labels, list(BLOODMNIST_LABELS))).tolist():
                name = BLOODMNIST_LABELS[int(labels[number])]
                items.append(Item(f"{split}/{number:06d}", split, self.classes.index(name), ""))
                self._numbers.append(number)
        self.items = tuple(items)
        self._images: tuple[str, NDArray[np.uint8]] | None = None
        self._lock = Lock()

    @cached_property
    def identity(self) -> str:
        """The checksums that the archive itself holds of its arrays."""
        try:
            with zipfile.ZipFile(self.path) as archive:
                sums = ",".join(f"{member.filename}={member.CRC:08x}" for member in archive.infolist())
        except (OSError, zipfile.BadZipFile) as error:
            raise _damaged(self.path, error) from error
        return f"bloodmnist:{self._size}:{sums}"

    def read(self, i: int) -> NDArray[np.uint8]:
        """Return image i as uint8 (size, size, 3); one split at a time is kept in memory."""
        split = self.items[i].split
        with self._lock:
            if self._images is None or self._images[0] != split:
                self._images = None
                images = self._open(f"{split}_images")
                if images.dtype != np.uint8 or images.shape[1:] != (self._size, self._size, 3):
                    raise DataError(
                        f"{self.path}: {split}_images is {images.dtype} {images.shape}, expected uint8"
                        f" (N, {self._size}, {self._size}, 3). Delete the file: it is downloaded again."
                    )
                self._images = (split, images)
            images = self._images[1]
        image: NDArray[np.uint8] = images[self._numbers[i]]
        return image

    def _open(self, name: str) -> NDArray[Any]:
        try:
            with np.load(self.path, allow_pickle=False) as archive:
                array: NDArray[Any] = archive[name]
        except (OSError, EOFError, KeyError, ValueError, zipfile.BadZipFile) as error:
            raise _damaged(self.path, error) from error
        return array


class PcamSource(_DownloadedSource):
    """Lymph-node patches of PatchCamelyon (Veeling et al. 2018, CC0), 96 px, normal or tumor, as many of each.

    Args:
        config: `downloads` and `pcam` are read.

    Raises:
        DataError: a file is missing and cannot be downloaded, or is not as expected; h5py is not installed.
    """

    domain = "cam16"

    def __init__(self, config: DataConfig) -> None:
        self._h5py = _import("h5py")
        self._folder = _folder(config) / "pcam"
        wanted = {"train": config.pcam.train, "val": config.pcam.validation}
        missing = [split for split in PCAM_FILES if not all(self._file(split, part).is_file() for part in "xy")]
        if missing:
            _download(self._folder.parent, "torchvision", lambda package, folder: _fetch_pcam(package, folder, missing))
        self._numbers: list[int] = []
        items = []
        for split in PCAM_FILES:
            labels = self._open(split, "y", ()).reshape(-1)
            for number in _draw_balanced(labels, wanted[split]):
                items.append(Item(f"{split}/{number:06d}", split, int(labels[number]), ""))
                self._numbers.append(number)
        self.items = tuple(items)

    @cached_property
    def identity(self) -> str:
        """Names, sizes and times of the files, and how many images are used."""
        files = [self._file(split, part) for split in PCAM_FILES for part in "xy"]
        stamps = [f"{file.name}|{file.stat().st_size}|{file.stat().st_mtime_ns}" for file in files]
        return f"pcam:{len(self.items)}:" + ",".join(stamps)

    def read(self, i: int) -> NDArray[np.uint8]:
        """Return image i as uint8 (96, 96, 3)."""
        split = self.items[i].split
        image = self._open(split, "x", self._numbers[i])
        if image.dtype != np.uint8 or image.ndim != 3 or image.shape[2] != 3:
            raise UnreadableImage(
                f"{self._file(split, 'x')}#{self._numbers[i]}",
                f"{image.dtype} {image.shape}, expected uint8 (96, 96, 3)",
            )
        return image

    def _file(self, split: Split, part: str) -> Path:
        return self._folder / f"camelyonpatch_level_2_split_{PCAM_FILES[split]}_{part}.h5"

    def _open(self, split: Split, part: str, where: int | tuple[()]) -> NDArray[Any]:
        path = self._file(split, part)
        try:
            with self._h5py.File(path, "r") as file:
                return np.asarray(file[part][where])
        except (OSError, KeyError) as error:
            raise _damaged(path, error) from error


def _draw_balanced(labels: NDArray[Any], count: int | None) -> list[int]:
    """Draw the numbers of `count` images, as many of each of the two labels, always the same ones; all of them for None."""
    if count is None:
        return list(range(len(labels)))
    chosen: list[int] = []
    for label, share in ((0, count - count // 2), (1, count // 2)):
        members = np.flatnonzero(labels == label)
        chosen += np.random.default_rng([label]).permutation(members)[:share].tolist()
    return sorted(chosen)


def _folder(config: DataConfig) -> Path:
    chosen = config.downloads or cache_root(config) / "downloads"
    return chosen.expanduser().absolute()


def _import(package: str) -> Any:
    """Import a package of the extra `datasets`.

    Raises:
        DataError: it is not installed.
    """
    try:
        return importlib.import_module(package)
    except ImportError as error:
        raise DataError(
            f'the data set needs the package {package}, which is not installed: pip install "wbc-study[datasets]"'
        ) from error


def _download(folder: Path, package: str, fetch: Callable[[Any, Path], None]) -> None:
    """Download with the maintained loader into a temporary folder and move what is complete to its final name.

    Args:
        folder: where the files lie in the end.
        package: name of the package that has the loader.
        fetch: downloads, given the package and the temporary folder.

    Raises:
        DataError: the package is not installed, or the download failed.
    """
    loader = _import(package)
    building: Path | None = None
    try:
        folder.mkdir(parents=True, exist_ok=True)
        building = Path(tempfile.mkdtemp(prefix=".downloading-", dir=folder))
        fetch(loader, building)
        for path in sorted(path for path in building.rglob("*") if path.suffix in (".npz", ".h5")):
            target = folder / path.relative_to(building)
            target.parent.mkdir(exist_ok=True)
            path.replace(target)
    # The loaders raise RuntimeError in their own words, OSError for a lost connection or a full disk, and ImportError for a
    # downloader that is missing.
    except (RuntimeError, OSError, ImportError) as error:
        reason = " ".join(str(error).split()) or type(error).__name__
        raise DataError(
            f"{folder}: the data set could not be downloaded with {package} ({reason}). Download it where there is a"
            " connection, copy it into that folder, or set data.downloads to where it is."
        ) from error
    finally:
        if building is not None:
            shutil.rmtree(building, ignore_errors=True)


def _fetch_bloodmnist(medmnist: Any, folder: Path, size: int) -> None:
    medmnist.BloodMNIST(split="val", download=True, size=size, root=str(folder))


def _fetch_pcam(torchvision: Any, folder: Path, splits: Sequence[Split]) -> None:
    _import("gdown")  # torchvision's downloader would name another package
    for split in splits:
        torchvision.datasets.PCAM(str(folder), split=split, download=True)


def _damaged(path: Path, error: Exception) -> DataError:
    return DataError(
        f"{path}: not readable as the data set's file ({type(error).__name__}: {error}). Delete it: it is downloaded again."
    )
