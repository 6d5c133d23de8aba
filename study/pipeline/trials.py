"""The two phases that train trials: the search of every arm, and the confirmation of the points that won."""

from __future__ import annotations

from contextlib import closing, contextmanager, suppress
from functools import partial
from typing import TYPE_CHECKING, Any

from analysis.records.schema import TABLES, Phase
from analysis.records.segments import read_segments
from study.errors import StudyFailed
from study.execution.capacity import ElasticSlots, accelerators, nodes_now, trial_reservation
from study.execution.experiment import run_trials
from study.execution.gpu_memory import measure_share
from study.search.optuna_mirror import OptunaMirror, search_space
from study.search.optuna_storage import JOURNAL
from study.search.plans import confirm_plans, search_plans
from study.search.queue import TrialQueue

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from data_utils.arrays import ImageArrays
    from study.design.points import Point
    from study.design.trials import TrialPredictions
    from study.pipeline.context import StudyContext
    from study.search.plans import ArmPlan
    from study.search.queue import TrialMirror
    from study.storage.records import RecordWriter


def search_arms(
    context: StudyContext, records: RecordWriter, cells: ImageArrays, first_points: Mapping[str, Point]
) -> None:
    """Search every arm with its own budget, followed by the Optuna mirror.

    Args:
        context: The study.
        records: Where trials are recorded.
        cells: Images of blood cells.
        first_points: Name of an arm -> the point where its search begins; arms may be missing.

    Raises:
        StudyFailed: training is not reproducible, or the first trials of all arms fail.
    """
    directory = context.directory
    with _open_mirror(context) as mirror:
        if mirror is not None:
            _rebuild(mirror, context)
        if directory.is_complete(Phase.SEARCH):
            return
        with directory.phase(Phase.SEARCH):
            plans = search_plans(context.config, context.arms, cells, first_points)
            _run_phase(context, Phase.SEARCH, plans, records, cells, mirror)
        if mirror is not None and not mirror.is_current:
            # Its storage was lost on the way; perhaps it is back.
            _rebuild(mirror, context)
    journal = directory.folder / JOURNAL
    if journal.is_file():
        directory.publish(journal)


def confirm_winners(context: StudyContext, records: RecordWriter, cells: ImageArrays) -> None:
    """Train every arm's winning point with every confirmation seed.

    Args:
        context: The study.
        records: Where trials are recorded.
        cells: Images of blood cells.

    Raises:
        StudyFailed: no arm has a winner, or training is not reproducible.
    """
    from analysis import load_study

    config = context.config
    winners = load_study(context.directory.folder).winners()
    # An arm without a winner is left out here and reported at the end: the others are not to blame.
    arms = [arm for arm in context.arms if arm.name in set(winners["arm"])]
    if not arms:
        raise StudyFailed(
            f"no trial of any arm was trained to its last epoch. `wbc-study status {config.name}` shows the arms, the"
            " records say why trial by trial"
        )
    with context.directory.phase(Phase.CONFIRM):
        if config.confirm.seeds:
            _run_phase(context, Phase.CONFIRM, confirm_plans(config, arms, cells, winners), records, cells)


@contextmanager
def _open_mirror(context: StudyContext) -> Iterator[OptunaMirror | None]:
    """The Optuna mirror of the search for the length of the block; None where the study keeps none."""
    if context.storage == "memory":
        yield None
        return
    mirror = OptunaMirror(
        context.storage,
        context.directory.folder,
        study=context.config.name,
        owner=context.directory.read_manifest()["run_id"],
        replaces=context.directory.set_aside_runs(),
        space=search_space(context.config.search),
        metric=context.config.search.metric,
        warn=context.progress.say,
    )
    with closing(mirror):
        yield mirror


def _rebuild(mirror: OptunaMirror, context: StudyContext) -> None:
    """Make the mirror show what the records say."""
    folder = context.directory.records
    trials, epochs = (read_segments(folder / name, TABLES[name]) for name in ("trials", "epochs"))
    mirror.rebuild([arm.name for arm in context.arms], trials, epochs)


def _run_phase(
    context: StudyContext,
    phase: Phase,
    plans: Sequence[ArmPlan],
    records: RecordWriter,
    cells: ImageArrays,
    mirror: TrialMirror | None = None,
) -> None:
    """Train the trials of the plans that the records do not have yet."""
    config = context.config
    queue = TrialQueue(
        plans,
        records,
        metric=config.search.metric,
        max_failures=config.search.max_failures,
        predictions_to_rows=partial(_prediction_rows, cells),
        ended=partial(_delete_checkpoint, context),
        mirror=mirror,
    )
    _replay(context, queue, cells)
    reservation = trial_reservation(config.resources, nodes_now(), _gpu_share(context))
    slots = ElasticSlots(reservation, config.resources.workers, context.progress.say)
    with context.progress.watch(phase, queue.progress, slots, config.search.metric):
        run_trials(config, context.directory, queue, reservation, slots, cells.fingerprint)
    if not queue.finished:
        raise StudyFailed("Ray Tune ended before all trials had; run the same command again to continue the study")


def _prediction_rows(cells: ImageArrays, trial_id: str, predictions: TrialPredictions) -> list[dict[str, Any]]:
    """Rows of the table ``predictions``, one for each image that was predicted."""
    return [
        {
            "trial_id": trial_id,
            "epoch": predictions.epoch,
            "split": str(cells.splits[row]),
            "image": str(cells.hashes[row]),
            "label": int(cells.labels[row]),
            "probabilities": [float(p) for p in probabilities],
        }
        for row, probabilities in zip(predictions.rows, predictions.probabilities, strict=True)
    ]


def _replay(context: StudyContext, queue: TrialQueue, cells: ImageArrays) -> None:
    """Let the queue take in what an earlier process recorded, and delete the checkpoints that it left."""
    directory = context.directory
    tables = {name: read_segments(directory.records / name, columns) for name, columns in TABLES.items()}
    # A torn segment may hold the predictions of some images only: then they are written again.
    predicted = tables["predictions"].groupby("trial_id").size()
    images = len(cells.indices("val")) + len(cells.indices("test"))
    queue.replay(tables["trials"], tables["epochs"], frozenset(predicted.index[predicted >= images]))
    kept = {key.split("/")[1] for key in directory.sizes(directory.checkpoints)}
    for spec in queue.ended():
        # The earlier process ended before it could delete this one.
        if spec.trial_id in kept:
            _delete_checkpoint(context, spec.trial_id, spec.phase)


def _gpu_share(context: StudyContext) -> float | None:
    """Part of a GPU that a trial needs, measured when the study first met GPUs; None where it is configured or unknown."""
    config, directory = context.config, context.directory
    kinds = accelerators(nodes_now())
    if config.resources.gpu != "auto" or not kinds:
        return None
    manifest = directory.read_manifest()
    known = manifest.get("gpu_share", {"kinds": []})
    if set(map(str, kinds)) <= set(known["kinds"]):
        return float(known["share"]) if known["share"] else None
    with context.progress.phase("memory") as tell:
        share = measure_share(config, directory.portable_location, manifest["fingerprints"]["wbc"], nodes_now())
        tell(
            f"{round(1 / share)} trials share a GPU"
            if share
            else "not measured (torch sees no GPU): 1 GPU for each trial"
        )
    manifest["gpu_share"] = {"kinds": sorted(map(str, kinds)), "share": share}
    directory.write_manifest(manifest)
    return share


def _delete_checkpoint(context: StudyContext, trial_id: str, phase: Phase) -> None:
    """Free the disk of an ended trial's checkpoint; a confirmed trial keeps the weights that it is scored with."""
    if context.config.keep_checkpoints == "all":
        return
    folder = context.directory.checkpoint(trial_id)
    if phase == Phase.CONFIRM:
        from study.execution.trainable import CHECKPOINT

        context.directory.remove(folder / CHECKPOINT)
    else:
        # A worker may still be writing there.
        with suppress(OSError):
            context.directory.remove_folder(folder)
