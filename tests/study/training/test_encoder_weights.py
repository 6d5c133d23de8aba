"""Weights that exist already: those of an earlier study, of a file, or drawn as a control."""

import pytest
import torch

from models.checkpoints import load_tensors, save_tensors
from models.classifier import ResidualClassifier
from models.errors import WeightsError
from study.design.arms import list_arms
from study.storage.run_directory import WEIGHTS
from study.training.encoder_weights import check_given, find_weights
from study.training.pretraining import pretrain


@pytest.mark.parametrize("encoder", ["prcc", "cam16"])
def test_an_earlier_study_gives_its_encoder(configure, tmp_path, encoder):
    pretrain(configure(), encoder, tmp_path / "earlier" / "pretrain" / encoder)
    later = configure(pretrain={encoder: {"weights": str(tmp_path / "earlier")}})
    pretrain(later, encoder, tmp_path / "later")
    earlier = load_tensors(tmp_path / "earlier" / "pretrain" / encoder / WEIGHTS)[0]
    assert all(
        torch.equal(tensor, earlier[name]) for name, tensor in load_tensors(tmp_path / "later" / WEIGHTS)[0].items()
    )
    with pytest.raises(WeightsError, match=rf"without pretrain/{encoder}/weights.safetensors"):
        find_weights(tmp_path, encoder)


def test_finetune_asks_for_a_network_of_the_classifiers_width(configure, tmp_path):
    save_tensors(tmp_path / "wide.safetensors", ResidualClassifier(2, 16).state_dict())
    config = configure(
        arms={"fusion": ["off", "finetune"]}, pretrain={"cam16": {"weights": str(tmp_path / "wide.safetensors")}}
    )
    with pytest.raises(WeightsError, match=r"width 16, but model\.width is 8.*WBC_10/finetune.*Set model\.width to 16"):
        check_given(config, "cam16", list_arms(config))
    # For latent vectors any width will do.
    fused = config.model_copy(update={"arms": config.arms.model_copy(update={"fusion": ("off", "sum")})})
    check_given(fused, "cam16", list_arms(fused))


def test_weights_of_another_network_are_refused_before_anything_is_written(configure, tmp_path):
    torch.save({"head.weight": torch.zeros(2, 2)}, tmp_path / "other.pth")
    config = configure(pretrain={"cam16": {"weights": str(tmp_path / "other.pth")}})
    with pytest.raises(WeightsError, match=r"other\.pth"):
        pretrain(config, "cam16", tmp_path / "cam16")
    assert not (tmp_path / "cam16" / WEIGHTS).exists()
