"""How much of a GPU a trial needs."""

import pytest
import torch

from study.config.study import StudyConfig
from study.execution.gpu_memory import measure_peak, probes
from tests.study.tiny import TINY, merged


def test_every_kind_of_network_is_tried_at_the_largest_fraction():
    config = StudyConfig.model_validate(
        merged(TINY, {"arms": {"fusion": ["off", "sum", "concat"]}, "controls": ["random", "published"]})
    )
    specs = probes(config)
    assert {spec.arm.fraction for spec in specs} == {1.0}
    assert len(specs) == len({spec.trial_id for spec in specs}) == 4
    assert {spec.arm.fusion for spec in specs} == {"off", "sum", "concat"}


def test_where_torch_sees_no_gpu_nothing_is_measured(tmp_path):
    if torch.cuda.is_available():
        pytest.skip("there is a GPU")
    assert measure_peak(StudyConfig.model_validate(TINY), str(tmp_path), "") is None


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
def test_the_peak_of_a_trial_is_measured_on_a_gpu(calm):
    from study.config.files import check_config, read_yaml
    from study.storage.run_directory import RunDirectory

    directory = RunDirectory(calm)
    config = check_config(read_yaml(directory.config_file), "study.yaml")
    peak, total = measure_peak(config, str(calm), directory.read_manifest()["fingerprints"]["wbc"])
    assert 0 < peak < total
