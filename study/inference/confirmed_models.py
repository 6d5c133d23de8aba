"""The confirmed models of a study, ready for images that the study has not seen."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from models.checkpoints import load_state
from models.encoders import Encoder
from models.errors import WeightsError
from models.handcrafted import HandcraftedFeatures
from models.initialisation import stream
from study.design.arms import Arm, list_arms
from study.errors import UsageError
from study.storage.run_directory import WEIGHTS, RunDirectory
from study.training.encoder_weights import load_encoder
from study.training.networks import Network, build_network, use_channels_last

if TYPE_CHECKING:
    import pandas as pd

    from analysis.records.study import Study
    from study.config.study import StudyConfig


@dataclass(frozen=True)
class ConfirmedModel:
    """One confirmed run of one arm at the epoch that was chosen on validation."""

    trial_id: str
    arm: Arm
    seed: int
    """Seed of the run."""
    network: Network
    """Network with the weights of that epoch, in evaluation mode."""


class ConfirmedModels(nn.Module):
    """Confirmed models that look at the same images; an encoder that several of them use is evaluated once.

    Args:
        models: At least one model.
        encoders: Encoder id (a folder below ``pretrain/``) -> encoder, for every encoder id of the models' arms.
        classes: Names of the classes in the order of the labels.

    Attributes:
        models: As given.
        classes: As given.
    """

    def __init__(
        self,
        models: Sequence[ConfirmedModel],
        encoders: Mapping[str, Encoder | HandcraftedFeatures],
        classes: Sequence[str],
    ) -> None:
        super().__init__()
        self.models = tuple(models)
        self.classes = tuple(classes)
        # Registered, so that they move with the module. Ordered in memory as in training: the same kernels, the same numbers.
        self._networks = nn.ModuleList(use_channels_last(model.network) for model in models)
        self._encoders = nn.ModuleDict(encoders)
        self.eval()

    def latents(self, images: Tensor) -> dict[str, Tensor]:
        """Encoder id -> latent vectors (B, L) of float images (B, 3, H, W) in [0, 1]."""
        return {encoder_id: encoder(images) for encoder_id, encoder in self._encoders.items()}

    @staticmethod
    def latents_of(model: ConfirmedModel, latents: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Encoder -> the latent vectors that one model takes of all `latents`."""
        return {encoder: latents[encoder_id] for encoder, encoder_id in model.arm.latent_folders.items()}

    def forward(self, images: Tensor) -> Tensor:
        """Class probabilities of every model: float (B, 3, H, W) in [0, 1] to (M, B, C)."""
        latents = self.latents(images)
        ordered = images.contiguous(memory_format=torch.channels_last)
        return torch.stack(
            [model.network(ordered, self.latents_of(model, latents)).softmax(dim=1) for model in self.models]
        )


def choose_arm(study: Study, arm: str | None) -> str:
    """Name of the arm asked for; for None, of the compared arm with the highest mean of the selection metric.

    Raises:
        UsageError: the arm has no confirmed runs, or no arm has.
    """
    confirmed = study.confirmed
    if not len(confirmed):
        raise UsageError(
            f"{study.path}: no confirmed runs, and only they keep their weights. Set confirm.seeds to 1 or more and let the study"
            " finish"
        )
    if arm is None:
        compared = confirmed[confirmed["control"] == ""]
        means = (compared if len(compared) else confirmed).groupby("arm", sort=False)[study.metric].mean()
        return str(means.idxmax())
    if arm not in set(confirmed["arm"]):
        known = ", ".join(confirmed["arm"].unique())
        raise UsageError(f"{study.path}: no confirmed runs of an arm {arm!r}; there are some of {known}")
    return arm


def load_confirmed(
    directory: RunDirectory, config: StudyConfig, runs: pd.DataFrame, classes: Sequence[str]
) -> ConfirmedModels:
    """Load confirmed runs with the encoders that they use.

    Args:
        directory: The study's run directory.
        config: The study's configuration.
        runs: Rows of `Study.confirmed`.
        classes: Names of the study's classes.

    Raises:
        UsageError: a run is of the control `shuffled`, which looks at the features of another image of the study.
        WeightsError: weights are missing or damaged.
    """
    arms = {arm.name: arm for arm in list_arms(config)}
    chosen = [(str(row["trial_id"]), arms[row["arm"]], int(row["seed"])) for row in runs.to_dict("records")]
    shuffled = next((arm.name for _, arm, _ in chosen if arm.control == "shuffled"), None)
    if shuffled is not None:
        raise UsageError(
            f"{shuffled} is a control that looks at the features of another image of its study; it cannot be used on new images."
            " Choose another arm"
        )
    needed = [encoder_id for _, arm, _ in chosen for encoder_id in arm.latent_folders.values()]
    encoders = {name: load_encoder(directory.encoder(name), name) for name in dict.fromkeys(needed)}
    models = [
        ConfirmedModel(trial_id, arm, seed, _load_network(directory, config, trial_id, arm, encoders, len(classes)))
        for trial_id, arm, seed in chosen
    ]
    return ConfirmedModels(models, encoders, classes)


def load_arm(
    directory: RunDirectory, study: Study, config: StudyConfig, arm: str | None, seed: int | None
) -> ConfirmedModels:
    """Load the confirmed models of one arm.

    Args:
        directory: The study's run directory.
        study: The study's records.
        config: The study's configuration.
        arm: Name of the arm; when None as `choose_arm` says.
        seed: Seed of one confirmed run; when None all runs of the arm.

    Raises:
        UsageError: there is no such arm or seed, or it cannot be used on new images.
        WeightsError: weights are missing or damaged.
    """
    arm = choose_arm(study, arm)
    runs = study.confirmed[study.confirmed["arm"] == arm]
    if seed is not None:
        known = ", ".join(map(str, runs["seed"]))
        runs = runs[runs["seed"] == seed]
        if not len(runs):
            raise UsageError(
                f"--seed {seed}: {arm} was confirmed with the seeds {known}; choose one of them, or leave it out"
            )
    return load_confirmed(directory, config, runs, study.classes)


def _load_network(
    directory: RunDirectory,
    config: StudyConfig,
    trial_id: str,
    arm: Arm,
    encoders: Mapping[str, Encoder | HandcraftedFeatures],
    classes: int,
) -> Network:
    path = directory.checkpoint(trial_id) / WEIGHTS
    if not path.is_file():
        raise WeightsError(
            f"{path} is missing: the weights of this confirmed run ({arm.name}) were removed (`wbc-study clean`?) or never copied"
            " here. Copy the checkpoints folder of the study, or run the study again under another --name"
        )
    sizes = {encoder: encoders[encoder_id].latent_size for encoder, encoder_id in arm.latent_folders.items()}
    network = build_network(config, arm, classes, sizes, lambda purpose: stream(0, purpose))
    state, metadata = load_state(path)
    if metadata.get("trial_id") != trial_id:
        raise WeightsError(f"{path} has the weights of trial {metadata.get('trial_id')}, expected those of {trial_id}")
    network.load_state_dict(state["model"])
    return network.eval()
