"""Encoders: trained, resumed, taken from a file, and turned into latent vectors."""

from pathlib import Path

import numpy as np
import pytest
import torch

from analysis.records.schema import CURVE_COLUMNS
from analysis.records.segments import read_parquet
from data_utils.cache import prepare
from models.checkpoints import load_tensors, save_tensors
from models.classifier import ResidualClassifier
from models.errors import WeightsError
from study.config.study import StudyConfig
from study.design.arms import HANDCRAFTED, list_arms
from study.errors import StudyFailed
from study.training.encoder_weights import check_given, find_weights, load_encoder
from study.training.latents import LATENTS, compute_latents, open_latents
from study.training.pretraining import RECONSTRUCTIONS, WEIGHTS, _Pretraining, pretrain
from tests.study.tiny import TINY, merged

PUBLISHED = Path("../shared/data/published")


@pytest.fixture(scope="module")
def cache(tmp_path_factory):
    return str(tmp_path_factory.mktemp("cache"))


def configure(cache: str, **changes) -> StudyConfig:
    return StudyConfig.model_validate(merged(merged(TINY, {"data": {"cache_dir": cache}}), changes))


@pytest.mark.parametrize(("encoder", "weight"), [("prcc", 0), ("cam16", 0), ("cam16", 0.5)])
def test_interrupted_pretraining_equals_uninterrupted(cache, tmp_path, encoder, weight):
    config = configure(cache, pretrain={encoder: {"epochs": 3, "segmentation_weight": weight}})
    pretrain(config, encoder, tmp_path / "calm")
    published = []
    interrupted = _Pretraining(config, encoder, tmp_path / "again", published.append)
    interrupted._epoch()
    interrupted._save(tmp_path / "again" / "checkpoint.safetensors")
    assert [path.name for path in published] == ["curve.parquet", "checkpoint.safetensors"]
    pretrain(config, encoder, tmp_path / "again")
    calm, again = (load_tensors(tmp_path / name / WEIGHTS)[0] for name in ("calm", "again"))
    assert all(torch.equal(calm[name], again[name]) for name in calm)
    assert not list((tmp_path / "again").glob("checkpoint*"))


@pytest.mark.parametrize("encoder", ["prcc", "cam16"])
def test_pretraining_learns_and_leaves_its_curve(cache, tmp_path, encoder):
    pretrain(configure(cache, pretrain={encoder: {"epochs": 4}}), encoder, tmp_path)
    curve = read_parquet(tmp_path / "curve.parquet", CURVE_COLUMNS)
    assert curve["epoch"].tolist() == [1, 2, 3, 4]
    assert curve["train_loss"].iloc[-1] < curve["train_loss"].iloc[0]
    assert curve["val_accuracy"].isna().all() == (encoder == "prcc")
    assert (tmp_path / RECONSTRUCTIONS).is_file() == (encoder == "prcc")


def test_cam16_learns_from_masks_when_asked_and_its_weights_are_those_of_the_same_network(cache, tmp_path):
    more = {"synthetic": {"cam16_train": 40}}
    for name, weight in (("without", 0), ("with", 1.0)):
        config = configure(cache, data=more, pretrain={"cam16": {"segmentation_weight": weight}})
        pretrain(config, "cam16", tmp_path / name)
    without, learnt = (load_tensors(tmp_path / name / WEIGHTS)[0] for name in ("without", "with"))
    assert list(without) == list(learnt)
    assert not torch.equal(without["conv1.weight"], learnt["conv1.weight"])
    load_encoder(tmp_path / "with", "cam16")


def test_finished_pretraining_is_not_repeated(cache, tmp_path):
    config = configure(cache)
    pretrain(config, "cam16", tmp_path)
    before = (tmp_path / WEIGHTS).stat().st_mtime_ns
    pretrain(config, "cam16", tmp_path)
    assert (tmp_path / WEIGHTS).stat().st_mtime_ns == before


def test_latents_are_those_of_the_images_themselves(cache, tmp_path):
    config = configure(cache)
    arrays = prepare(config.data, "wbc")
    for encoder in ("prcc", "cam16"):
        pretrain(config, encoder, tmp_path / "pretrain" / encoder)
        compute_latents(config, encoder, tmp_path / "pretrain" / encoder)
    opened = open_latents(tmp_path, ("prcc", "cam16"), arrays)
    from study.training.batches import ImageBatches

    batches = ImageBatches(arrays, config.data, torch.device("cpu"))
    rows = np.array([7, 3])
    for encoder, latents in opened.items():
        assert latents.shape == (len(arrays), 64)
        network = load_encoder(tmp_path / "pretrain" / encoder, encoder)
        (_, images), *_ = batches.whole(rows)
        assert np.allclose(network(images).numpy(), latents[rows], atol=1e-4)


def test_random_networks_have_the_shape_of_the_pretrained_ones_and_never_change(cache, tmp_path):
    config = configure(cache)
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


def test_latents_that_are_there_are_kept_when_a_study_is_extended(cache, tmp_path):
    config = configure(cache)
    pretrain(config, "prcc", tmp_path)
    compute_latents(config, "prcc", tmp_path)
    before = (tmp_path / "latents.npy").stat().st_mtime_ns
    compute_latents(config, "prcc", tmp_path)
    assert (tmp_path / "latents.npy").stat().st_mtime_ns == before


@pytest.mark.parametrize("encoder", ["prcc", "cam16"])
def test_an_earlier_study_gives_its_encoder(cache, tmp_path, encoder):
    pretrain(configure(cache), encoder, tmp_path / "earlier" / "pretrain" / encoder)
    later = configure(cache, pretrain={encoder: {"weights": str(tmp_path / "earlier")}})
    pretrain(later, encoder, tmp_path / "later")
    earlier = load_tensors(tmp_path / "earlier" / "pretrain" / encoder / WEIGHTS)[0]
    assert all(
        torch.equal(tensor, earlier[name]) for name, tensor in load_tensors(tmp_path / "later" / WEIGHTS)[0].items()
    )
    with pytest.raises(WeightsError, match=rf"without pretrain/{encoder}/weights.safetensors"):
        find_weights(tmp_path, encoder)


def test_finetune_asks_for_a_network_of_the_classifiers_width(cache, tmp_path):
    save_tensors(tmp_path / "wide.safetensors", ResidualClassifier(2, 16).state_dict())
    config = configure(
        cache, arms={"fusion": ["off", "finetune"]}, pretrain={"cam16": {"weights": str(tmp_path / "wide.safetensors")}}
    )
    with pytest.raises(WeightsError, match=r"width 16, but model\.width is 8.*WBC_10/finetune.*Set model\.width to 16"):
        check_given(config, "cam16", list_arms(config))
    # For latent vectors any width will do.
    fused = config.model_copy(update={"arms": config.arms.model_copy(update={"fusion": ("off", "sum")})})
    check_given(fused, "cam16", list_arms(fused))


def test_features_that_nobody_learned_are_stored_like_latents_and_need_no_pretraining(cache, tmp_path):
    pytest.importorskip("skimage", reason="needs the extra classical")
    config = configure(cache, controls=["classical"])
    compute_latents(config, HANDCRAFTED, tmp_path / "pretrain" / HANDCRAFTED)
    arrays = prepare(config.data, "wbc")
    stored = open_latents(tmp_path, (HANDCRAFTED,), arrays)[HANDCRAFTED]
    assert stored.shape[0] == len(arrays) and np.isfinite(stored).all()
    # Classes of drawn cells differ in colour and texture: no two of them have the same mean.
    means = np.stack([stored[arrays.labels == label].mean(axis=0) for label in range(5)])
    assert len(np.unique(means.round(6), axis=0)) == 5


def test_latents_of_other_images_are_refused(cache, tmp_path):
    config = configure(cache)
    folder = tmp_path / "pretrain" / "prcc"
    pretrain(config, "prcc", folder)
    compute_latents(config, "prcc", folder)
    other = prepare(configure(cache, data={"synthetic": {"seed": 9}}).data, "wbc")
    with pytest.raises(StudyFailed, match="fingerprint"):
        open_latents(tmp_path, ("prcc",), other)


def test_damaged_latents_are_refused(cache, tmp_path):
    """One flipped bit in a vector: no trial would notice."""
    config = configure(cache)
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
def test_published_weights_serve_as_encoders(cache, tmp_path):
    files = {"prcc": "autoencoder_model_complex.pth", "cam16": "cam16_model.pth"}
    config = configure(cache, pretrain={name: {"weights": str(PUBLISHED / file)} for name, file in files.items()})
    for encoder in files:
        pretrain(config, encoder, tmp_path / encoder)
        compute_latents(config, encoder, tmp_path / encoder)
        assert np.load(tmp_path / encoder / "latents.npy").shape == (100, 256)


def test_weights_of_another_network_are_refused_before_anything_is_written(cache, tmp_path):
    torch.save({"head.weight": torch.zeros(2, 2)}, tmp_path / "other.pth")
    config = configure(cache, pretrain={"cam16": {"weights": str(tmp_path / "other.pth")}})
    with pytest.raises(WeightsError, match=r"other\.pth"):
        pretrain(config, "cam16", tmp_path / "cam16")
    assert not (tmp_path / "cam16" / WEIGHTS).exists()
