"""The same trials as Ray's guides would have a user write them.

    python -m tests.benchmarks.peer WORK.json

After "How to use Tune with PyTorch" and the guides to `OptunaSearch` and `ASHAScheduler`: a function trainable that makes its
data loaders, network and optimiser, trains, validates, and reports each epoch with a checkpoint; torchvision transforms on image
files, decoded whenever they are needed by the worker processes of a `DataLoader`; the frozen encoders inside the training step;
for each arm a search, a scheduler and a Tuner of its own, one after the other, as one Tuner has one search space.

What it shares with ours is in `compared_work`: files, subsets, network, points, epochs, gradient steps, batch size, sizes of
crops and of validation images; and one thread for each of as many trials at a time as there are cores. It takes the networks and
the fusion from `models`. It may leave out what ours does besides: statistics of the features, records, report, any output. Ray
runs its processes at the same niceness as ours.
"""

from __future__ import annotations

import os
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path

import pandas as pd
import torch
from PIL import Image
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset, RandomSampler
from torchvision import transforms

from models.checkpoints import load_published
from models.classifier import ResidualClassifier
from models.encoders import Encoder
from models.fusion import FusedClassifier
from tests.benchmarks.compared_work import FRACTIONS, FUSIONS, LOADER_WORKERS, TRIALS, Work

CLASSES = ("Basophil", "Eosinophil", "Lymphocyte", "Monocyte", "Neutrophil")


class CellImages(Dataset[tuple[Tensor, int]]):
    """Image files in folders named after their class, as torchvision's `ImageFolder`, for a list of files."""

    def __init__(self, folder: str, paths: Sequence[str], transform: transforms.Compose):
        self.files = [Path(folder) / path for path in paths]
        self.transform = transform

    def __len__(self) -> int:
        return len(self.files)

    def __getitem__(self, i: int) -> tuple[Tensor, int]:
        with Image.open(self.files[i]) as image:
            return self.transform(image.convert("RGB")), CLASSES.index(self.files[i].parent.name)


def training_loader(work: Work, paths: Sequence[str]) -> DataLoader[tuple[Tensor, Tensor]]:
    """Batches of random crops; as many as an epoch has gradient steps, the subset repeated where it is smaller."""
    transform = transforms.Compose(
        [
            transforms.RandomResizedCrop(work.image_size, scale=work.crop_scale),
            transforms.RandomHorizontalFlip(work.flip),
            transforms.ToTensor(),
        ]
    )
    images = CellImages(work.images, paths, transform)
    sampler = RandomSampler(images, num_samples=work.steps_per_epoch * work.batch_size)
    return DataLoader(images, batch_size=work.batch_size, sampler=sampler, num_workers=LOADER_WORKERS)


def validation_loader(work: Work) -> DataLoader[tuple[Tensor, Tensor]]:
    """Batches of whole images."""
    transform = transforms.Compose([transforms.Resize((work.image_size, work.image_size)), transforms.ToTensor()])
    images = CellImages(work.images, work.subsets["val"], transform)
    return DataLoader(images, batch_size=128, num_workers=LOADER_WORKERS)


def load_encoders(work: Work, fusion: str) -> nn.ModuleDict:
    """The frozen encoders of an arm."""
    if fusion == "off":
        return nn.ModuleDict()
    return nn.ModuleDict(
        {
            "prcc": Encoder.from_autoencoder(load_published(work.weights["prcc"], "autoencoder")),
            "cam16": Encoder.from_classifier(load_published(work.weights["cam16"], "classifier")),
        }
    )


def train_epochs(
    work: Work, fraction: float, fusion: str, lr: float, weight_decay: float
) -> Iterator[dict[str, object]]:
    """One trial; yields after each epoch its validation accuracy, network and optimiser."""
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    encoders = load_encoders(work, fusion).to(device)
    sizes = {name: encoder.latent_size for name, encoder in encoders.items()}
    network = FusedClassifier(ResidualClassifier(len(CLASSES), work.width), sizes).to(device)
    criterion = nn.CrossEntropyLoss()
    optimizer = torch.optim.Adam(network.parameters(), lr=lr, weight_decay=weight_decay)
    trainloader, valloader = training_loader(work, work.subsets[str(fraction)]), validation_loader(work)
    for _ in range(work.epochs):
        network.train()
        running_loss = 0.0
        for batch in trainloader:
            inputs, labels = (part.to(device) for part in batch)
            optimizer.zero_grad()
            outputs = network(inputs, {name: encoder(inputs) for name, encoder in encoders.items()})
            loss = criterion(outputs, labels)
            loss.backward()
            optimizer.step()
            running_loss += loss.item()
        network.eval()
        correct = total = 0
        val_loss = 0.0
        with torch.no_grad():
            for batch in valloader:
                inputs, labels = (part.to(device) for part in batch)
                outputs = network(inputs, {name: encoder(inputs) for name, encoder in encoders.items()})
                val_loss += criterion(outputs, labels).item()
                correct += (outputs.argmax(dim=1) == labels).sum().item()
                total += len(labels)
        yield {"accuracy": correct / total, "loss": val_loss, "network": network, "optimizer": optimizer}


def train_cells(config: dict[str, float], work: Work, fraction: float, fusion: str) -> None:
    """The function trainable."""
    from ray import tune

    began = time.perf_counter()
    for epoch in train_epochs(work, fraction, fusion, config["lr"], config["weight_decay"]):
        trained = time.perf_counter() - began
        with tempfile.TemporaryDirectory() as folder:
            network, optimizer = epoch["network"], epoch["optimizer"]
            torch.save((network.state_dict(), optimizer.state_dict()), Path(folder) / "checkpoint.pt")  # type: ignore[attr-defined]  # as in the guide
            tune.report(
                {"accuracy": epoch["accuracy"], "loss": epoch["loss"], "trained": trained, "ended": time.time()},
                checkpoint=tune.Checkpoint.from_directory(folder),
            )
        began = time.perf_counter()


def tune_arm(
    work: Work, fraction: float, fusion: str, storage: str, trials: int = TRIALS, at_once: int | None = None
) -> list[pd.DataFrame]:
    """One arm: its own search, scheduler and Tuner. Returns one frame a trial, one row an epoch."""
    from ray import tune
    from ray.tune.schedulers import ASHAScheduler
    from ray.tune.search.optuna import OptunaSearch

    tuner = tune.Tuner(
        tune.with_resources(partial(train_cells, work=work, fraction=fraction, fusion=fusion), {"cpu": 1}),
        param_space={"lr": tune.loguniform(1e-4, 1e-1), "weight_decay": tune.loguniform(1e-7, 1e-1)},
        tune_config=tune.TuneConfig(
            metric="accuracy",
            mode="max",
            search_alg=OptunaSearch(
                points_to_evaluate=[{"lr": lr, "weight_decay": decay} for lr, decay in work.points]
            ),
            # No rung before the last epoch, as in ours: both train every trial to its end.
            scheduler=ASHAScheduler(max_t=work.epochs, grace_period=work.epochs, reduction_factor=2),
            num_samples=trials,
            max_concurrent_trials=at_once,
        ),
        run_config=tune.RunConfig(storage_path=storage, verbose=0),
    )
    results = tuner.fit()
    if results.errors:
        raise SystemExit(str(results.errors))
    return [result.metrics_dataframe for result in results]


def start_ray() -> None:
    """Ray on this machine, its processes at the niceness of this one, as ours are."""
    import ray

    os.environ["RAY_worker_niceness"] = "0"  # noqa: SIM112 - Ray's own spelling
    ray.init(log_to_driver=False)


def main(work: Work) -> None:
    """Every arm after the other; prints what they trained."""
    import ray

    start_ray()
    with tempfile.TemporaryDirectory() as storage:
        for fraction in FRACTIONS:
            for fusion in FUSIONS:
                frames = tune_arm(work, fraction, fusion, storage)
                epochs, trained = sum(map(len, frames)), sum(frame["trained"].sum() for frame in frames)
                print(f"WBC_{100 * fraction:g}/{fusion}: {epochs} epochs, {trained:.2f} s of training", flush=True)
    ray.shutdown()


if __name__ == "__main__":
    main(Work.load(sys.argv[1]))
