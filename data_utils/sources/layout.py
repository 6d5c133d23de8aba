"""The folders of the coursework's data sets: `<domain>/<split>/data/<Class>/` and `<domain>/<split>/mask/<Class>/`."""

from __future__ import annotations

from pathlib import Path

from data_utils.decoding import SUFFIXES, is_image
from data_utils.errors import DataError
from data_utils.sources.source import SPLITS, Split


def find_domain(root: Path, domain: str) -> Path:
    """Return the folder of a domain below `data.root`; case does not matter.

    `wbc` and `WBC_100` are names of the blood cells; a folder of another domain has a name that begins with the domain's.

    Raises:
        DataError: the root does not exist, or it holds no such folder or several of them.
    """
    if not root.is_dir():
        found = "is a file" if root.exists() else "does not exist"
        raise DataError(f"data.root: {root} {found}; expected the folder that holds the data sets. Correct data.root.")
    folders = list_folders(root)
    if domain == "wbc":
        wanted = "wbc or WBC_100"
        matches = [path for name in ("wbc", "wbc_100") for path in folders if path.name.casefold() == name]
    else:
        wanted = f"{domain} (or a name that starts with it)"
        matches = [path for path in folders if path.name.casefold().startswith(domain)]
        matches = [path for path in matches if path.name.casefold() == domain] or matches
        if len(matches) > 1:
            names = ", ".join(path.name for path in matches)
            raise DataError(f"data.root: {root} holds {names}; expected one folder {wanted}. Keep one of them.")
    if matches:
        return matches[0]
    hint = ""
    if any((root / name).is_dir() for name in ("train", "data")):
        hint = (
            " data.root seems to be a data set itself: set it to the folder above, and name the data set as expected."
        )
    raise DataError(f"data.root: {root} has no folder named {wanted}: {describe_folder(root)}.{hint}")


def find_splits(folder: Path, classes: tuple[str, ...]) -> dict[Split, Path]:
    """Return the folder of each split that a data set has; one without splits is all training.

    Raises:
        DataError: there are no training images.
    """
    by_name = {path.name.casefold(): path for path in list_folders(folder)}
    parts = {split: by_name[split] for split in SPLITS if split in by_name and (by_name[split] / "data").is_dir()}
    if "train" in parts:
        return parts
    if not parts and (folder / "data").is_dir():
        return {"train": folder}
    raise DataError(f"{folder}: no train/data folder: {describe_folder(folder)}. {_expected_layout(folder, classes)}")


def match_class(name: str, classes: tuple[str, ...]) -> int | None:
    """Return the label of the class that a folder is named after, in any case and also in the plural; None for no class."""
    wanted = name.casefold()
    return next((i for i, known in enumerate(classes) if wanted in (known.casefold(), known.casefold() + "s")), None)


def scan_class_folders(data: Path, classes: tuple[str, ...]) -> list[list[Path]]:
    """Return the image files of each class, sorted by name.

    Raises:
        DataError: a class has no folder, no image or two folders, or images lie in a folder of no class.
    """
    found: dict[int, Path] = {}
    for folder in list_folders(data):
        label = match_class(folder.name, classes)
        if label is None:
            if any(is_image(path) for path in folder.iterdir()):
                raise DataError(
                    f"{folder}: a class that is not known; expected {', '.join(classes)}. "
                    "Rename the folder or move it out."
                )
        elif label in found:
            raise DataError(f"{folder} and {found[label]} are the same class {classes[label]}; expected one folder.")
        else:
            found[label] = folder
    files = []
    for label, name in enumerate(classes):
        if label not in found:
            raise DataError(
                f"{data}: no folder for class {name}: {describe_folder(data)}. Expected one folder for each of "
                f"{', '.join(classes)}."
            )
        images = sorted(path for path in found[label].iterdir() if is_image(path))
        if not images:
            raise DataError(
                f"{found[label]}: class {name} has no image: {describe_folder(found[label])}. Expected at least one image "
                f"({', '.join(sorted(SUFFIXES))})."
            )
        files.append(images)
    return files


def scan_masks(folder: Path, classes: tuple[str, ...]) -> dict[tuple[int, str], Path]:
    """Return the mask files of a split by label and name without suffix; empty where there are none.

    Raises:
        DataError: two masks have one name, or a mask lies in a folder of no class.
    """
    masks: dict[tuple[int, str], Path] = {}
    if not (folder / "mask").is_dir():
        return masks
    for class_folder in list_folders(folder / "mask"):
        label = match_class(class_folder.name, classes)
        for path in sorted(path for path in class_folder.iterdir() if is_image(path)):
            if label is None:
                raise DataError(f"{path}: this mask has no image: its class is not one of {', '.join(classes)}.")
            if (label, path.stem) in masks:
                raise DataError(
                    f"{path} and {masks[label, path.stem]} are masks of one image; expected one. Remove one."
                )
            masks[label, path.stem] = path
    return masks


def describe_folder(folder: Path) -> str:
    """Say what a folder holds, for a message: at most eight names."""
    names = sorted(path.name + ("/" if path.is_dir() else "") for path in folder.iterdir())
    if not names:
        return "it is empty"
    return "it holds " + ", ".join(names[:8]) + (f" and {len(names) - 8} more" if len(names) > 8 else "")


def list_folders(folder: Path) -> list[Path]:
    """Return the folders in a folder, sorted, without hidden ones."""
    return sorted(path for path in folder.iterdir() if path.is_dir() and not path.name.startswith("."))


def _expected_layout(folder: Path, classes: tuple[str, ...]) -> str:
    return (
        f"Expected layout:\n  {folder.name}/train/data/<Class>/*.jpg\n"
        f"  {folder.name}/train/mask/<Class>/*.png (optional)\n"
        f"  {folder.name}/val/data/<Class>/*.jpg (optional)\n  {folder.name}/test/data/<Class>/*.jpg (optional)\n"
        f"with <Class> one of {', '.join(classes)}."
    )
