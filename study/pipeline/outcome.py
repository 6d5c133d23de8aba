"""What a finished study lacks: arms without a winner, confirmations and trials that were lost."""

from __future__ import annotations

from typing import TYPE_CHECKING

from analysis.records.schema import TrialStatus
from study.config.study import StudyConfig
from study.design.arms import list_arms

if TYPE_CHECKING:
    from analysis.records.study import Study


def shortfalls(study: Study) -> list[str]:
    """What a finished study lacks, one line each: arms without a winner, confirmations that failed."""
    config = StudyConfig.model_validate(study.config)
    winners = set(study.winners()["arm"])
    confirmed = study.confirmed.groupby("arm").size().to_dict()
    lines = []
    for arm in list_arms(config):
        if arm.name not in winners:
            lines.append(f"{arm.name}: no trial of the search was trained to its last epoch, so nothing was confirmed")
        elif confirmed.get(arm.name, 0) < config.confirm.seeds:
            lines.append(
                f"{arm.name}: {confirmed.get(arm.name, 0)} of {config.confirm.seeds} confirmations were completed"
            )
    return lines


_SHOWN_LOST = 5
"""Lost trials that are named one by one."""


def lost_trials(study: Study) -> list[str]:
    """Trials that failed or diverged, with the last line of the reason: ordinary in a search, and nothing to be silent about."""
    lost = study.trials[study.trials["status"].isin([TrialStatus.FAILED, TrialStatus.DIVERGED])]
    lines = []
    for status, trials in lost.groupby("status", sort=True):
        lines.append(f"{len(trials)} of {len(study.trials)} trials {status}:")
        for row in trials.head(_SHOWN_LOST).to_dict("records"):
            reason = row["error"].strip().rpartition("\n")[2] or "the loss was not finite"
            lines.append(f"  {row['trial_id']} ({row['arm']}), after {row['epochs']} epochs: {reason}")
        if len(trials) > _SHOWN_LOST:
            lines.append(f"  and {len(trials) - _SHOWN_LOST} more: `load_study(...).trials` has them all")
    return lines
