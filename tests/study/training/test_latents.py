"""Latent vectors: computed once for every image, and refused where they are not those of the images."""

from pathlib import Path

import numpy as np
import pytest
import torch

from data_utils.cache import prepare
from models.checkpoints import load_tensors
from study.design.arms import HANDCRAFTED
from study.errors import StudyFailed
from study.storage.run_directory import WEIGHTS
from study.training.batches import ImageBatches
from study.training.encoder_weights import load_encoder
from study.training.latents import LATENTS, compute_latents, open_latents
from study.training.pretraining import pretrain

PUBLISHED = Path("../shared/data/published")


def test_latents_are_those_of_the_images_themselves(configure, tmp_path):
    config = configure()
    arrays = prepare(config.data, "wbc")
    for encoder in ("prcc", "cam16"):
        pretrain(config, encoder, tmp_path / "pretrain" / encoder)
        compute_latents(config, encoder, tmp_path / "pretrain" / encoder)
    opened = open_latents(tmp_path, ("prcc", "cam16"), arrays)
    batches = ImageBatches(arrays, config.data, torch.device("cpu"))
    rows = np.array([7, 3])
    for encoder, latents in opened.items():
        assert latents.shape == (len(arrays), 64)
        network = load_encoder(tmp_path / "pretrain" / encoder, encoder)
        (_, images), *_ = batches.whole(rows)
        assert np.allclose(network(images).numpy(), latents[rows], atol=1e-4)


def test_random_networks_have_the_shape_of_the_pretrained_ones_and_never_change(configure, tmp_path):
    config = configure()
    arrays = prepare(config.data, "wbc")
    for network in ("prcc-random", "cam16-random", "cam16"):
        pretrain(config, network, tmp_path / "pretrain" / network)
        compute_latents(config, network, tmp_path / "pretrain" / network)
    pretrain(config, "cam16-random", tmp_path / "again")
    drawn, again, trained = (
        load_tensors(folder / WEIGHTS)[0]
        for folder in (tmp_path / "pretrain" / "cam16-random", tmp_path / "again", tmp_path / "pretrain" / "cam16")
    )
    assert {name: tensor.shape for name, tensor in drawn.items()} == {n: tensor.shape for n, tensor in trained.items()}
    assert all(torch.equal(drawn[name], again[name]) for name in drawn)
    assert not torch.equal(drawn["conv1.weight"], trained["conv1.weight"])
    latents = open_latents(tmp_path, ("prcc-random", "cam16-random"), arrays)
    assert all(values.shape == (len(arrays), 64) and values.std() > 0 for values in latents.values())


def test_latents_that_are_there_are_kept_when_a_study_is_extended(configure, tmp_path):
    config = configure()
    pretrain(config, "prcc", tmp_path)
    compute_latents(config, "prcc", tmp_path)
    before = (tmp_path / "latents.npy").stat().st_mtime_ns
    compute_latents(config, "prcc", tmp_path)
    assert (tmp_path / "latents.npy").stat().st_mtime_ns == before


def test_features_that_nobody_learned_are_stored_like_latents_and_need_no_pretraining(configure, tmp_path):
    pytest.importorskip("skimage", reason="needs the extra classical")
    config = configure(controls=["classical"])
    compute_latents(config, HANDCRAFTED, tmp_path / "pretrain" / HANDCRAFTED)
    arrays = prepare(config.data, "wbc")
    stored = open_latents(tmp_path, (HANDCRAFTED,), arrays)[HANDCRAFTED]
    assert stored.shape[0] == len(arrays) and np.isfinite(stored).all()
    # Classes of drawn cells differ in colour and texture: no two of them have the same mean.
    means = np.stack([stored[arrays.labels == label].mean(axis=0) for label in range(5)])
    assert len(np.unique(means.round(6), axis=0)) == 5


def test_latents_of_other_images_are_refused(configure, tmp_path):
    config = configure()
    folder = tmp_path / "pretrain" / "prcc"
    pretrain(config, "prcc", folder)
    compute_latents(config, "prcc", folder)
    other = prepare(configure(data={"synthetic": {"seed": 9}}).data, "wbc")
    with pytest.raises(StudyFailed, match="fingerprint"):
        open_latents(tmp_path, ("prcc",), other)


def test_damaged_latents_are_refused(configure, tmp_path):
    """One flipped bit in a vector: no trial would notice."""
    config = configure()
    folder = tmp_path / "pretrain" / "prcc"
    pretrain(config, "prcc", folder)
    compute_latents(config, "prcc", folder)
    arrays = prepare(config.data, "wbc")
    open_latents(tmp_path, ("prcc",), arrays)
    content = bytearray((folder / LATENTS).read_bytes())
    content[-3] ^= 1
    (folder / LATENTS).write_bytes(content)
    with pytest.raises(StudyFailed, match="checksum"):
        open_latents(tmp_path, ("prcc",), arrays)


@pytest.mark.skipif(not PUBLISHED.is_dir(), reason="the published weights are not on this machine")
def test_published_weights_serve_as_encoders(configure, tmp_path):
    files = {"prcc": "autoencoder_model_complex.pth", "cam16": "cam16_model.pth"}
    config = configure(pretrain={name: {"weights": str(PUBLISHED / file)} for name, file in files.items()})
    for encoder in files:
        pretrain(config, encoder, tmp_path / encoder)
        compute_latents(config, encoder, tmp_path / encoder)
        assert np.load(tmp_path / encoder / "latents.npy").shape == (100, 256)
