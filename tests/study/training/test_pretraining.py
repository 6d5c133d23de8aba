"""Encoders are trained, and trained on after an interruption."""

import pytest
import torch

from analysis.records.schema import CURVE_COLUMNS
from analysis.records.segments import read_parquet
from models.checkpoints import load_tensors
from study.storage.run_directory import WEIGHTS
from study.training.encoder_weights import load_encoder
from study.training.pretraining import pretrain
from study.training.pretraining_tasks import RECONSTRUCTIONS


@pytest.mark.parametrize(("encoder", "weight"), [("prcc", 0), ("cam16", 0), ("cam16", 0.5)])
def test_interrupted_pretraining_equals_uninterrupted(configure, tmp_path, encoder, weight):
    config = configure(pretrain={encoder: {"epochs": 3, "segmentation_weight": weight}})
    pretrain(config, encoder, tmp_path / "calm")
    published = []

    def interrupt(file):
        published.append(file.name)
        if file.name == "checkpoint.safetensors":
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        pretrain(config, encoder, tmp_path / "again", interrupt)
    assert published == ["curve.parquet", "checkpoint.safetensors"]
    pretrain(config, encoder, tmp_path / "again")
    calm, again = (load_tensors(tmp_path / name / WEIGHTS)[0] for name in ("calm", "again"))
    assert all(torch.equal(calm[name], again[name]) for name in calm)
    assert not list((tmp_path / "again").glob("checkpoint*"))


@pytest.mark.parametrize("encoder", ["prcc", "cam16"])
def test_pretraining_learns_and_leaves_its_curve(configure, tmp_path, encoder):
    pretrain(configure(pretrain={encoder: {"epochs": 4}}), encoder, tmp_path)
    curve = read_parquet(tmp_path / "curve.parquet", CURVE_COLUMNS)
    assert curve["epoch"].tolist() == [1, 2, 3, 4]
    assert curve["train_loss"].iloc[-1] < curve["train_loss"].iloc[0]
    assert curve["val_accuracy"].isna().all() == (encoder == "prcc")
    assert (tmp_path / RECONSTRUCTIONS).is_file() == (encoder == "prcc")


def test_cam16_learns_from_masks_when_asked_and_its_weights_are_those_of_the_same_network(configure, tmp_path):
    more = {"synthetic": {"cam16_train": 40}}
    for name, weight in (("without", 0), ("with", 1.0)):
        config = configure(data=more, pretrain={"cam16": {"segmentation_weight": weight}})
        pretrain(config, "cam16", tmp_path / name)
    without, learnt = (load_tensors(tmp_path / name / WEIGHTS)[0] for name in ("without", "with"))
    assert list(without) == list(learnt)
    assert not torch.equal(without["conv1.weight"], learnt["conv1.weight"])
    load_encoder(tmp_path / "with", "cam16")


def test_finished_pretraining_is_not_repeated(configure, tmp_path):
    config = configure()
    pretrain(config, "cam16", tmp_path)
    before = (tmp_path / WEIGHTS).stat().st_mtime_ns
    pretrain(config, "cam16", tmp_path)
    assert (tmp_path / WEIGHTS).stat().st_mtime_ns == before
