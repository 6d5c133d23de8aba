"""Records as TensorBoard event files; ``tensorboard --logdir <folder>`` shows them."""

from __future__ import annotations

from pathlib import Path

from analysis.records.errors import StudyError
from analysis.records.study import Study
from analysis.tracking.trials import tracked_trials


def write_tensorboard(study: Study, folder: Path) -> int:
    """Write one log directory for each trial, ``<folder>/<arm>/<trial>``, with its curves and its settings.

    Args:
        study: Any study, also a running one.
        folder: Must not exist.

    Returns:
        Number of trials.

    Raises:
        StudyError: tensorboardX is not installed.
    """
    try:
        from tensorboardX import SummaryWriter
    except ImportError as error:
        raise StudyError('TensorBoard files need tensorboardX: pip install "wbc-study[tensorboard]".') from error
    count = 0
    for trial in tracked_trials(study):
        writer = SummaryWriter(str(folder / trial.arm / trial.trial_id), write_to_disk=True)
        for epoch, time, numbers in trial.points():
            for name, value in numbers.items():
                writer.add_scalar(name, value, epoch, walltime=time)
        results = {f"best/{name}": value for name, value in trial.results.items()}
        if results:
            # In the trial's own folder, or TensorBoard would list every trial twice.
            writer.add_hparams({**trial.settings, **trial.tags}, results, name=".")
        writer.close()
        count += 1
    return count
