"""Class probabilities of batches of image files, computed while the next files are decoded."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from functools import partial
from typing import TYPE_CHECKING

import torch

from data_utils.prefetch import work_ahead

if TYPE_CHECKING:
    from torch import Tensor

    from study.inference.confirmed_models import ConfirmedModels
    from study.inference.image_files import FileBatch


def score_batches(
    models: ConfirmedModels, batches: Iterable[FileBatch], device: torch.device, *, one_by_one: bool = False
) -> Iterator[tuple[FileBatch, Tensor]]:
    """Score batches in their order.

    On a CPU as many batches are scored at once as torch has threads, each in one thread: a pass that is spread over all cores
    waits at every layer for the core that is decoding a file. Trials with one thread were scored in the same way.

    Args:
        models: Models on the device.
        batches: Batches of images on the device.
        device: Device of the models and the batches.
        one_by_one: Whether the models rest while the caller has a batch, so that it may use them itself.

    Yields:
        Every batch with its probabilities of M models, float32 (M, B, C) on the CPU.
    """
    score = partial(_score, models)
    if device.type != "cpu" or one_by_one:
        yield from ((batch, score(batch)) for batch in batches)
        return
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield from work_ahead(score, batches, threads)
    finally:
        torch.set_num_threads(threads)


@torch.no_grad()
def _score(models: ConfirmedModels, batch: FileBatch) -> Tensor:
    torch.get_num_threads()  # a thread takes over how many it may use when it first asks
    probabilities: Tensor = models(batch.images)
    return probabilities.cpu()
