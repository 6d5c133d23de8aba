"""Batches that are scored at once have the probabilities of batches that are scored one by one."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pytest
import torch
from PIL import Image

from data_utils.config import DataConfig
from models.initialisation import stream
from study.config.study import StudyConfig
from study.design.arms import Arm
from study.inference.confirmed_models import ConfirmedModel, ConfirmedModels
from study.inference.image_files import FileBatch, FileBatches
from study.inference.probabilities import score_batches
from study.training.networks import build_network

CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def models() -> ConfirmedModels:
    config = StudyConfig.model_validate({"model": {"width": 8}})
    arms = [Arm(1.0, "off"), Arm(1.0, "off", classifier="shufflenet_v2_x0_5")]
    networks = [build_network(config, arm, 5, {}, lambda purpose: stream(3, purpose)) for arm in arms]
    made = [
        ConfirmedModel(str(i), arm, 1, network) for i, (arm, network) in enumerate(zip(arms, networks, strict=True))
    ]
    return ConfirmedModels(made, {}, "ABCDE")


@pytest.fixture(scope="module")
def batches(tmp_path_factory: pytest.TempPathFactory) -> FileBatches:
    """Of 80 files and one that cannot be read."""
    folder, rng = tmp_path_factory.mktemp("images"), np.random.default_rng(0)
    for i in range(80):
        Image.fromarray(rng.integers(0, 256, (40, 40, 3), dtype=np.uint8)).save(folder / f"{i:02}.png")
    (folder / "99.png").write_text("no image")
    return FileBatches(sorted(folder.iterdir()), DataConfig(image_size=32), CPU)


def test_they_come_in_order_and_are_those_of_one_thread(models: ConfirmedModels, batches: FileBatches) -> None:
    before = torch.get_num_threads()
    found = list(score_batches(models, batches, CPU))
    assert torch.get_num_threads() == before
    assert [position for batch, _ in found for position in batch.positions] == list(range(80))
    torch.set_num_threads(1)
    try:
        one_by_one = list(score_batches(models, batches, CPU, one_by_one=True))
    finally:
        torch.set_num_threads(before)
    assert [scored.shape for _, scored in found] == [(2, 32, 5), (2, 32, 5), (2, 16, 5)]
    for (_, scored), (_, expected) in zip(found, one_by_one, strict=True):
        assert torch.equal(scored, expected)
        assert not scored.requires_grad


def test_an_error_ends_it_and_the_threads_are_given_back(models: ConfirmedModels, batches: FileBatches) -> None:
    before = torch.get_num_threads()

    def failing() -> Iterator[FileBatch]:
        yield from batches
        raise OSError("the disk is gone")

    with pytest.raises(OSError, match="the disk is gone"):
        list(score_batches(models, failing(), CPU))
    assert torch.get_num_threads() == before
