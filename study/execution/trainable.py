"""The Tune trainable: a warm worker process that trains one trial after another."""

from __future__ import annotations

import errno
import json
import logging
from dataclasses import asdict, replace
from typing import TYPE_CHECKING, Any

from ray import tune

from analysis.records.object_store import StoreUnreachable
from analysis.records.schema import Phase
from study.config.study import StudyConfig
from study.design.arms import Arm
from study.design.trials import EpochReport, TrialSpec
from study.storage.run_directory import WEIGHTS, RunDirectory
from study.training.inputs import open_inputs

if TYPE_CHECKING:
    from study.training.run import TrainingRun


logger = logging.getLogger(__name__)

CHECKPOINT = "checkpoint.safetensors"

REPORT = "report"
"""Key of a list with the `EpochReport` in a result. Who reads it takes it out: Tune keeps each trial's last result for ever."""

NO_ROOM = "no_room"
"""Key, instead of a report, of why nothing more can be written. No trial is to blame and no retry would help."""

_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EROFS)


class TrialTrainable(tune.Trainable):
    """Trains trials in a process that is kept: torch is imported and images are mapped once.

    It saves its own checkpoint after each epoch, under our trial id, before Tune hears of the epoch.
    """

    def setup(  # type: ignore[override]  # what `tune.with_parameters` adds
        self, config: dict[str, Any], settings: str, location: str, fingerprint: str
    ) -> None:
        """Open the images and start the first trial of this process.

        Args:
            config: See `trial_config`.
            settings: The study's configuration as JSON.
            location: Location of its run directory.
            fingerprint: Fingerprint of the blood-cell images that the study began with.
        """
        self._study, self._directory = StudyConfig.model_validate_json(settings), RunDirectory(location)
        self._directory.fetch_below(self._directory.pretrained)
        self._batches, self._features, self._device = open_inputs(self._study, self._directory.folder, fingerprint)
        self._start(config)

    def reset_config(self, new_config: dict[str, Any]) -> bool:
        """Start another trial in this process."""
        self._start(new_config)
        return True

    def step(self) -> dict[str, Any]:
        """Train one epoch, or repeat the report of one that was trained and saved but never recorded."""
        try:
            return {REPORT: [self._next_report()]}
        except StoreUnreachable as error:
            return {NO_ROOM: str(error)}
        except OSError as error:
            if error.errno not in _FULL:
                raise
            return {NO_ROOM: f"{self._folder}: {error.strerror}"}

    def _next_report(self) -> EpochReport:
        if self._unrecorded:
            report = self._unrecorded.pop(0)
        else:
            report = self._run.train_epoch()
            self._run.save(self._folder / CHECKPOINT)
            self._directory.publish(self._folder / CHECKPOINT, keep=False)
        if self._run.spec.phase == Phase.CONFIRM and report.epoch == self._run.epoch and self._run.done:
            self._run.save_weights(self._folder / WEIGHTS)
            self._directory.publish(self._folder / WEIGHTS, keep=False)
            report = replace(report, predictions=self._run.predictions())
        return report

    def _start(self, config: dict[str, Any]) -> None:
        import torch

        from study.training.run import TrainingRun, load_or_start

        spec, recorded_epochs = _read_trial(config["trial"])
        # Threads are part of what makes a trial reproducible.
        torch.set_num_threads(self._study.resources.cpu)
        self._folder = self._directory.checkpoint(spec.trial_id)
        self._run: TrainingRun = TrainingRun(self._study, spec, self._batches, self._features, self._device)
        self._directory.fetch(self._folder / CHECKPOINT)
        self._unrecorded: list[EpochReport] = load_or_start(
            self._run, self._folder / CHECKPOINT, recorded_epochs, warn=logger.warning
        )


def trial_config(spec: TrialSpec, recorded_epochs: int) -> dict[str, Any]:
    """What a worker is told about a trial."""
    # One opaque text: Tune would flatten and copy every key and name folders after it.
    return {"trial": json.dumps([asdict(spec), recorded_epochs])}


def _read_trial(text: str) -> tuple[TrialSpec, int]:
    fields, recorded_epochs = json.loads(text)
    arm = fields.pop("arm")
    return TrialSpec(arm=Arm(**{**arm, "encoders": tuple(arm["encoders"])}), **fields), recorded_epochs
