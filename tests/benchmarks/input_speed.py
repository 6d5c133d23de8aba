"""Our input path beside the peer's: image files on one side, batches to train on at the other, no model between.

Two workers on each side. Ours are two trials' processes, each of which slices and augments its own batches; the peer's are the
workers of one `DataLoader`. The images are JPEGs of 360 px: real cells where they are, generated ones elsewhere.
"""

from __future__ import annotations

import argparse
import multiprocessing
import tempfile
import time
from multiprocessing.connection import Connection
from pathlib import Path

import numpy as np
import torch
from PIL import Image

from data_utils.cache import prepare
from models.initialisation import stream
from study.config.files import load_config
from study.config.study import StudyConfig
from study.training.batches import ImageBatches
from tests.benchmarks.compared_work import FRACTIONS, LOADER_WORKERS, REAL_CELLS, Work
from tests.benchmarks.repetition import ratios
from tests.benchmarks.speed_table import Figure, dump_figures, figure_of

SIDE = 360
CLASSES = ("Basophil", "Eosinophil", "Lymphocyte", "Monocyte", "Neutrophil")


def write_cells(root: Path, count: int) -> Path:
    """JPEG files of 360 px that decode as photographs do: smooth colours with grain. Every image differs."""
    for split, number in (("train", count), ("val", len(CLASSES))):
        for i in range(number):
            rng = np.random.default_rng([i, len(split)])
            coarse = Image.fromarray(rng.integers(90, 256, (12, 12, 3), dtype=np.uint8))
            smooth = np.asarray(coarse.resize((SIDE, SIDE), Image.Resampling.BICUBIC), dtype=np.int16)
            grain = rng.integers(-6, 7, (SIDE, SIDE, 1), dtype=np.int16)
            folder = root / "wbc" / split / "data" / CLASSES[i % len(CLASSES)]
            folder.mkdir(parents=True, exist_ok=True)
            pixels = np.clip(smooth + grain, 0, 255).astype(np.uint8)
            Image.fromarray(pixels).save(folder / f"{i:05}.jpg", quality=90)
    return root


def _make_batches(settings: str, batches: int, pipe: Connection) -> None:
    """A trial's process: makes so many batches whenever it is told to, in one thread."""
    torch.set_num_threads(1)
    config = StudyConfig.model_validate_json(settings)
    arrays = prepare(config.data, "wbc")
    images = ImageBatches(arrays, config.data, torch.device("cpu"))
    rows = np.resize(arrays.indices("train"), (batches, config.training.batch_size))
    pipe.send("ready")
    while pipe.recv():
        generator = stream(0, "crops")
        for batch in rows:
            images.crops(batch, generator)
        pipe.send("done")


class OurWorkers:
    """Processes that make batches at the same time."""

    def __init__(self, config: StudyConfig, batches: int):
        context = multiprocessing.get_context("spawn")
        self._batches, self._pipes, self._processes = batches, [], []
        for _ in range(LOADER_WORKERS):
            pipe, other = context.Pipe()
            process = context.Process(target=_make_batches, args=(config.model_dump_json(), batches, other))
            process.start()
            pipe.recv()
            self._pipes.append(pipe)
            self._processes.append(process)

    def rate(self) -> float:
        """Batches per second of all of them."""
        began = time.perf_counter()
        for pipe in self._pipes:
            pipe.send(True)
        for pipe in self._pipes:
            pipe.recv()
        return len(self._pipes) * self._batches / (time.perf_counter() - began)

    def close(self) -> None:
        """End the processes."""
        for pipe, process in zip(self._pipes, self._processes, strict=True):
            pipe.send(False)
            process.join()


def peer_rate(work: Work) -> float:
    """Batches per second of the peer's loader over one epoch, from its first batch on: its workers have started by then."""
    from tests.benchmarks.peer import training_loader

    batches = iter(training_loader(work, work.subsets["1.0"]))
    next(batches)
    began = time.perf_counter()
    return sum(1 for _ in batches) / (time.perf_counter() - began)


def measure(quick: bool, scratch: Path) -> Figure:
    """Compare the two."""
    real = (REAL_CELLS / "wbc").is_dir()
    root = REAL_CELLS.resolve() if real else write_cells(scratch / "cells", 400)
    config = load_config("local", [f"data.root={root}", f"data.cache_dir={scratch / 'cache'}", "data.test=none"])
    arrays = prepare(config.data, "wbc")
    batches, repetitions = (40, 3) if quick else (100, 7)
    work = Work(
        images=str(root / "wbc"),
        subsets={str(FRACTIONS[-1]): arrays.paths[arrays.indices("train")].tolist()},
        weights={},
        points=[],
        width=config.model.width,
        image_size=config.data.image_size,
        batch_size=config.training.batch_size,
        epochs=1,
        steps_per_epoch=batches,
        crop_scale=config.data.crop_scale,
        flip=config.data.flip,
    )
    workers = OurWorkers(config, batches)
    try:
        found = list(ratios(workers.rate, lambda: peer_rate(work), repetitions))
    finally:
        workers.close()
    note = (
        f"{'real' if real else 'generated'} JPEGs of 360 px; batches of {work.batch_size}; ours stored once at "
        f"{config.data.stored_size} px, as in the preset local"
    )
    return figure_of("input", found, note=note)


def main() -> None:
    """Measure, and print the figure as one line of JSON."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true")
    quick = parser.parse_args().quick
    with tempfile.TemporaryDirectory() as scratch:
        print(dump_figures([measure(quick, Path(scratch))]))


if __name__ == "__main__":
    main()
