"""Records as offline runs of Weights & Biases; ``wandb sync <folder>/wandb/offline-run-*`` sends them."""

from __future__ import annotations

from pathlib import Path

from analysis.records.errors import StudyError
from analysis.records.schema import TrialStatus
from analysis.records.study import Study
from analysis.tracking.trials import tracked_trials


def write_wandb(study: Study, folder: Path) -> int:
    """Write one offline run for each trial; nothing is sent anywhere.

    Args:
        study: Any study, also a running one.
        folder: Gets ``wandb/offline-run-*``; must not exist.

    Returns:
        Number of trials.

    Raises:
        StudyError: wandb is not installed.
    """
    try:
        import wandb
    except ImportError as error:
        raise StudyError('Runs of Weights & Biases need wandb: pip install "wbc-study[wandb]".') from error
    folder.mkdir(parents=True)
    quiet = wandb.Settings(
        console="off", silent=True, disable_git=True, disable_code=True, x_disable_stats=True, x_disable_meta=True
    )
    count = 0
    for trial in tracked_trials(study):
        run = wandb.init(
            mode="offline",
            dir=str(folder),
            project=study.name,
            id=trial.trial_id,
            name=f"{trial.arm} {trial.trial_id}",
            group=trial.arm,
            config={**trial.settings, **trial.tags},
            settings=quiet,
            reinit="create_new",
        )
        for epoch, _, numbers in trial.points():
            run.log(numbers, step=epoch)
        run.summary.update({f"best/{name}": value for name, value in trial.results.items()})
        run.finish(exit_code=1 if trial.tags["status"] in (TrialStatus.FAILED, TrialStatus.DIVERGED) else 0)
        count += 1
    return count
