"""Ray's part of a study, played in this process: for tests that ask what a study makes of its trials, not how Ray runs them.

Encoders are pretrained in this process when they are asked for. Trials run here one after another, through the study's own
searcher, scheduler and trainable. No process is started.
"""

from __future__ import annotations

import socket
import traceback
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from ray.tune.error import TuneError
from ray.tune.schedulers import TrialScheduler
from ray.tune.search import Searcher


def play_ray(monkeypatch: pytest.MonkeyPatch, folder: Path) -> None:
    """Replace what a study calls of Ray, as if its caller had started Ray on a node with two cores.

    Args:
        monkeypatch: Puts Ray back.
        folder: Where tracebacks of trials are written.
    """
    node = {"Alive": True, "Resources": {"CPU": 2.0}}
    monkeypatch.setattr("ray.is_initialized", lambda: True)
    monkeypatch.setattr("ray.nodes", lambda: [node])
    monkeypatch.setattr("ray.remote", lambda **options: lambda function: SimpleNamespace(remote=_Task(function)))
    monkeypatch.setattr("ray.wait", lambda tasks, timeout: (tasks, []))
    monkeypatch.setattr("ray.get", lambda outcome: outcome)
    monkeypatch.setattr("ray.tune.with_parameters", _Told)
    monkeypatch.setattr("ray.tune.with_resources", lambda trainable, resources: trainable)
    monkeypatch.setattr("ray.tune.Tuner", lambda *given, **named: _Tuner(folder / "error.txt", *given, **named))


class _Task:
    """A task that runs when it is submitted."""

    def __init__(self, function: Callable[..., Any]):
        self._function = function

    def __call__(self, *arguments: Any) -> object:
        self._function(*arguments)
        return object()


class _Told:
    """A trainable, with what each process that trains is told."""

    def __init__(self, trainable: type[Any], **told: Any):
        self._trainable, self._told = trainable, told

    def start(self, config: dict[str, Any]) -> Any:
        """Begin its first trial; returns the worker."""
        worker = self._trainable.__new__(self._trainable)
        worker.setup(config, **self._told)
        return worker


class _Tuner:
    """Runs all trials, one at a time, in one worker; a new worker takes the place of one in which a trial failed."""

    def __init__(self, error_file: Path, trainable: _Told, *, tune_config: Any, run_config: Any):
        self._trainable, self._error_file = trainable, error_file
        self._search, self._scheduler = tune_config.search_alg, tune_config.scheduler
        self._worker: Any = None

    def fit(self) -> None:
        """Train until the searcher has no trial left.

        Raises:
            TuneError: the searcher or the scheduler raised something; as Tune does, this passes on its text alone.
        """
        number = 0
        try:
            while (config := self._search.suggest(f"here{number}")) != Searcher.FINISHED:
                assert config is not None, "nothing runs, and nothing may be begun"
                self._train(f"here{number}", config)
                number += 1
        except Exception as error:
            raise TuneError(traceback.format_exc()) from error

    def _train(self, trial_id: str, config: dict[str, Any]) -> None:
        kept = SimpleNamespace(metric_analysis={}, metric_n_steps={})
        trial = SimpleNamespace(trial_id=trial_id, error_file=str(self._error_file), run_metadata=kept)
        result = self._next_result(config)
        while result is not None:
            if self._scheduler.on_trial_result(None, trial, result) != TrialScheduler.CONTINUE:
                self._scheduler.on_trial_complete(None, trial, result)
                self._search.on_trial_complete(trial_id, result)
                return
            result = self._next_result()
        self._scheduler.on_trial_error(None, trial)
        self._search.on_trial_complete(trial_id, error=True)

    def _next_result(self, config: dict[str, Any] | None = None) -> dict[str, Any] | None:
        """The next result of a trial, which begins where a configuration is given; None when it failed, as the file says."""
        try:
            if self._worker is None:
                assert config is not None
                self._worker = self._trainable.start(config)
            elif config is not None:
                self._worker.reset_config(config)
            return {**self._worker.step(), "hostname": socket.gethostname()}
        except Exception:  # whatever it is, Ray would end the worker and go on
            self._error_file.write_text(f"Failure # 1 (occurred here)\n{traceback.format_exc()}")
            self._worker = None
            return None
