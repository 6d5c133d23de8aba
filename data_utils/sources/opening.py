"""The door to the sources: opens the images of a domain as the configuration says."""

from __future__ import annotations

from data_utils.config import DataConfig
from data_utils.errors import DataError
from data_utils.sources.downloaded import BloodMnistSource, PcamSource
from data_utils.sources.folder import FolderSource
from data_utils.sources.source import CLASSES, Source
from data_utils.sources.synthetic import SyntheticSource


def open_source(config: DataConfig, domain: str) -> Source:
    """Open the images of a domain as the configuration says, without decoding any.

    Args:
        config: the data configuration; it names the source of each domain.
        domain: `wbc`, `cam16` or `prcc`.

    Raises:
        DataError: the domain is unknown, or its images are not as the source expects them.
    """
    if domain not in CLASSES:
        raise DataError(f"domain {domain!r} is unknown; expected one of {', '.join(CLASSES)}.")
    source = config.source_of(domain)
    if source == "bloodmnist":
        return BloodMnistSource(config)
    if source == "pcam":
        return PcamSource(config)
    if source == "synthetic":
        return SyntheticSource(config.synthetic, domain)
    return FolderSource(config, domain)
