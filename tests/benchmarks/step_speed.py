"""What a trial's training step costs beside the bare one, and a fusion arm's epoch beside the same arm without fusion.

The bare step is what no training of this network can do without: forward, loss, backward and optimiser on one batch that lies in
memory already, with the layout and the optimiser that are fastest here. On generated images, whose pixels do not matter.
"""

from __future__ import annotations

import argparse
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch.nn.functional import cross_entropy

from analysis.records.schema import Fusion, Phase
from data_utils.cache import prepare
from models.classifier import ResidualClassifier
from models.optimiser import Adam
from study.config.files import load_config
from study.config.study import StudyConfig
from study.design.arms import Arm
from study.design.trials import TrialSpec
from study.training.batches import ImageBatches
from study.training.device import choose_device
from study.training.run import TrainingRun
from study.training.trial_features import StudyFeatures
from tests.benchmarks.repetition import ratios, timed
from tests.benchmarks.speed_table import Figure, dump_figures, figure_of

_IMAGES = {"train": 100, "validation": 40, "test": 10}


class Trials:
    """Trials of one configuration on generated images."""

    def __init__(self, preset: str, cache: Path, steps: int, **data: Any):
        overrides = [f"data.{name}={value}" for name, value in data.items()]
        overrides += [f"data.synthetic.{name}={value}" for name, value in _IMAGES.items()]
        self.config: StudyConfig = load_config(
            preset,
            ["data.source=synthetic", f"data.cache_dir={cache}", f"training.steps_per_epoch={steps}", *overrides],
        )
        torch.set_num_threads(self.config.resources.cpu)
        self.device = choose_device()
        self.batches = ImageBatches(prepare(self.config.data, "wbc"), self.config.data, self.device)

    def start(self, arm: Arm) -> TrainingRun:
        """A trial of an arm; latent vectors are random ones of the size that the encoders would give."""
        rng = np.random.default_rng(0)
        shape = (len(self.batches.arrays), 8 * self.config.model.width)
        latents = {encoder: rng.normal(size=shape).astype(np.float32) for encoder in arm.encoder_folders.values()}
        spec = TrialSpec(Phase.SEARCH, arm, 0, 0, 1e-3, 1e-4)
        return TrainingRun(self.config, spec, self.batches, StudyFeatures(latents), self.device)

    def bare_steps(self, steps: int) -> Callable[[], float]:
        """Makes seconds of bare steps."""
        network = ResidualClassifier(5, self.config.model.width).to(self.device, memory_format=torch.channels_last)
        optimiser = Adam(network.parameters(), 1e-3, 1e-4)
        size, count = self.config.data.image_size, self.config.training.batch_size
        images = torch.rand(count, 3, size, size).to(self.device, memory_format=torch.channels_last)
        labels = (torch.arange(count) % 5).to(self.device)

        def work() -> None:
            for _ in range(steps):
                loss = cross_entropy(network(images), labels)
                optimiser.zero_grad(set_to_none=True)
                loss.backward()
                optimiser.step()
            _wait(self.device)

        return lambda: timed(work)


def _wait(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize()


def measure_step(id_: str, trials: Trials, steps: int, repetitions: int) -> Figure:
    """A trial's steps beside as many bare ones."""
    run = trials.start(Arm(1.0, Fusion.OFF))

    def ours() -> float:
        return timed(lambda: (run._train_steps(1, 0), _wait(trials.device)))

    config = trials.config
    note = (
        f"{steps} steps of {config.training.batch_size} images at {config.data.image_size} px and width {config.model.width}, "
        f"{config.resources.cpu} thread, {trials.device}"
    )
    return figure_of(id_, list(ratios(ours, trials.bare_steps(steps), repetitions)), note=note)


def measure_fusion(trials: Trials, repetitions: int) -> Figure:
    """An epoch with validation of `sum` with both encoders beside one of `off`."""
    off, fused = trials.start(Arm(1.0, Fusion.OFF)), trials.start(Arm(1.0, Fusion.SUM, ("prcc", "cam16")))

    def epoch(run: TrainingRun) -> float:
        run.reports.clear()  # the same epoch again
        return timed(lambda: (run.train_epoch(), _wait(trials.device)))

    note = (
        f"epochs of {trials.config.training.steps_per_epoch} steps in the preset quick, where the network costs least"
    )
    return figure_of("fusion", list(ratios(lambda: epoch(fused), lambda: epoch(off), repetitions)), note=note)


def main() -> None:
    """Measure, and print the figures as one line of JSON."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true")
    quick = parser.parse_args().quick
    with tempfile.TemporaryDirectory() as scratch:
        # Many short pairs: what else happens on the machine then falls into few of them.
        steps, repetitions = 6, 15 if quick else 60
        small = Trials("quick", Path(scratch), steps)
        figures = [measure_step("step_quick", small, steps, repetitions), measure_fusion(small, repetitions)]
        steps, repetitions = 2, 9 if quick else 120
        full = Trials("local", Path(scratch), steps, **{"synthetic.size": 128})
        figures.append(measure_step("step", full, steps, repetitions))
    print(dump_figures(figures))


if __name__ == "__main__":
    main()
