"""How tests of the sources in folders open one."""

from pathlib import Path

from data_utils.config import DataConfig
from data_utils.sources.folder import FolderSource


def opened(root: Path, domain: str = "wbc", **settings: object) -> FolderSource:
    """Scan a folder with these settings of `data`."""
    return FolderSource(DataConfig.model_validate({"source": "folder", "root": root, **settings}), domain)
