"""What becomes of a study: its report and its exports, and what it lacks of what was asked for."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from analysis.records.schema import Phase, PhaseState, TrialStatus
from study.config.study import StudyConfig
from study.design.arms import list_arms

if TYPE_CHECKING:
    from analysis.records.study import Study
    from study.pipeline.context import StudyContext
    from study.storage.records import RecordWriter

_SHOWN_LOST = 5
"""Lost trials that are named one by one."""


def report_study(context: StudyContext, records: RecordWriter) -> Study:
    """Write the report of a study whose trials have all ended, and export it to the trackers; returns its records."""
    from analysis import load_study
    from analysis.report.page import write_report

    directory = context.directory
    with directory.phase(Phase.REPORT), context.progress.phase(Phase.REPORT) as tell:
        records.compact()
        # One object for all: what it reads and judges once, the report and the terminal need again.
        study = load_study(directory.folder)
        # The manifest is part of the report: with it the study is complete, and it says so.
        study.manifest["phases"][Phase.REPORT] |= {"state": PhaseState.COMPLETE, "ended_at": time.time()}
        write_report(study)
        tell(f"{directory.location}/report/index.html")
        for tracker in context.trackers:
            from analysis.tracking.export import export_tracking

            tell(str(export_tracking(study, tracker)))
            directory.publish_below(study.path / "tracking")
        directory.publish_below(directory.report)
    return study


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
