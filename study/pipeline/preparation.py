"""Before anything is trained: images, weights and settings are checked, the study is described, its images are audited."""

from __future__ import annotations

import json
import uuid
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any

from analysis.records.schema import IMAGE_COLUMNS, SCHEMA_VERSION, Phase
from data_utils.audit import audit
from data_utils.fractions import select_fraction
from study.design.arms import trained_encoders
from study.design.checks import check_masks, check_networks
from study.errors import UsageError
from study.storage.local_images import open_images
from study.storage.provenance import describe_environment, file_fingerprint
from study.storage.records import write_table
from study.storage.run_directory import WEIGHTS
from study.terminal.progress import ImageProgress

if TYPE_CHECKING:
    from collections.abc import Mapping

    from data_utils.arrays import ImageArrays
    from study.design.points import Point
    from study.pipeline.context import StudyContext


def check_requirements(context: StudyContext) -> None:
    """Check what the study needs beside images and weights: trackers, packages and the storage of the Optuna mirror.

    Raises:
        UsageError: something is missing or cannot be used.
    """
    if context.trackers:
        from analysis.tracking.export import check_trackers

        check_trackers(context.trackers)
    if any(arm.control == "classical" for arm in context.arms) and find_spec("skimage") is None:
        raise UsageError(
            "controls: `classical` needs scikit-image: pip install 'wbc-study[classical]', or leave it out"
        )
    if "://" in context.storage:
        from study.search.optuna_storage import check_storage

        check_storage(context.storage)


def find_first_points(context: StudyContext) -> dict[str, Point]:
    """Name of an arm -> the point where its search begins; empty where no earlier study is configured.

    Raises:
        UsageError: the earlier study cannot be used.
    """
    search = context.config.search
    if search.warm_start is None:
        return {}
    from study.search.warm_start import first_points

    names = [arm.name for arm in context.arms]
    kept = context.directory.read_manifest().get("warm_start")
    return first_points(search.warm_start, names, kept, context.progress.say, search.also)


def open_study_images(context: StudyContext) -> dict[str, ImageArrays]:
    """Domain -> its images, decoded once; that every fraction can be drawn is checked.

    Raises:
        DataError: the images are not as expected.
    """
    config = context.config
    trained = trained_encoders(config)
    decoded = ImageProgress()
    with context.progress.phase("images", decoded.describe) as tell:
        arrays = {domain: open_images(config.data, domain, decoded.of(domain)) for domain in ("wbc", *trained)}
        for seed in (config.seed, *config.confirm_seeds()):
            for fraction in config.arms.fractions:
                select_fraction(arrays["wbc"], fraction, seed)
        cells = arrays["wbc"]
        splits = ", ".join(f"{len(cells.indices(split)):,} {split}" for split in ("train", "val", "test"))
        tell(f"{len(cells):,} blood cells ({splits})")
        for domain in trained:
            tell(f"{len(arrays[domain]):,} {domain}")
        for line in check_masks(config, arrays):
            tell(line)
        if config.arms.networks:
            for line in check_networks(config, cells):
                tell(line)
    return arrays


def check_given_weights(context: StudyContext) -> dict[str, str]:
    """Load the given weights once.

    Returns:
        What the weights are for -> their fingerprint.

    Raises:
        WeightsError: given weights cannot be used.
    """
    config = context.config
    fingerprints = {}
    for encoder in context.encoders:
        path = config.pretrain.of(encoder).weights
        if path is not None:
            # Imports torch, which the process that runs a study does not need otherwise.
            from study.training.encoder_weights import check_given, find_weights

            check_given(config, encoder, context.arms)
            fingerprints[f"{encoder} weights"] = file_fingerprint(find_weights(path, encoder))
    for classifier, path in config.arms.networks.items():
        if path is not None:
            fingerprints[f"{classifier} weights"] = file_fingerprint(path)
    return fingerprints


def describe_study(
    context: StudyContext,
    arrays: Mapping[str, ImageArrays],
    given_weights: Mapping[str, str],
    first_points: Mapping[str, Point],
) -> None:
    """Write the configuration and what the results depend on; a run that continues elsewhere adds what it found there.

    Args:
        context: The study.
        arrays: Domain -> its images.
        given_weights: See `check_given_weights`.
        first_points: See `find_first_points`.

    Raises:
        UsageError: images or weights are not those that the study began with.
    """
    directory = context.directory
    if not directory.exists:
        # First of all: a folder with this file is a study, whatever else is missing when the power fails.
        directory.write_config(context.config)
    manifest = directory.read_manifest()
    _check_fingerprints(
        context, manifest, {name: images.fingerprint for name, images in arrays.items()} | {**given_weights}
    )
    environment = describe_environment()
    # Ours whatever its name: in a database that several people use, names may meet.
    manifest.setdefault("run_id", uuid.uuid4().hex)
    if first_points:
        manifest.setdefault("warm_start", {arm: list(point) for arm, point in first_points.items()})
    manifest |= {
        "schema_version": SCHEMA_VERSION,
        "name": context.config.name,
        "classes": list(arrays["wbc"].classes),
        # With the processor and the versions, what a trial's numbers depend on.
        "threads": context.config.resources.cpu,
    }
    if "versions" not in manifest:
        manifest |= environment
    elif any(manifest[key] != environment[key] for key in ("versions", "git_revision", "hardware")):
        manifest.setdefault("continued_with", []).append(environment)
    directory.write_manifest(manifest)
    directory.write_config(context.config)


def _check_fingerprints(context: StudyContext, manifest: dict[str, Any], fingerprints: Mapping[str, str]) -> None:
    """Compare images and weights with those that the study began with; the manifest takes in what is new."""
    directory = context.directory
    known = manifest.setdefault("fingerprints", {})
    # New names: a new study, or one that is extended by fusion and now has encoders.
    known |= {name: fingerprint for name, fingerprint in fingerprints.items() if name not in known}
    changed = [name for name in sorted({*known, *fingerprints}) if known.get(name) != fingerprints.get(name)]
    if "networks" in manifest:
        directory.fetch_below(directory.pretrained)
    for encoder_id, kept in manifest.get("networks", {}).items():
        file = directory.encoder(encoder_id) / WEIGHTS
        if not file.is_file() or file_fingerprint(file) != kept["sha256"]:
            changed.append(str(file))
    if changed:
        raise UsageError(
            f"{directory.folder}: {', '.join(changed)} are not what the study began with (other fingerprint)."
            " Restore them, or give this study another --name"
        )


def audit_images(context: StudyContext, arrays: Mapping[str, ImageArrays]) -> None:
    """Write what is in the images and what is wrong with them, and the list of blood cells."""
    directory = context.directory
    if directory.is_complete(Phase.AUDIT):
        return
    with directory.phase(Phase.AUDIT), context.progress.phase(Phase.AUDIT) as tell:
        findings = audit(arrays, context.config.arms.fractions, context.config.seed)
        directory.write(directory.audit_file, (json.dumps(findings, indent=2) + "\n").encode())
        write_table(directory.images_file, _image_rows(arrays["wbc"]), IMAGE_COLUMNS)
        directory.publish(directory.images_file)
        tell(_summarise_audit(findings))


def _image_rows(cells: ImageArrays) -> list[dict[str, Any]]:
    return [
        {
            "image": str(cells.hashes[row]),
            "path": str(cells.paths[row]),
            "split": str(cells.splits[row]),
            "label": int(cells.labels[row]),
            "group": str(cells.groups[row]),
        }
        for row in range(len(cells))
    ]


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
