"""A study from beginning to end: the order of its phases."""

from __future__ import annotations

from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING

from analysis.records.object_store import join_location
from analysis.records.schema import Phase
from study.execution.capacity import check_satisfiable, nodes_now, trial_reservation
from study.execution.ray_session import ray_session
from study.pipeline.context import StudyContext
from study.pipeline.encoders import compute_features, pretrain_encoders
from study.pipeline.outcome import report_study
from study.pipeline.preparation import (
    audit_images,
    check_given_weights,
    check_requirements,
    describe_study,
    find_first_points,
    open_study_images,
)
from study.pipeline.trials import confirm_winners, search_arms
from study.storage.records import RecordWriter
from study.storage.run_directory import RunDirectory
from study.storage.same_study import check_same_study
from study.terminal.progress import Progress

if TYPE_CHECKING:
    from analysis.records.study import Study
    from study.config.study import StudyConfig

DEFAULT_ROOT = Path("ray_results")


def run_study(
    config: StudyConfig,
    root: Path | str = DEFAULT_ROOT,
    *,
    address: str | None = None,
    progress: Progress | None = None,
) -> Study:
    """Run a study, or continue it where it was interrupted. Phases that are complete are not run again.

    Args:
        config: What to do.
        root: Folder of run directories, which on a cluster all nodes must share, or an address ``s3://bucket/prefix`` in an
            object store; the study's is ``<root>/<config.name>``.
        address: Address of a Ray cluster; None takes `resources.address`, and without it Ray starts on this machine.
        progress: Where to print; the terminal when None.

    Returns:
        The records of the finished study.

    Raises:
        UsageError: the name belongs to a study with another configuration, or another process runs it.
        DataError: the images are not as expected.
        WeightsError: given encoder weights cannot be used.
        StudyFailed: no arm has a trial that was trained to its end, or training is not reproducible.
    """
    from analysis import load_study

    config = config.with_absolute_paths()
    directory = RunDirectory(join_location(root, config.name))
    with directory.lock():
        if check_same_study(directory, config):
            # The study has grown: every phase may have more to do.
            directory.reopen(list(Phase))
        if not directory.is_complete(Phase.REPORT):
            return _run_phases(StudyContext.of(config, directory, progress or Progress(), address))
    return load_study(directory.folder)


def _run_phases(context: StudyContext) -> Study:
    directory = context.directory
    # Bad input must end before anything is written: images, weights and resources are checked first.
    check_requirements(context)
    first_points = find_first_points(context)
    arrays = open_study_images(context)
    given_weights = check_given_weights(context)
    to_train = not directory.is_complete(Phase.CONFIRM)
    with ExitStack() as stack:
        if to_train:
            stack.enter_context(ray_session(context.address))
            check_satisfiable(trial_reservation(context.config.resources, nodes_now()), nodes_now())
        describe_study(context, arrays, given_weights, first_points)
        audit_images(context, arrays)
        records = RecordWriter(directory.records, directory.publish, directory.remove)
        if to_train:
            pretrain_encoders(context)
            compute_features(context)
            search_arms(context, records, arrays["wbc"], first_points)
            confirm_winners(context, records, arrays["wbc"])
    return report_study(context, records)
