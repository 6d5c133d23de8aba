"""Where images come from: the protocol that every source follows, and the door that opens one."""

from __future__ import annotations

from data_utils.config import DataConfig
from data_utils.errors import DataError
from data_utils.sources.source import CLASSES, Source


def open_source(config: DataConfig, domain: str) -> Source:
    """Open the images of a domain as the configuration says, without decoding any.

    Args:
        config: where the images are.
        domain: `wbc`, `cam16` or `prcc`.

    Raises:
        DataError: the domain is unknown, or its folder is not as expected.
    """
    if domain not in CLASSES:
        raise DataError(f"domain {domain!r} is unknown; expected one of {', '.join(CLASSES)}.")
    source = config.source_of(domain)
    if source == "bloodmnist":
        from data_utils.sources.downloaded import BloodMnistSource

        return BloodMnistSource(config)
    if source == "pcam":
        from data_utils.sources.downloaded import PcamSource

        return PcamSource(config)
    if source == "synthetic":
        from data_utils.sources.synthetic import SyntheticSource

        return SyntheticSource(config.synthetic, domain)
    from data_utils.sources.folder import FolderSource

    return FolderSource(config, domain)
