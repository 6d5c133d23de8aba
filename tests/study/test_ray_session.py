"""What fits on a node."""

import pytest

from study.ray_session import trials_on_gpus


@pytest.mark.parametrize(
    ("gpus", "share", "trials"),
    [(1, 0.25, 4), (2, 0.4, 4), (1, 0.1, 10), (3, 1.0, 3), (5, 2.0, 2), (0, 0.5, 0), (1, 2.0, 0)],
)
def test_a_trial_has_its_share_of_one_gpu(gpus, share, trials):
    assert trials_on_gpus(gpus, share) == trials
