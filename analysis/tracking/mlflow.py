"""Records as an MLflow experiment; ``mlflow ui --backend-store-uri sqlite:///<folder>/mlflow.db`` shows it."""

from __future__ import annotations

import os
from pathlib import Path

from analysis.records.errors import StudyError
from analysis.records.schema import TrialStatus
from analysis.records.study import Study
from analysis.tracking.trials import TrackedTrial, tracked_trials

_RUN_STATUS = {TrialStatus.RUNNING: "RUNNING", TrialStatus.FAILED: "FAILED", TrialStatus.DIVERGED: "FAILED"}
"""MLflow's status of a run by that of its trial; all others have finished."""


def write_mlflow(study: Study, folder: Path) -> int:
    """Write one MLflow run for each trial into a database file.

    Args:
        study: Any study, also a running one.
        folder: Gets ``mlflow.db``; must not exist.

    Returns:
        Number of trials.

    Raises:
        StudyError: mlflow is not installed.
    """
    # What an export writes stays on this machine: MLflow would tell its makers that it was used.
    os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
    try:
        from mlflow import MlflowClient
    except ImportError as error:
        raise StudyError('An MLflow experiment needs mlflow: pip install "wbc-study[mlflow]".') from error
    folder.mkdir(parents=True)
    client = MlflowClient(tracking_uri=f"sqlite:///{(folder / 'mlflow.db').absolute()}")
    experiment = client.create_experiment(study.name, artifact_location=(folder / "artifacts").absolute().as_uri())
    count = 0
    for trial in tracked_trials(study):
        _write_trial(client, experiment, trial)
        count += 1
    return count


def _write_trial(client: object, experiment: str, trial: TrackedTrial) -> None:
    from mlflow import MlflowClient
    from mlflow.entities import Metric, Param, RunTag

    assert isinstance(client, MlflowClient)
    times = [int(1000 * time) for time in trial.epochs["time"]]
    first, last = (times[0], times[-1]) if times else (0, 0)
    run = client.create_run(experiment, start_time=first, run_name=f"{trial.arm} {trial.trial_id}").info.run_id
    metrics = [
        Metric(name, value, int(1000 * time), epoch)
        for epoch, time, numbers in trial.points()
        for name, value in numbers.items()
    ]
    metrics += [Metric(f"best_{name}", value, last, 0) for name, value in trial.results.items()]
    limit = 1000  # metrics that MLflow takes at once
    for start in range(0, len(metrics), limit):
        client.log_batch(run, metrics=metrics[start : start + limit])
    client.log_batch(
        run,
        params=[Param(name, str(value)) for name, value in trial.settings.items()],
        tags=[RunTag(name, value) for name, value in trial.tags.items()],
    )
    ended = _RUN_STATUS.get(TrialStatus(trial.tags["status"]), "FINISHED")
    client.set_terminated(run, ended, end_time=last) if ended != "RUNNING" else None
