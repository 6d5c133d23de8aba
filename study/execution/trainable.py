"""The Tune trainable: a warm worker process that trains one trial after another."""

from __future__ import annotations

import errno
import json
import logging
import socket
from dataclasses import asdict, replace
from typing import TYPE_CHECKING, Any

from ray import tune

from analysis.records.object_store import StoreUnreachable
from study.config.study import StudyConfig
from study.design.arms import HANDCRAFTED, Arm, encoded_networks, list_arms, networks_of
from study.design.trials import EpochReport, TrialSpec
from study.errors import StudyFailed
from study.storage.run_directory import WEIGHTS, RunDirectory

if TYPE_CHECKING:
    from pathlib import Path

    import torch

    from study.training.batches import ImageBatches
    from study.training.run import TrainingRun
    from study.training.trial_features import StudyFeatures

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
            location: Of its run directory.
            fingerprint: Of the blood-cell images that the study began with.
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
        if self._run.spec.phase == "confirm" and report.epoch == self._run.epoch and self._run.done:
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


def open_inputs(
    config: StudyConfig, folder: Path, fingerprint: str
) -> tuple[ImageBatches, StudyFeatures, torch.device]:
    """Everything that all trials of a process share: images, what the pretrained networks give, and the device.

    Builds the image cache on a node that has none yet; opens it where it exists.

    Args:
        config: The study's.
        folder: The run directory or its working copy.
        fingerprint: Of the blood-cell images that the study began with.

    Raises:
        StudyFailed: the images of this machine are others.
    """
    from models.checkpoints import load_tensors
    from study.storage.local_images import open_images
    from study.training.batches import ImageBatches
    from study.training.device import choose_device, room_for_images
    from study.training.latents import open_latents
    from study.training.pretraining import load_classifier, load_encoder
    from study.training.trial_features import StudyFeatures

    device = choose_device()
    arrays = open_images(config.data, "wbc")
    if arrays.fingerprint != fingerprint:
        raise StudyFailed(
            f"the images of {socket.gethostname()} have fingerprint {arrays.fingerprint}, but the study began with {fingerprint}."
            " Restore them; results on other images say nothing about the study's"
        )
    arms = list_arms(config)
    encoded, pretrained = encoded_networks(arms), folder / "pretrain"
    # Nothing is learned from crops by what was never learned.
    live = [name for name in encoded if name != HANDCRAFTED] if config.arms.features == "live" else []
    features = StudyFeatures(
        latents=open_latents(folder, encoded, arrays),
        encoders={network: load_encoder(pretrained / network, network).to(device) for network in live},
        classifiers={
            network: load_classifier(pretrained / network)
            for network in networks_of(arm for arm in arms if arm.fusion == "finetune")
        },
        weights={
            network: load_tensors(pretrained / network / WEIGHTS)[0]
            for network in networks_of(arm for arm in arms if arm.network)
        },
    )
    share = config.resources.gpu if isinstance(config.resources.gpu, float) else 1.0
    return ImageBatches(arrays, config.data, device, room_for_images(device, share)), features, device
