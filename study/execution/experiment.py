"""Runs the trials of a queue as one Ray Tune experiment."""

from __future__ import annotations

import os
import shutil
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

    from ray import tune

    from study.config.study import StudyConfig
    from study.execution.capacity import Reservation
    from study.execution.tune_adapters import TuneTrialIds
    from study.search.queue import TrialQueue
    from study.storage.run_directory import RunDirectory


_ANY_NUMBER = "10000"
"""Most trials that Tune keeps pending. How many there are is the searcher's decision."""


def run_trials(
    config: StudyConfig,
    directory: RunDirectory,
    queue: TrialQueue,
    reservation: Reservation,
    slots: Callable[[], int],
    fingerprint: str,
    trainable: type[tune.Trainable] | None = None,
) -> None:
    """Train every trial that the queue still has.

    Tune's own experiment files are scratch: they go to a folder that is deleted, and are never read back.

    Args:
        config: The study's configuration.
        directory: The study's run directory.
        queue: The trials.
        reservation: What each trial reserves.
        slots: Counts the trials that can run at once, at this moment.
        fingerprint: Fingerprint of the blood-cell images.
        trainable: What trains them; `TrialTrainable` when None.

    Raises:
        StudyFailed: from the queue, when a trial is not reproducible.
    """
    if queue.exhausted:
        return
    # With a searcher of one's own Tune keeps one trial pending: a cluster would fill one by one, and where starting a process
    # takes longer than a trial, one process would serve all trials in turn.
    os.environ["TUNE_MAX_PENDING_TRIALS_PG"] = _ANY_NUMBER

    from ray.tune.error import TuneError

    from study.execution.trainable import TrialTrainable
    from study.execution.tune_adapters import TuneTrialIds

    keep_credentials_out_of_tune()
    tune_trials = TuneTrialIds(queue)
    scratch = directory.folder / ".scratch"
    shutil.rmtree(scratch, ignore_errors=True)
    # Told once to each process, and not part of what Tune keeps, copies and writes of every trial.
    told = {
        "settings": config.model_dump_json(),
        "location": directory.portable_location,
        "fingerprint": fingerprint,
    }
    tuner = _make_tuner(trainable or TrialTrainable, told, reservation, tune_trials, slots, scratch.resolve())
    try:
        tuner.fit()
    except TuneError as error:
        raise tune_trials.error or error from error
    finally:
        shutil.rmtree(scratch, ignore_errors=True)


def keep_credentials_out_of_tune() -> None:
    """Do not let Tune pass on AWS_ACCESS_KEY_ID and its companions: Ray writes what it passes on into its logs.

    Every node has credentials of its own in its environment, and one that Ray starts here inherits them.
    """
    # The only place where Tune says what it passes on; a test notices when it moves.
    from ray.tune.execution.class_cache import ENV_VARS_TO_PROPAGATE

    ENV_VARS_TO_PROPAGATE.difference_update([name for name in ENV_VARS_TO_PROPAGATE if name.startswith("AWS_")])


def _make_tuner(
    trainable: type[tune.Trainable],
    told: Mapping[str, str],
    reservation: Reservation,
    tune_trials: TuneTrialIds,
    slots: Callable[[], int],
    scratch: Path,
) -> tune.Tuner:
    """A Tune experiment that asks the queue for trials until there are none, and does nothing else of its own."""
    from ray import tune

    from study.execution.tune_adapters import ArmScheduler, ArmSearch

    return tune.Tuner(
        tune.with_resources(tune.with_parameters(trainable, **told), reservation.as_tune()),
        tune_config=tune.TuneConfig(
            search_alg=ArmSearch(tune_trials, slots),
            scheduler=ArmScheduler(tune_trials),
            num_samples=-1,
            reuse_actors=True,
            trial_dirname_creator=lambda trial: str(trial.trial_id),
        ),
        run_config=tune.RunConfig(
            name="tune",
            storage_path=str(scratch),
            verbose=0,
            # Trials save their own checkpoints, by our ids.
            checkpoint_config=tune.CheckpointConfig(checkpoint_frequency=0, checkpoint_at_end=False),
            failure_config=tune.FailureConfig(max_failures=0),  # the queue counts attempts
        ),
    )
