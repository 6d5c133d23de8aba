"""Configurations of the tiny study that share one cache of images."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from study.config.study import StudyConfig
from tests.study.tiny import TINY, merged


@pytest.fixture(scope="module")
def cache(tmp_path_factory: pytest.TempPathFactory) -> str:
    return str(tmp_path_factory.mktemp("cache"))


@pytest.fixture(scope="module")
def configure(cache: str) -> Callable[..., StudyConfig]:
    """Makes the tiny study's configuration with some settings replaced."""

    def make(**changes: Any) -> StudyConfig:
        return StudyConfig.model_validate(merged(merged(TINY, {"data": {"cache_dir": cache}}), changes))

    return make
