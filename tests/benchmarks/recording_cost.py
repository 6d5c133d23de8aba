"""What checkpoints and records cost, beside the training that they secure.

Trains one trial of the preset `local` (or another) on generated images, in this process, and after each epoch does what a
study does: the worker saves its checkpoint, the driver records the epoch durably and tells Optuna's journal. Prints the ratio.

    python -m tests.benchmarks.recording_cost [PRESET_OR_YAML] [key=value ...]
"""

from __future__ import annotations

import statistics
import sys
import tempfile
import time
from pathlib import Path

import torch

from analysis.records.schema import TABLES, Fusion, Phase
from analysis.records.segments import read_segments
from data_utils.cache import prepare
from study.config.files import load_config
from study.design.arms import Arm
from study.design.points import Point
from study.execution.trainable import CHECKPOINT
from study.search.optuna_mirror import OptunaMirror, search_space
from study.search.plans import ArmPlan
from study.search.queue import TrialQueue
from study.search.searchers import FixedSearcher
from study.storage.records import RecordWriter
from study.training.batches import ImageBatches
from study.training.device import choose_device
from study.training.run import TrainingRun
from study.training.trial_features import StudyFeatures


def main(arguments: list[str]) -> None:
    """Measure and print."""
    preset, *overrides = arguments or ["local"]
    config = load_config(preset, ["data.source=synthetic", "training.epochs=5", *overrides])
    torch.set_num_threads(config.resources.cpu)
    with tempfile.TemporaryDirectory(dir=".") as scratch:
        arm = Arm(0.1, Fusion.OFF)
        plan = ArmPlan(Phase.SEARCH, arm, FixedSearcher([Point(1e-3, 1e-4)]), [1], config.training.epochs, 1)
        records = Path(scratch) / "records"
        mirror = OptunaMirror(
            "journal",
            Path(scratch),
            study="cost",
            owner="cost",
            space=search_space(config.search),
            metric=config.search.metric,
            warn=print,
        )
        queue = TrialQueue([plan], RecordWriter(records), metric=config.search.metric, mirror=mirror)
        mirror.rebuild([arm.name], *(read_segments(records / name, TABLES[name]) for name in ("trials", "epochs")))
        handed_out = queue.hand_out()
        assert handed_out is not None
        device = choose_device()
        run = TrainingRun(
            config,
            handed_out[0],
            ImageBatches(prepare(config.data, "wbc"), config.data, device),
            StudyFeatures(),
            device,
        )
        checkpoint = Path(scratch) / "checkpoints" / CHECKPOINT
        costs = []
        while not run.done:
            began = time.perf_counter()
            report = run.train_epoch()
            trained = time.perf_counter()
            run.save(checkpoint)
            saved = time.perf_counter()
            queue.report(run.spec.trial_id, report)
            recorded = time.perf_counter()
            costs.append((trained - began, saved - trained, recorded - saved))
            print(
                f"epoch {report.epoch}: training {costs[-1][0]:.2f} s, checkpoint {costs[-1][1] * 1e3:.1f} ms, "
                f"record {costs[-1][2] * 1e3:.1f} ms"
            )
        size = checkpoint.stat().st_size / 1e6
    training, saving, recording = (statistics.median(column) for column in zip(*costs, strict=True))
    print(
        f"{preset}: checkpoint ({size:.1f} MB) and record take {(saving + recording) / training:.2%} of an epoch "
        f"(median of {len(costs)}; goal at most 3 %)"
    )


if __name__ == "__main__":
    main(sys.argv[1:])
