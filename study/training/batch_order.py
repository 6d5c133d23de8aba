"""Which images a trial trains on in which gradient step."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from study.training.class_balance import balanced_order, natural_order

if TYPE_CHECKING:
    from study.config.training import TrainingConfig
    from study.training.trial_streams import Streams


class BatchOrder:
    """Batches of a labelled subset: consecutive pieces of an endless row of shuffled passes over it.

    Attributes:
        rows: int64 (N,), positions of the subset's images in the arrays.
    """

    def __init__(
        self, rows: NDArray[np.int64], labels: NDArray[np.int64], training: TrainingConfig, streams: Streams
    ) -> None:
        """Keep what is needed; nothing is drawn yet.

        Args:
            rows: int64 (N,), positions of the subset's images in the arrays.
            labels: int64 (N,), their labels.
            training: Batch size, steps in an epoch and sampling.
            streams: The trial's random streams.
        """
        self.rows = rows
        self._labels, self._streams = labels, streams
        self._size, self._steps = training.batch_size, training.steps_per_epoch
        self._draw = balanced_order if training.sampling == "balanced" else natural_order

    def batches(self, epoch: int) -> list[NDArray[np.int64]]:
        """Positions in the arrays of the images of each gradient step of an epoch, int64 (B,) each.

        Args:
            epoch: Number of the epoch, from 1.
        """
        if self._steps is None:
            return self._cut(self._pass(epoch - 1))
        first, last = (epoch - 1) * self._steps * self._size, epoch * self._steps * self._size
        count = len(self.rows)
        passes = [self._pass(number) for number in range(first // count, (last - 1) // count + 1)]
        return self._cut(np.concatenate(passes)[first % count :][: last - first])

    def _cut(self, rows: NDArray[np.int64]) -> list[NDArray[np.int64]]:
        return [rows[start : start + self._size] for start in range(0, len(rows), self._size)]

    def _pass(self, number: int) -> NDArray[np.int64]:
        """Shuffled rows of one pass. Every pass has a stream of its own, so that training can continue at any of them."""
        shuffled: NDArray[np.int64] = self.rows[self._draw(self._labels, self._streams("order", number))]
        return shuffled
