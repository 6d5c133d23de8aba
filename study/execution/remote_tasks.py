"""Work on encoders as Ray tasks: on whichever node has room, from the beginning or from where a lost node left off."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from study.errors import StudyFailed
from study.execution.capacity import encoder_reservation, nodes_now
from study.storage.run_directory import RunDirectory

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from study.config.study import StudyConfig

_POLL_SECONDS = 5
"""Seconds after which the nodes are looked at again while tasks run."""

_RETRIES = 5
"""Times that a task is begun again because its node was lost."""


def pretrain_task(config: StudyConfig, encoder_id: str, location: str) -> None:
    """Pretrain one encoder on the node where this runs, from where another node may have left off."""
    from study.training.pretraining import pretrain

    directory = RunDirectory(location)
    folder = directory.encoder(encoder_id)
    directory.fetch_below(folder)
    pretrain(config, encoder_id, folder, directory.publish)
    directory.publish_below(folder)  # the checkpoint is gone


def compute_latents_task(config: StudyConfig, encoder_id: str, location: str) -> None:
    """Compute the latent vectors of one encoder on the node where this runs."""
    from study.training.latents import compute_latents

    directory = RunDirectory(location)
    folder = directory.encoder(encoder_id)
    directory.fetch_below(folder)
    compute_latents(config, encoder_id, folder)
    directory.publish_below(folder)


def run_tasks(
    what: str,
    task: Callable[[StudyConfig, str, str], None],
    config: StudyConfig,
    encoder_ids: Sequence[str],
    location: str,
) -> None:
    """Run a task for every encoder at once and wait for all. Nodes may be lost meanwhile.

    Args:
        what: What the task does, for the message of an error.
        task: `pretrain_task` or `compute_latents_task`.
        config: The study's configuration.
        encoder_ids: Folders below ``pretrain/``, one task for each.
        location: Location of the run directory, valid on every node.

    Raises:
        StudyFailed: a task failed. What the task says of bad input or of a full disk passes through as it is.
    """
    import ray

    try:
        _run_to_end(task, config, encoder_ids, location)
    except ray.exceptions.RayTaskError as error:
        if isinstance(error.cause, StudyFailed | ValueError | OSError):
            # One of our own messages, or a full disk: not a stack of Ray frames.
            raise error.cause from error
        raise StudyFailed(f"{what} failed:\n{error.cause!r}") from error


def _run_to_end(
    task: Callable[[StudyConfig, str, str], None], config: StudyConfig, encoder_ids: Sequence[str], location: str
) -> None:
    import ray

    def submit(encoder_id: str) -> Any:
        return ray.remote(max_retries=_RETRIES, **reservation.as_task())(task).remote(config, encoder_id, location)

    reservation = encoder_reservation(config.resources, nodes_now())
    running = {submit(encoder_id): encoder_id for encoder_id in encoder_ids}
    while running:
        done, _ = ray.wait(list(running), timeout=_POLL_SECONDS)
        for reference in done:
            ray.get(reference)
            del running[reference]
        nodes = nodes_now()
        if reservation.gpu and not any(reservation.slots_on(node) for node in nodes):
            # The last GPU has gone: nothing waits for what may never come back.
            reservation = encoder_reservation(config.resources, nodes)
            for reference in running:
                ray.cancel(reference, force=True)
            running = {submit(encoder_id): encoder_id for encoder_id in running.values()}
