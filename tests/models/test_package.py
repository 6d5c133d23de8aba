from __future__ import annotations

import subprocess
import sys

import pytest

import models


def test_importing_the_package_does_not_import_torch() -> None:
    """`wbc-study --help` has to answer at once."""
    code = "import sys, models; dir(models); models.WeightsError; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_every_public_name_can_be_imported() -> None:
    for name in models.__all__:
        assert getattr(models, name).__name__ == name
    assert set(models.__all__) <= set(dir(models))


def test_an_unknown_name_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="Transformer"):
        _ = models.Transformer
