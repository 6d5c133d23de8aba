"""Runs the trials of a queue as one Ray Tune experiment."""

from __future__ import annotations

import os
import shutil
from typing import TYPE_CHECKING

from study.ray_session import count_slots, gpus_per_trial

if TYPE_CHECKING:
    from ray import tune

    from study.config import StudyConfig
    from study.run_directory import RunDirectory
    from study.trial_queue import TrialQueue


def run_trials(
    config: StudyConfig, directory: RunDirectory, queue: TrialQueue, trainable: type[tune.Trainable] | None = None
) -> None:
    """Train every trial that the queue still has.

    Tune's own experiment files are scratch: they go to a folder that is deleted, and are never read back.

    Args:
        config: Of the study.
        directory: Its run directory.
        queue: The trials.
        trainable: What trains them; `TrialTrainable` when None.

    Raises:
        StudyFailed: from the queue, when a trial is not reproducible.
    """
    if queue.exhausted:
        return
    slots = count_slots(config.resources)
    # With a searcher of one's own Tune keeps one trial pending: a cluster would fill one by one, and where starting a process
    # takes longer than a trial, one process would serve all trials in turn.
    os.environ["TUNE_MAX_PENDING_TRIALS_PG"] = str(slots)

    from ray import tune
    from ray.tune.error import TuneError

    from study.trainable import TrialTrainable
    from study.tune_adapters import ArmScheduler, ArmSearch, TrialBook

    book = TrialBook(queue)
    scratch = directory.folder / ".scratch"
    shutil.rmtree(scratch, ignore_errors=True)
    # Told once to each process, and not part of what Tune keeps, copies and writes of every trial.
    told = tune.with_parameters(
        trainable or TrialTrainable,
        settings=config.model_dump_json(),
        location=directory.portable_location,
        fingerprint=directory.read_manifest()["fingerprints"]["wbc"],
    )
    tuner = tune.Tuner(
        tune.with_resources(told, {"cpu": config.resources.cpu, "gpu": gpus_per_trial(config.resources)}),
        tune_config=tune.TuneConfig(
            search_alg=ArmSearch(book),
            scheduler=ArmScheduler(book),
            num_samples=-1,
            # Points are suggested when a worker is free, not earlier: the searcher then knows all that can be known.
            max_concurrent_trials=slots,
            reuse_actors=True,
            trial_dirname_creator=lambda trial: str(trial.trial_id),
        ),
        run_config=tune.RunConfig(
            name="tune",
            storage_path=str(scratch.resolve()),
            verbose=0,
            # Trials save their own checkpoints, by our ids.
            checkpoint_config=tune.CheckpointConfig(checkpoint_frequency=0, checkpoint_at_end=False),
            failure_config=tune.FailureConfig(max_failures=0),  # the queue counts attempts,
        ),
    )
    try:
        tuner.fit()
    except TuneError as error:
        raise book.error or error from error
    finally:
        shutil.rmtree(scratch, ignore_errors=True)
