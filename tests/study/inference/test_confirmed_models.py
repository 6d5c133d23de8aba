"""Which confirmed models can be used on new images."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
import pytest

from study.config.study import StudyConfig
from study.errors import UsageError
from study.inference.confirmed_models import load_confirmed
from study.storage.run_directory import RunDirectory


def test_a_placebo_with_features_of_other_images_is_refused_for_new_ones(tmp_path: Path) -> None:
    config = StudyConfig.model_validate({"arms": {"fractions": [1.0]}, "controls": ["shuffled"]})
    runs = pd.DataFrame({"trial_id": ["a"], "arm": ["WBC_100/sum-shuffled"], "seed": [1]})
    with pytest.raises(UsageError, match="WBC_100/sum-shuffled is a control"):
        load_confirmed(RunDirectory(tmp_path), config, runs, ("a", "b"))
