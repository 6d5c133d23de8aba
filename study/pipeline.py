"""A study from beginning to end: its phases, each run once."""

from __future__ import annotations

import json
import shutil
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Any

from analysis.schema import IMAGE_COLUMNS, SCHEMA_VERSION, TABLES
from study.arms import list_arms
from study.config import StudyConfig
from study.configuration import check_config, compare_configs, read_yaml
from study.durable import write_durably
from study.errors import StudyFailed, UsageError
from study.progress import Progress
from study.records import RecordWriter, write_table
from study.run_directory import RunDirectory

if TYPE_CHECKING:
    from collections.abc import Sequence

    from analysis.study import Study
    from data_utils.cache import ImageArrays
    from study.trial import Predictions
    from study.trial_queue import ArmPlan, TrialQueue

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
        root: Folder of run directories; the study's is ``<root>/<config.name>``.
        address: Of a Ray cluster; None starts Ray on this machine.
        progress: Where to print; the terminal when None.

    Returns:
        The records of the finished study.

    Raises:
        UsageError: the name belongs to a study with another configuration, or another process runs it.
        DataError: the images are not as expected.
        WeightsError: given encoder weights cannot be used.
        StudyFailed: an arm has no trial that was trained to its end.
    """
    from analysis import load_study

    config = config.with_absolute_paths()
    directory = RunDirectory(Path(root) / config.name)
    check_same_study(directory, config)
    with directory.lock():
        if not directory.is_complete("report"):
            _Run(config, directory, address, progress or Progress()).run()
    return load_study(directory.folder)


def check_same_study(directory: RunDirectory, config: StudyConfig) -> None:
    """Refuse to mix two studies in one run directory.

    Raises:
        UsageError: the directory holds a study with another configuration; the message lists the differences.
    """
    if not directory.exists:
        if directory.folder.exists() and any(path.name != ".lock" for path in directory.folder.iterdir()):
            raise UsageError(
                f"{directory.folder}: found files but no study.yaml, expected a study or nothing. Choose another --name"
            )
        return
    existing = check_config(read_yaml(directory.config_file), str(directory.config_file))
    differences = compare_configs(existing, config)
    if differences:
        raise UsageError(
            f"{directory.folder} holds a study with another configuration:\n  "
            + "\n  ".join(differences)
            + "\nGive this one another --name, or remove the old one with `wbc-study clean --all`"
        )


class _Run:
    """One process's work on one study."""

    def __init__(self, config: StudyConfig, directory: RunDirectory, address: str | None, progress: Progress):
        self._config, self._directory, self._address, self._progress = config, directory, address, progress
        self._arms = list_arms(config.arms)
        self._encoders = config.arms.encoders if config.uses_fusion else ()

    def run(self) -> None:
        # Bad input must end before anything is written: the arrays are built first.
        arrays = self._open_images()
        if not self._directory.exists:
            self._directory.write_config(self._config)
        self._describe(arrays)
        self._audit(arrays)
        records = RecordWriter(self._directory.records)
        with ExitStack() as stack:
            if not self._directory.is_complete("confirm"):
                from study.ray_session import ray_session

                stack.enter_context(ray_session(self._address))
                self._pretrain()
                self._compute_features()
                self._search(records, arrays["wbc"])
                self._confirm(records, arrays["wbc"])
        self._report(records)

    def _open_images(self) -> dict[str, ImageArrays]:
        """Decode every image that the study uses, once, and check that every fraction can be drawn."""
        from data_utils.cache import prepare
        from data_utils.fractions import select_fraction

        trained = [name for name in self._encoders if self._config.pretrain.of(name).weights is None]
        with self._progress.phase("images") as tell:
            arrays = {domain: prepare(self._config.data, domain) for domain in ("wbc", *trained)}
            for seed in (self._config.seed, *self._config.confirm_seeds()):
                for fraction in self._config.arms.fractions:
                    select_fraction(arrays["wbc"], fraction, seed)
            cells = arrays["wbc"]
            splits = ", ".join(f"{len(cells.indices(split)):,} {split}" for split in ("train", "val", "test"))
            tell(f"{len(cells):,} blood cells ({splits})")
            for domain in trained:
                tell(f"{len(arrays[domain]):,} {domain}")
        return arrays

    def _describe(self, arrays: dict[str, ImageArrays]) -> None:
        """Write what the results depend on; a run that continues adds what it found this time."""
        from study.provenance import describe_environment

        manifest = self._directory.read_manifest()
        fingerprints = {domain: images.fingerprint for domain, images in arrays.items()}
        known = manifest.setdefault("fingerprints", fingerprints)
        changed = [
            domain for domain, fingerprint in fingerprints.items() if known.get(domain, fingerprint) != fingerprint
        ]
        if changed:
            raise UsageError(
                f"{self._directory.folder}: the images of {', '.join(changed)} are not those that the study began with (other"
                " fingerprint). Restore them, or give this study another --name"
            )
        environment = describe_environment()
        manifest |= {
            "schema_version": SCHEMA_VERSION,
            "name": self._config.name,
            "classes": list(arrays["wbc"].classes),
            **environment,
        }
        self._directory.write_manifest(manifest)

    def _audit(self, arrays: dict[str, ImageArrays]) -> None:
        if self._directory.is_complete("audit"):
            return
        from data_utils.audit import audit

        with self._directory.phase("audit"), self._progress.phase("audit") as tell:
            findings = audit(arrays, self._config.arms.fractions, self._config.seed)
            write_durably(self._directory.audit_file, (json.dumps(findings, indent=2) + "\n").encode())
            cells = arrays["wbc"]
            write_table(
                self._directory.images_file,
                [
                    {
                        "image": str(cells.hashes[row]),
                        "path": str(cells.paths[row]),
                        "split": str(cells.splits[row]),
                        "label": int(cells.labels[row]),
                        "group": str(cells.groups[row]),
                    }
                    for row in range(len(cells))
                ],
                IMAGE_COLUMNS,
            )
            tell(_summarise_audit(arrays))

    def _pretrain(self) -> None:
        if not self._encoders or self._directory.is_complete("pretrain"):
            return
        from study.pretraining import pretrain

        with self._directory.phase("pretrain"), self._progress.phase("pretrain") as tell:
            self._as_tasks(pretrain)
            for encoder in self._encoders:
                settings = self._config.pretrain.of(encoder)
                tell(f"{encoder} {f'from {settings.weights}' if settings.weights else f'{settings.epochs} epochs'}")

    def _compute_features(self) -> None:
        if not self._encoders or self._directory.is_complete("features"):
            return
        from study.pretraining import compute_latents

        with self._directory.phase("features"), self._progress.phase("features") as tell:
            self._as_tasks(compute_latents)
            tell("latent vectors of all blood cells from " + " and ".join(self._encoders))

    def _as_tasks(self, function: Any) -> None:
        """Run a function for every encoder at once as Ray tasks."""
        import ray

        from study.ray_session import count_slots, gpus_per_trial

        resources = self._config.resources
        count_slots(resources)
        remote = ray.remote(num_cpus=resources.cpu, num_gpus=gpus_per_trial(resources), max_retries=2)(function)
        folder = self._directory.folder.resolve()
        tasks = [remote.remote(self._config, encoder, folder / "pretrain" / encoder) for encoder in self._encoders]
        try:
            ray.get(tasks)
        except ray.exceptions.RayTaskError as error:
            # The cause has our own type: a wrong weights file is the user's to mend, not a stack of Ray frames.
            raise error.cause from error

    def _search(self, records: RecordWriter, arrays: ImageArrays) -> None:
        if self._directory.is_complete("search"):
            return
        from study.plans import search_plans

        with self._directory.phase("search"):
            self._run_trials("search", search_plans(self._config, self._arms, arrays), records, arrays)

    def _confirm(self, records: RecordWriter, arrays: ImageArrays) -> None:
        from analysis import load_study
        from study.plans import confirm_plans

        winners = load_study(self._directory.folder).winners()
        missing = [arm.name for arm in self._arms if arm.name not in set(winners["arm"])]
        if missing:
            raise StudyFailed(
                f"no trial of {', '.join(missing)} was trained to its last epoch, so there is no winner. `wbc-study status"
                f" {self._config.name}` shows why; the records say it trial by trial"
            )
        with self._directory.phase("confirm"):
            if self._config.confirm.seeds:
                self._run_trials("confirm", confirm_plans(self._config, self._arms, arrays, winners), records, arrays)

    def _run_trials(self, phase: str, plans: Sequence[ArmPlan], records: RecordWriter, arrays: ImageArrays) -> None:
        from analysis.segments import read_segments
        from study.ray_session import count_slots
        from study.trial_queue import TrialQueue
        from study.trial_runner import run_trials

        def rows(trial_id: str, predictions: Predictions) -> list[dict[str, Any]]:
            return [
                {
                    "trial_id": trial_id,
                    "epoch": predictions.epoch,
                    "split": str(arrays.splits[row]),
                    "image": str(arrays.hashes[row]),
                    "label": int(arrays.labels[row]),
                    "probabilities": [float(p) for p in probabilities],
                }
                for row, probabilities in zip(predictions.rows, predictions.probabilities, strict=True)
            ]

        queue = TrialQueue(
            plans, records, metric=self._config.search.metric, predictions_to_rows=rows, ended=self._tidy
        )
        tables = {name: read_segments(self._directory.records / name, columns) for name, columns in TABLES.items()}
        queue.replay(tables["trials"], tables["epochs"], frozenset(tables["predictions"]["trial_id"]))
        with self._progress.watch(
            phase, queue.progress, count_slots(self._config.resources), self._config.search.metric
        ):
            run_trials(self._config, self._directory, queue)
        _check_finished(queue)

    def _tidy(self, trial_id: str, phase: str) -> None:
        """Free the disk of an ended trial's checkpoint; a confirmed trial keeps the weights that it is scored with."""
        if self._config.keep_checkpoints == "all":
            return
        folder = self._directory.checkpoint(trial_id)
        if phase == "confirm":
            from study.trainable import CHECKPOINT

            (folder / CHECKPOINT).unlink(missing_ok=True)
        else:
            shutil.rmtree(folder, ignore_errors=True)

    def _report(self, records: RecordWriter) -> None:
        from analysis import load_study
        from analysis.report import write_report

        with self._directory.phase("report"), self._progress.phase("report") as tell:
            records.compact()
            tell(str(write_report(load_study(self._directory.folder))))
        # The manifest is part of the report: say there too that the study is complete.
        write_report(load_study(self._directory.folder))


def _check_finished(queue: TrialQueue) -> None:
    if not queue.finished:
        raise StudyFailed("Ray Tune ended before all trials had; run the same command again to continue the study")


def _summarise_audit(arrays: dict[str, ImageArrays]) -> str:
    unreadable = sum(len(images.unreadable) for images in arrays.values())
    duplicates = sum(len(images.duplicates) for images in arrays.values())
    dropped = sum(len(images.dropped) for images in arrays.values())
    return (
        f"{unreadable} unreadable files, {duplicates} groups of identical images, {dropped} images dropped from a split"
    )
