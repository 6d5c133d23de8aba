"""How far a study is, from its files alone."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from analysis.records.schema import Phase, PhaseState, TrialStatus
from study.config.files import check_config
from study.design.arms import list_arms
from study.search.queued_trials import ArmProgress

if TYPE_CHECKING:
    from analysis.records.study import Study
    from study.storage.run_directory import RunDirectory


def describe_phases(directory: RunDirectory) -> str:
    """State of a study in one line: finished, running in a phase, or interrupted in a phase."""
    phases = directory.read_manifest().get("phases", {})
    if phases.get(Phase.REPORT, {}).get("state") == PhaseState.COMPLETE:
        return "finished"
    current = next((name for name, phase in phases.items() if phase["state"] != PhaseState.COMPLETE), None)
    where = f"in {current}" if current else f"after {list(phases)[-1]}" if phases else "before its first phase"
    return f"{'running' if directory.is_running() else 'interrupted'} {where}"


def arm_progress(study: Study, phase: str) -> list[ArmProgress]:
    """How far each arm is in one phase; empty when the phase has no trial yet."""
    config = check_config(study.config, str(study.path / "study.yaml"))
    trials = study.confirmations() if phase == Phase.CONFIRM else study.trials[study.trials["phase"] == phase]
    if trials.empty:
        return []
    planned = config.search.budget if phase == Phase.SEARCH else config.confirm.seeds
    lines = []
    for arm in list_arms(config):
        own = trials[trials["arm"] == arm.name]
        count = own["status"].value_counts()
        running = own[own["status"] == TrialStatus.RUNNING]
        epochs = int(own["epochs"].sum())
        best = own[study.metric].max() if len(own) else float("nan")
        lines.append(
            ArmProgress(
                arm=arm.name,
                planned=planned,
                running=len(running),
                completed=int(count.get(TrialStatus.COMPLETED, 0)),
                stopped=int(count.get(TrialStatus.STOPPED, 0)),
                failed=int(count.get(TrialStatus.FAILED, 0) + count.get(TrialStatus.DIVERGED, 0)),
                best=None if math.isnan(best) else float(best),
                epochs_left=(planned - len(own)) * config.training.epochs
                + int((config.training.epochs - running["epochs"]).sum()),
                seconds_per_epoch=float(own["seconds"].sum()) / epochs if epochs else None,
            )
        )
    return lines
