"""Train a recorded trial again and compare every epoch bit for bit."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from analysis.records.schema import TABLES
from analysis.records.segments import read_segments
from study.config.study import StudyConfig
from study.design.arms import list_arms
from study.design.trials import TrialSpec
from study.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from study.storage.run_directory import RunDirectory


@dataclass(frozen=True)
class ReplayedEpoch:
    """One epoch, recorded and trained again."""

    epoch: int
    """Number of the epoch, from 1."""
    recorded: dict[str, Any]
    """Column of the table ``epochs`` -> recorded value, without volatile columns."""
    replayed: dict[str, Any]
    """The same columns -> what the training gave this time."""

    @property
    def identical(self) -> bool:
        """Whether every number is the same, to the last bit."""
        return self.recorded == self.replayed


def find_trial(directory: RunDirectory, config: StudyConfig, trial_id: str) -> TrialSpec:
    """Find a recorded trial by its id, or by the beginning of its id.

    Raises:
        UsageError: no trial, or several, have that id.
    """
    trials = read_segments(directory.records / "trials", TABLES["trials"]).drop_duplicates("trial_id", keep="last")
    found = trials[trials["trial_id"].str.startswith(trial_id)].to_dict("records")
    if len(found) != 1:
        some = ", ".join(trials["trial_id"].head(5))
        raise UsageError(
            f"{trial_id!r}: {len(found)} trials of {directory.folder} have that id; some that it has: {some or 'none'}"
        )
    (row,) = found
    arms = {arm.name: arm for arm in list_arms(config)}
    if row["arm"] not in arms:
        raise UsageError(
            f"trial {row['trial_id']} belongs to arm {row['arm']}, but {directory.config_file} has {', '.join(arms)}"
        )
    arm = arms[row["arm"]]
    return TrialSpec.recorded(row, arm)


def replay(directory: RunDirectory, trial_id: str) -> Iterator[ReplayedEpoch]:
    """Train a trial again from its first epoch, without Ray, on this machine.

    Yields:
        Each recorded epoch as soon as it has been trained again.

    Raises:
        UsageError: there is no such trial, or none of its epochs was recorded.
        StudyFailed: this machine has other images than the study.
    """
    import torch

    from study.config.files import check_config, read_yaml
    from study.training.inputs import open_inputs
    from study.training.run import TrainingRun

    directory.fetch_below(directory.pretrained)
    config = check_config(read_yaml(directory.config_file), str(directory.config_file))
    spec = find_trial(directory, config, trial_id)
    epochs = read_segments(directory.records / "epochs", TABLES["epochs"])
    epochs = epochs[epochs["trial_id"] == spec.trial_id].drop_duplicates("epoch").sort_values("epoch")
    recorded = epochs.to_dict("records")
    if not recorded:
        raise UsageError(f"trial {spec.trial_id} of {directory.folder} has no recorded epoch to compare with")
    torch.set_num_threads(config.resources.cpu)
    began_with = directory.read_manifest()["fingerprints"]["wbc"]
    batches, features, device = open_inputs(config, directory.folder, began_with)
    run = TrainingRun(config, spec, batches, features, device)
    for row in recorded:
        replayed = run.train_epoch().row()
        yield ReplayedEpoch(row["epoch"], {key: _plain(row[key]) for key in replayed}, replayed)


def _plain(value: Any) -> Any:
    """Give a recorded value the form that it has in a report: a list of int, a float, or None for a loss that was not finite."""
    if isinstance(value, float):
        return None if math.isnan(value) else value
    return [int(item) for item in value] if hasattr(value, "__iter__") else value
