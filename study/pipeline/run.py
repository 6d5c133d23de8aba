"""A study from beginning to end: its phases, each run once."""

from __future__ import annotations

import hashlib
import json
import time
import uuid
from contextlib import ExitStack, closing, suppress
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

from analysis.records.object_store import join_location
from analysis.records.schema import IMAGE_COLUMNS, SCHEMA_VERSION, TABLES, Phase, PhaseState
from study.config.secrets import mask_password, resolve_storage
from study.config.study import StudyConfig
from study.design.arms import encoder_ids, latent_encoder_ids, list_arms, pretrained_encoders, trained_encoders
from study.design.checks import check_masks
from study.errors import StudyFailed, UsageError
from study.storage.records import RecordWriter, write_table
from study.storage.run_directory import WEIGHTS, RunDirectory
from study.storage.same_study import check_same_study
from study.terminal.progress import ImageProgress, Progress

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from analysis import Study
    from data_utils.cache import ImageArrays
    from study.design.points import Point
    from study.design.trials import TrialPredictions
    from study.search.optuna_mirror import OptunaMirror
    from study.search.plans import ArmPlan
    from study.search.queue import TrialMirror, TrialQueue


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
        address: Of a Ray cluster; None takes `resources.address`, and without it Ray starts on this machine.
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
        grown = check_same_study(directory, config)
        if grown:
            directory.reopen(list(Phase))
        # From here on no other module sees the password.
        storage = resolve_storage(config.search.storage)
        masked = config.search.model_copy(update={"storage": mask_password(storage)})
        config = config.model_copy(update={"search": masked})
        if not directory.is_complete(Phase.REPORT):
            return _Run(config, directory, address, progress or Progress(), storage).run()
    return load_study(directory.folder)


class _Run:
    """One process's work on one study."""

    def __init__(
        self, config: StudyConfig, directory: RunDirectory, address: str | None, progress: Progress, storage: str
    ):
        self._storage = storage
        self._first_points: dict[str, Point] = {}
        self._config, self._directory, self._progress = config, directory, progress
        self._address = address or config.resources.address
        self._arms = list_arms(config)
        self._encoders = pretrained_encoders(self._arms)

    def run(self) -> Study:
        # Bad input must end before anything is written: images, weights and resources are checked first.
        if self._trackers():
            from analysis.tracking.export import check_trackers

            check_trackers(self._trackers())
        if any(arm.control == "classical" for arm in self._arms) and find_spec("skimage") is None:
            raise UsageError(
                "controls: `classical` needs scikit-image: pip install 'wbc-study[classical]', or leave it out"
            )
        if "://" in self._storage:
            from study.search.optuna_storage import check_storage

            check_storage(self._storage)
        search = self._config.search
        if search.warm_start is not None:
            from study.search.warm_start import first_points

            names = [arm.name for arm in self._arms]
            kept = self._directory.read_manifest().get("warm_start")
            self._first_points = first_points(search.warm_start, names, kept, self._progress.say, search.also)
        arrays = self._open_images()
        weights = self._check_weights()
        with ExitStack() as stack:
            if not self._directory.is_complete(Phase.CONFIRM):
                from study.execution.capacity import check_satisfiable, nodes_now, trial_reservation
                from study.execution.ray_session import ray_session

                stack.enter_context(ray_session(self._address))
                check_satisfiable(trial_reservation(self._config.resources, nodes_now()), nodes_now())
            if not self._directory.exists:
                # First of all: a folder with this file is a study, whatever else is missing when the power fails.
                self._directory.write_config(self._config)
            self._describe(arrays, weights)
            self._directory.write_config(self._config)
            self._audit(arrays)
            records = RecordWriter(self._directory.records, self._directory.publish, self._directory.remove)
            if not self._directory.is_complete(Phase.CONFIRM):
                self._pretrain()
                self._compute_features()
                self._search(records, arrays["wbc"])
                self._confirm(records, arrays["wbc"])
        return self._report(records)

    def _open_images(self) -> dict[str, ImageArrays]:
        """Decode every image that the study uses, once, and check that every fraction can be drawn."""
        from data_utils.fractions import select_fraction
        from study.storage.local_images import open_images

        trained = trained_encoders(self._config)
        progress = ImageProgress()
        with self._progress.phase("images", progress.describe) as tell:
            arrays = {
                domain: open_images(self._config.data, domain, progress.of(domain)) for domain in ("wbc", *trained)
            }
            for seed in (self._config.seed, *self._config.confirm_seeds()):
                for fraction in self._config.arms.fractions:
                    select_fraction(arrays["wbc"], fraction, seed)
            cells = arrays["wbc"]
            splits = ", ".join(f"{len(cells.indices(split)):,} {split}" for split in ("train", "val", "test"))
            tell(f"{len(cells):,} blood cells ({splits})")
            for domain in trained:
                tell(f"{len(arrays[domain]):,} {domain}")
            for line in check_masks(self._config, arrays):
                tell(line)
            if self._config.arms.networks:
                from study.design.checks import check_networks

                for line in check_networks(self._config, cells):
                    tell(line)
        return arrays

    def _check_weights(self) -> dict[str, str]:
        """Load the given weights once; returns their fingerprints."""
        from study.training.encoder_weights import check_given, find_weights

        fingerprints = {}
        for encoder in self._encoders:
            path = self._config.pretrain.of(encoder).weights
            if path is not None:
                check_given(self._config, encoder, self._arms)
                fingerprints[f"{encoder} weights"] = _fingerprint(find_weights(path, encoder))
        for network, path in self._config.arms.networks.items():
            if path is not None:
                fingerprints[f"{network} weights"] = _fingerprint(path)
        return fingerprints

    def _describe(self, arrays: dict[str, ImageArrays], weights: dict[str, str]) -> None:
        """Write what the results depend on; a run that continues elsewhere adds what it found there."""
        from study.storage.provenance import describe_environment

        manifest = self._directory.read_manifest()
        fingerprints = {domain: images.fingerprint for domain, images in arrays.items()} | weights
        known = manifest.setdefault("fingerprints", {})
        # New names: a new study, or one that is extended by fusion and now has encoders.
        known |= {name: fingerprint for name, fingerprint in fingerprints.items() if name not in known}
        changed = [name for name in sorted({*known, *fingerprints}) if known.get(name) != fingerprints.get(name)]
        if "networks" in manifest:
            self._directory.fetch_below(self._directory.pretrained)
        for network, kept in manifest.get("networks", {}).items():
            file = self._directory.encoder(network) / WEIGHTS
            if not file.is_file() or _fingerprint(file) != kept["sha256"]:
                changed.append(str(file))
        if changed:
            raise UsageError(
                f"{self._directory.folder}: {', '.join(changed)} are not what the study began with (other fingerprint)."
                " Restore them, or give this study another --name"
            )
        environment = describe_environment()
        # Ours whatever its name: in a database that several people use, names may meet.
        manifest.setdefault("run_id", uuid.uuid4().hex)
        if self._first_points:
            manifest.setdefault("warm_start", {arm: list(point) for arm, point in self._first_points.items()})
        manifest |= {
            "schema_version": SCHEMA_VERSION,
            "name": self._config.name,
            "classes": list(arrays["wbc"].classes),
            # With the processor and the versions, what a trial's numbers depend on.
            "threads": self._config.resources.cpu,
        }
        if "versions" not in manifest:
            manifest |= environment
        elif any(manifest[key] != environment[key] for key in ("versions", "git_revision", "hardware")):
            manifest.setdefault("continued_with", []).append(environment)
        self._directory.write_manifest(manifest)

    def _audit(self, arrays: dict[str, ImageArrays]) -> None:
        if self._directory.is_complete(Phase.AUDIT):
            return
        from data_utils.audit import audit

        with self._directory.phase(Phase.AUDIT), self._progress.phase(Phase.AUDIT) as tell:
            findings = audit(arrays, self._config.arms.fractions, self._config.seed)
            self._directory.write(self._directory.audit_file, (json.dumps(findings, indent=2) + "\n").encode())
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
            self._directory.publish(self._directory.images_file)
            tell(_summarise_audit(findings))

    def _pretrain(self) -> None:
        networks = encoder_ids(self._arms)
        if not networks or self._directory.is_complete(Phase.PRETRAIN):
            return
        with (
            self._directory.phase(Phase.PRETRAIN),
            self._progress.phase(Phase.PRETRAIN, self._pretraining_epochs) as tell,
        ):
            self._as_tasks("pretraining", _pretrain_there, networks)
            self._directory.fetch_below(self._directory.pretrained)
            manifest = self._directory.read_manifest()
            origins = {network: self._origin(network) for network in networks}
            manifest["networks"] = {
                network: {"origin": origin, "sha256": _fingerprint(self._directory.encoder(network) / WEIGHTS)}
                for network, origin in origins.items()
            }
            self._directory.write_manifest(manifest)
            for network, origin in origins.items():
                tell(f"{network} {origin}")

    def _origin(self, network: str) -> str:
        """Where a network's weights come from, in words."""
        if network in self._config.arms.networks:
            return f"from {self._config.arms.networks[network]}"
        if network not in self._encoders:
            return f"random weights, seed {self._config.seed}"
        settings = self._config.pretrain.of(network)
        return f"from {settings.weights}" if settings.weights else f"{settings.epochs} epochs"

    def _pretraining_epochs(self) -> str:
        """How far the encoders are, from the curves that they write."""
        from analysis.records.schema import CURVE_COLUMNS
        from analysis.records.segments import read_parquet

        return ", ".join(
            f"{name} {len(read_parquet(self._directory.encoder(name) / 'curve.parquet', CURVE_COLUMNS))}"
            f"/{self._config.pretrain.of(name).epochs} epochs"
            for name in trained_encoders(self._config)
        )

    def _compute_features(self) -> None:
        networks = latent_encoder_ids(self._arms)
        if not networks or self._directory.is_complete(Phase.FEATURES):
            return
        with self._directory.phase(Phase.FEATURES), self._progress.phase(Phase.FEATURES) as tell:
            self._as_tasks("computing features", _compute_latents_there, networks)
            tell("latent vectors of all blood cells from " + " and ".join(networks))

    def _as_tasks(self, what: str, function: Any, networks: Sequence[str]) -> None:
        """Run a function for every network at once as Ray tasks; nodes may be lost meanwhile."""
        import ray

        from study.execution.capacity import encoder_reservation, nodes_now

        resources, location = self._config.resources, self._directory.portable_location

        def submit(network: str) -> Any:
            remote = ray.remote(max_retries=5, **reservation.as_task())(function)
            return remote.remote(self._config, network, location)

        reservation = encoder_reservation(resources, nodes_now())
        tasks = {submit(network): network for network in networks}
        try:
            while tasks:
                done, _ = ray.wait(list(tasks), timeout=5)
                for task in done:
                    ray.get(task)
                    del tasks[task]
                nodes = nodes_now()
                if reservation.gpu and not any(reservation.slots_on(node) for node in nodes):
                    # The last GPU has gone: nothing waits for what may never come back.
                    reservation = encoder_reservation(resources, nodes)
                    for task in tasks:
                        ray.cancel(task, force=True)
                    tasks = {submit(network): network for network in tasks.values()}
        except ray.exceptions.RayTaskError as error:
            if isinstance(error.cause, StudyFailed | ValueError | OSError):
                # One of our own messages, or a full disk: not a stack of Ray frames.
                raise error.cause from error
            raise StudyFailed(f"{what} failed:\n{error.cause!r}") from error

    def _search(self, records: RecordWriter, arrays: ImageArrays) -> None:
        from study.search.optuna_storage import JOURNAL
        from study.search.plans import search_plans

        with ExitStack() as stack:
            mirror = self._open_mirror()
            if mirror is not None:
                stack.enter_context(closing(mirror))
                self._rebuild(mirror)
            if self._directory.is_complete(Phase.SEARCH):
                return
            with self._directory.phase(Phase.SEARCH):
                plans = search_plans(self._config, self._arms, arrays, self._first_points)
                self._run_trials(Phase.SEARCH, plans, records, arrays, mirror)
            if mirror is not None and not mirror.is_current:
                # Its storage was lost on the way; perhaps it is back.
                self._rebuild(mirror)
        journal = self._directory.folder / JOURNAL
        if journal.is_file():
            self._directory.publish(journal)

    def _open_mirror(self) -> OptunaMirror | None:
        if self._storage == "memory":
            return None
        from study.search.optuna_mirror import OptunaMirror, search_space

        return OptunaMirror(
            self._storage,
            self._directory.folder,
            study=self._config.name,
            owner=self._directory.read_manifest()["run_id"],
            replaces=self._directory.set_aside_runs(),
            space=search_space(self._config.search),
            metric=self._config.search.metric,
            warn=self._progress.say,
        )

    def _rebuild(self, mirror: OptunaMirror) -> None:
        from analysis.records.segments import read_segments

        trials, epochs = (read_segments(self._directory.records / name, TABLES[name]) for name in ("trials", "epochs"))
        mirror.rebuild([arm.name for arm in self._arms], trials, epochs)

    def _confirm(self, records: RecordWriter, arrays: ImageArrays) -> None:
        from analysis import load_study
        from study.search.plans import confirm_plans

        winners = load_study(self._directory.folder).winners()
        # An arm without a winner is left out here and reported at the end: the others are not to blame.
        arms = [arm for arm in self._arms if arm.name in set(winners["arm"])]
        if not arms:
            raise StudyFailed(
                f"no trial of any arm was trained to its last epoch. `wbc-study status {self._config.name}` shows the arms, the"
                " records say why trial by trial"
            )
        with self._directory.phase(Phase.CONFIRM):
            if self._config.confirm.seeds:
                self._run_trials(Phase.CONFIRM, confirm_plans(self._config, arms, arrays, winners), records, arrays)

    def _run_trials(
        self,
        phase: Phase,
        plans: Sequence[ArmPlan],
        records: RecordWriter,
        arrays: ImageArrays,
        mirror: TrialMirror | None = None,
    ) -> None:
        from analysis.records.segments import read_segments
        from study.execution.capacity import ElasticSlots, nodes_now, trial_reservation
        from study.execution.experiment import run_trials
        from study.search.queue import TrialQueue

        def rows(trial_id: str, predictions: TrialPredictions) -> list[dict[str, Any]]:
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
            plans,
            records,
            metric=self._config.search.metric,
            max_failures=self._config.search.max_failures,
            predictions_to_rows=rows,
            ended=self._tidy,
            mirror=mirror,
        )
        tables = {name: read_segments(self._directory.records / name, columns) for name, columns in TABLES.items()}
        # A torn segment may hold the predictions of some images only: then they are written again.
        predicted = tables["predictions"].groupby("trial_id").size()
        images = len(arrays.indices("val")) + len(arrays.indices("test"))
        queue.replay(tables["trials"], tables["epochs"], frozenset(predicted.index[predicted >= images]))
        kept = {key.split("/")[1] for key in self._directory.sizes(self._directory.checkpoints)}
        for spec in queue.ended():
            # Those of an earlier process that ended before it could.
            if spec.trial_id in kept:
                self._tidy(spec.trial_id, spec.phase)
        resources = self._config.resources
        reservation = trial_reservation(resources, nodes_now(), self._measured_share())
        slots = ElasticSlots(reservation, resources.workers, self._progress.say)
        with self._progress.watch(phase, queue.progress, slots, self._config.search.metric):
            run_trials(self._config, self._directory, queue, reservation, slots, arrays.fingerprint)
        _check_finished(queue)

    def _measured_share(self) -> float | None:
        """Part of a GPU that a trial needs, measured when the study first met GPUs; None where it is configured or unknown."""
        from study.execution.capacity import accelerators, nodes_now
        from study.execution.gpu_memory import measure_share

        kinds = accelerators(nodes_now())
        if self._config.resources.gpu != "auto" or not kinds:
            return None
        manifest = self._directory.read_manifest()
        known = manifest.get("gpu_share", {"kinds": []})
        if set(map(str, kinds)) <= set(known["kinds"]):
            return float(known["share"]) if known["share"] else None
        with self._progress.phase("memory") as tell:
            location, fingerprint = self._directory.portable_location, manifest["fingerprints"]["wbc"]
            share = measure_share(self._config, location, fingerprint, nodes_now())
            tell(
                f"{round(1 / share)} trials share a GPU"
                if share
                else "not measured (torch sees no GPU): 1 GPU for each trial"
            )
        manifest["gpu_share"] = {"kinds": sorted(map(str, kinds)), "share": share}
        self._directory.write_manifest(manifest)
        return share

    def _tidy(self, trial_id: str, phase: Phase) -> None:
        """Free the disk of an ended trial's checkpoint; a confirmed trial keeps the weights that it is scored with."""
        if self._config.keep_checkpoints == "all":
            return
        folder = self._directory.checkpoint(trial_id)
        if phase == Phase.CONFIRM:
            from study.execution.trainable import CHECKPOINT

            self._directory.remove(folder / CHECKPOINT)
        else:
            # A worker may still be writing there.
            with suppress(OSError):
                self._directory.remove_folder(folder)

    def _trackers(self) -> list[str]:
        return [name for name, wanted in self._config.tracking.model_dump().items() if wanted]

    def _report(self, records: RecordWriter) -> Study:
        from analysis import load_study
        from analysis.report.page import write_report

        with self._directory.phase(Phase.REPORT), self._progress.phase(Phase.REPORT) as tell:
            records.compact()
            # One object for all: what it reads and judges once, the report and the terminal need again.
            study = load_study(self._directory.folder)
            # The manifest is part of the report: with it the study is complete, and it says so.
            study.manifest["phases"][Phase.REPORT] |= {"state": PhaseState.COMPLETE, "ended_at": time.time()}
            write_report(study)
            tell(f"{self._directory.location}/report/index.html")
            for tracker in self._trackers():
                from analysis.tracking.export import export_tracking

                tell(str(export_tracking(study, tracker)))
                self._directory.publish_below(study.path / "tracking")
            self._directory.publish_below(self._directory.report)
        return study


def _pretrain_there(config: StudyConfig, network: str, location: str) -> None:
    """Pretrain one encoder on the node where this runs, from where another node may have left off."""
    from study.training.pretraining import pretrain

    directory = RunDirectory(location)
    folder = directory.encoder(network)
    directory.fetch_below(folder)
    pretrain(config, network, folder, directory.publish)
    directory.publish_below(folder)  # the checkpoint is gone


def _compute_latents_there(config: StudyConfig, network: str, location: str) -> None:
    """Compute the latent vectors of one encoder on the node where this runs."""
    from study.training.latents import compute_latents

    directory = RunDirectory(location)
    folder = directory.encoder(network)
    directory.fetch_below(folder)
    compute_latents(config, network, folder)
    directory.publish_below(folder)


def _fingerprint(file: Path) -> str:
    return hashlib.sha256(file.read_bytes()).hexdigest()


def _check_finished(queue: TrialQueue) -> None:
    if not queue.finished:
        raise StudyFailed("Ray Tune ended before all trials had; run the same command again to continue the study")


def _summarise_audit(findings: Mapping[str, Mapping[str, Any]]) -> str:
    count = {
        name: sum(len(found[name]) for found in findings.values())
        for name in ("unreadable", "duplicates", "leaks", "groups_across_splits")
    }
    divided = f", {count['groups_across_splits']} groups in several splits" if count["groups_across_splits"] else ""
    return (
        f"{count['unreadable']} unreadable files, {count['duplicates']} groups of identical images, {count['leaks']} images"
        f" dropped from a split{divided}"
    )
