"""What Ray Tune is told and what it is not."""

from ray.tune.execution.class_cache import _ActorClassCache

from study.execution.experiment import keep_credentials_out_of_tune
from study.execution.trainable import TrialTrainable


def test_tune_passes_on_no_credentials(monkeypatch):
    """Ray writes the environment that it passes on into the log of each node."""
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN", "AWS_SECURITY_TOKEN"):
        monkeypatch.setenv(name, "a secret")
    keep_credentials_out_of_tune()
    passed_on = _ActorClassCache().get(TrialTrainable)._default_options["runtime_env"]["env_vars"]
    assert "a secret" not in passed_on.values() and passed_on
