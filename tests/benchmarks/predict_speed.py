"""Images per second of `wbc-study predict` against the bare forward pass of the same models on tensors in memory.

    python -m tests.benchmarks.predict_speed RUN IMAGES [ARM]

Both are measured alternately, several times; what is compared is the time for all images, decoding included. The bare forward
pass takes the faster of two ways: all cores together on one batch after the other, or one batch on every core, as predict does.
"""

from __future__ import annotations

import sys
import time
from pathlib import Path

import numpy as np

from analysis import load_study
from study.config.files import check_config
from study.inference.confirmed_models import choose_arm, load_confirmed
from study.inference.image_files import FileBatches, find_images
from study.inference.prediction import predict
from study.inference.probabilities import score_batches
from study.storage.run_directory import RunDirectory
from study.training.device import choose_device

REPEATS = 5
IMAGES = 400


def main(run: str, images: str, arm: str | None = None) -> None:
    """Print the two speeds and their ratio, the median of the repeats."""
    directory = RunDirectory(Path(run))
    study = load_study(run)
    arm = choose_arm(study, arm)
    config = check_config(study.config, run)
    found = find_images([images])
    # Spread over all classes, whatever they are sorted by.
    paths = found[:: max(1, len(found) // IMAGES)][:IMAGES]
    device = choose_device()
    for seed in (None, int(study.confirmed.loc[study.confirmed["arm"] == arm, "seed"].iloc[0])):
        runs = study.confirmed[(study.confirmed["arm"] == arm) & (seed is None or study.confirmed["seed"] == seed)]
        models = load_confirmed(directory, config, runs, study.classes).to(device)
        batches = list(FileBatches(paths, config.data, device))
        together, apart, whole = [], [], []
        for _ in range(REPEATS):
            for seconds, one_by_one in ((together, True), (apart, False)):
                began = time.perf_counter()
                for _ in score_batches(models, batches, device, one_by_one=one_by_one):
                    pass
                seconds.append(time.perf_counter() - began)
            whole.append(predict(directory, paths, arm=arm, seed=seed).seconds)
        bare = min(together, apart, key=np.median)
        ratio = np.median(np.array(whole) / np.array(bare))
        print(
            f"{arm}, {len(runs)} model{'s' if len(runs) > 1 else ''}, {len(paths)} images, {device}: predict"
            f" {len(paths) / np.median(whole):,.0f} images/s, bare forward pass {len(paths) / np.median(bare):,.0f} images/s,"
            f" ({'all cores on one batch' if bare is together else 'a batch on every core'}), ratio of their times {ratio:.2f}"
        )


if __name__ == "__main__":
    main(*sys.argv[1:])
