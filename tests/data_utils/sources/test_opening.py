import subprocess
import sys

import pytest

from data_utils.config import DataConfig
from data_utils.errors import DataError
from data_utils.sources.opening import open_source
from data_utils.sources.source import CLASSES


def test_label_order_is_the_published_one() -> None:
    assert CLASSES["wbc"] == ("Basophil", "Eosinophil", "Lymphocyte", "Monocyte", "Neutrophil")


@pytest.mark.parametrize("domain", list(CLASSES))
def test_both_sources_give_the_same_classes(domain: str) -> None:
    assert tuple(open_source(DataConfig(), domain).classes) == CLASSES[domain]


def test_folder_source_is_opened(config: DataConfig) -> None:
    assert len(open_source(config, "wbc").items) == 60


def test_unknown_domain_lists_the_known_ones() -> None:
    with pytest.raises(DataError, match=r"'wcb' is unknown.*wbc, cam16, prcc"):
        open_source(DataConfig(), "wcb")


def test_data_without_augmentation_imports_no_torch() -> None:
    """`wbc-study --help` and the audit must not wait for torch."""
    code = "import sys, data_utils, data_utils.cache, data_utils.audit; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
