"""Trials that train nothing, to measure what is around them. As `study.execution.trainable`, without torch and images."""

from __future__ import annotations

import os
import time
import zlib
from typing import Any

from ray import tune

from study.design.trials import EpochReport
from study.execution.trainable import REPORT

SECONDS = "WBC_STUDY_BENCHMARK_WAIT"
"""Environment variable with the seconds that an epoch waits."""


class WaitingTrainable(tune.Trainable):
    """Waits, and reports an epoch whose accuracy follows from the trial alone."""

    def setup(self, config: dict[str, Any], settings: str, location: str, fingerprint: str) -> None:
        """Begin with the first trial."""
        self.reset_config(config)

    def reset_config(self, new_config: dict[str, Any]) -> bool:
        """Begin with another trial."""
        self._epoch, self._correct = 0, zlib.crc32(new_config["trial"].encode()) % 100
        return True

    def step(self) -> dict[str, Any]:
        """One epoch."""
        began = time.perf_counter()
        time.sleep(float(os.environ.get(SECONDS, "0")))
        self._epoch += 1
        confusion = (self._correct, 100 - self._correct, *[0] * 23)
        report = EpochReport(
            epoch=self._epoch,
            steps=self._epoch,
            learning_rate=1e-3,
            train_loss=0.5,
            train_accuracy=0.5,
            val_loss=0.5,
            confusion=confusion,
            train_images=100,
            parameters=os.getpid(),  # the only number that is free: which process it was
            seconds=time.perf_counter() - began,
        )
        return {REPORT: [report]}
