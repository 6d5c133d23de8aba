"""The phases before the search: encoders are pretrained, and what they see in every blood cell is computed once."""

from __future__ import annotations

from typing import TYPE_CHECKING

from analysis.records.schema import CURVE_COLUMNS, Phase
from analysis.records.segments import read_parquet
from study.design.arms import encoder_ids, latent_encoder_ids, trained_encoders
from study.execution.remote_tasks import compute_latents_task, pretrain_task, run_tasks
from study.storage.provenance import file_fingerprint
from study.storage.run_directory import WEIGHTS

if TYPE_CHECKING:
    from study.pipeline.context import StudyContext


def pretrain_encoders(context: StudyContext) -> None:
    """Make the weights of every encoder: pretrained here, given, or drawn at random.

    Raises:
        StudyFailed: an encoder cannot be trained.
    """
    directory = context.directory
    needed = encoder_ids(context.arms)
    if not needed or directory.is_complete(Phase.PRETRAIN):
        return
    with (
        directory.phase(Phase.PRETRAIN),
        context.progress.phase(Phase.PRETRAIN, lambda: _pretraining_epochs(context)) as tell,
    ):
        run_tasks("pretraining", pretrain_task, context.config, needed, directory.portable_location)
        directory.fetch_below(directory.pretrained)
        manifest = directory.read_manifest()
        origins = {encoder_id: _origin(context, encoder_id) for encoder_id in needed}
        manifest["networks"] = {
            encoder_id: {"origin": origin, "sha256": file_fingerprint(directory.encoder(encoder_id) / WEIGHTS)}
            for encoder_id, origin in origins.items()
        }
        directory.write_manifest(manifest)
        for encoder_id, origin in origins.items():
            tell(f"{encoder_id} {origin}")


def compute_features(context: StudyContext) -> None:
    """Compute the latent vectors of all blood cells that the arms look at.

    Raises:
        StudyFailed: they cannot be computed.
    """
    directory = context.directory
    needed = latent_encoder_ids(context.arms)
    if not needed or directory.is_complete(Phase.FEATURES):
        return
    with directory.phase(Phase.FEATURES), context.progress.phase(Phase.FEATURES) as tell:
        run_tasks("computing features", compute_latents_task, context.config, needed, directory.portable_location)
        tell("latent vectors of all blood cells from " + " and ".join(needed))


def _origin(context: StudyContext, encoder_id: str) -> str:
    """Where an encoder's weights come from, in words."""
    config = context.config
    if encoder_id in config.arms.networks:
        return f"from {config.arms.networks[encoder_id]}"
    if encoder_id not in context.encoders:
        return f"random weights, seed {config.seed}"
    settings = config.pretrain.of(encoder_id)
    return f"from {settings.weights}" if settings.weights else f"{settings.epochs} epochs"


def _pretraining_epochs(context: StudyContext) -> str:
    """How far the encoders are, from the curves that they write."""
    return ", ".join(
        f"{name} {len(read_parquet(context.directory.encoder(name) / 'curve.parquet', CURVE_COLUMNS))}"
        f"/{context.config.pretrain.of(name).epochs} epochs"
        for name in trained_encoders(context.config)
    )
