"""The answer to ``--dry-run``: what a study would do, checked as a run checks it, and what it would cost."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rich.console import Console

from analysis.records.object_store import join_location
from study.design.arms import list_arms, pretrained_encoders, trained_encoders
from study.design.checks import check_masks, check_networks
from study.pipeline.estimate import StudyEstimate, count_images, estimate_arms, estimate_study
from study.storage.local_images import open_images
from study.storage.run_directory import RunDirectory
from study.storage.same_study import check_same_study
from study.terminal.estimate_table import estimate_table
from study.terminal.progress import format_duration
from study.terminal.status import describe_phases

if TYPE_CHECKING:
    from pathlib import Path

    from data_utils.arrays import ImageArrays
    from study.config.study import StudyConfig


def print_estimate(
    config: StudyConfig, root: Path | str, console: Console | None = None, *, restart: bool = False
) -> None:
    """Print arms, trials, and estimated time and memory on this machine.

    Args:
        config: Configuration of the study.
        root: Folder of run directories, or an address in an object store.
        console: Where to print.
        restart: Whether a study of that name would be set aside: then it may have any configuration.

    Raises:
        UsageError: the name belongs to a study with another configuration.
        DataError: the images are not as expected.
        WeightsError: given encoder weights cannot be used.
    """
    console = console or Console(highlight=False)
    config = config.with_absolute_paths()
    directory = RunDirectory.to_read(join_location(root, config.name))
    arrays, notes = _check(config, directory, restart=restart)
    arms = estimate_arms(config, count_images(config, arrays["wbc"]))
    console.print(f"Study {config.name} in {directory.location} (nothing is run)", markup=False, soft_wrap=True)
    console.print(estimate_table(arms, config.search.budget, config.confirm.seeds))
    # The table is there while this measures.
    console.print(_summarise(config, len(arms), estimate_study(config, arrays)), markup=False)
    for note in notes:
        console.print(f"Note: {note}", markup=False, soft_wrap=True)


def _check(config: StudyConfig, directory: RunDirectory, *, restart: bool) -> tuple[dict[str, ImageArrays], list[str]]:
    """Check what a run would check before it writes anything.

    Returns:
        Domain -> its images; and what is worth knowing, one line each.
    """
    set_aside = restart and directory.exists
    if not set_aside:
        check_same_study(directory, config)
    arrays = {domain: open_images(config.data, domain) for domain in ("wbc", *trained_encoders(config))}
    notes = check_masks(config, arrays)
    if set_aside:
        notes.append(f"--restart would first set aside the study that is there, {describe_phases(directory)}")
    if config.arms.networks:
        notes += check_networks(config, arrays["wbc"])
    from study.training.encoder_weights import check_given

    arms = list_arms(config)
    for encoder in pretrained_encoders(arms):
        check_given(config, encoder, arms)
    return arrays, notes


def _summarise(config: StudyConfig, arms: int, estimate: StudyEstimate) -> str:
    """Trials, training, time and memory of a study with so many arms, one line each."""
    trials, confirmations = config.search.budget, config.confirm.seeds
    return (
        f"{arms} arms x ({trials} search trials by {config.search.mode}, {config.search.scheduler}"
        f" + {confirmations} confirmations) = {arms * (trials + confirmations)} trials\n"
        f"Training: {estimate.image_steps:,} image-steps at most ({estimate.pretraining_image_steps:,} of them pretraining)\n"
        f"Time: about {format_duration(estimate.seconds)} on this machine with {estimate.slots} trials at once and no early"
        " stopping\n"
        f"Memory: about {estimate.working_bytes / 2**30:.1f} GiB for {estimate.slots} workers and the driver, and"
        f" {estimate.image_bytes / 2**20:,.0f} MiB of images that they share"
    )
