"""Studies whose truth is known: predictions drawn from a model of images, seeds and arms.

Every image has a difficulty that all runs share, every arm finds some images easier than another arm does, and every run
predicts a little by chance. Seeds shift all classes together and each class by itself, some of it alike in all arms. An
image is predicted right when the sum is positive; else it gets the class that this image is easily taken for. Sums of
normal draws have closed-form recalls, so the expected metrics of the population (other seeds, infinitely many images of
the same class shares) are known.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import brentq
from scipy.special import ndtr, ndtri

from analysis.metrics import confusion_metrics
from analysis.records.schema import arm_name
from analysis.statistics.predictions import ArmPredictions, Predictions

Floats = NDArray[np.float64]
Integers = NDArray[np.int64]

CLASSES = ("Basophil", "Eosinophil", "Lymphocyte", "Monocyte", "Neutrophil")
NINE_BASOPHILS = (9, 31, 103, 24, 265)
"""Images of each class in a small test split: a fifth of the small real data set."""
COURSEWORK_VALIDATION = (36, 126, 412, 95, 1059)
"""Images of each class in the published study's validation split, 1,728 in all."""
FRACTIONS = (0.01, 0.1, 0.5, 1.0)

CONFUSED_WITH = np.array(
    [
        [0.00, 0.20, 0.20, 0.20, 0.40],
        [0.02, 0.00, 0.08, 0.10, 0.80],
        [0.02, 0.08, 0.00, 0.50, 0.40],
        [0.02, 0.10, 0.50, 0.00, 0.38],
        [0.01, 0.60, 0.20, 0.19, 0.00],
    ]
)
"""(C, C), share of each other class among the wrong predictions for the images of a class."""


@dataclass(frozen=True)
class Truth:
    """What varies, as standard deviations on the scale of the latent sum."""

    images: tuple[int, ...] = NINE_BASOPHILS
    """Test images of each class."""
    recall: tuple[float, ...] = (0.85, 0.70, 0.93, 0.55, 0.96)
    """Expected recall of each class in arms without an effect."""
    image: float = 1.0
    """Difficulty of an image, the same for all runs."""
    arm_image: float = 0.3
    """What one arm finds easier about an image than another, under all seeds."""
    chance: float = 0.5
    """What one run of one arm makes of one image."""
    seed: float = 0.2
    """A seed is better at all classes, in all arms."""
    seed_class: float = 0.2
    """A seed is better at one class, in all arms: class-wise recall shifts."""
    arm_seed: float = 0.1
    """A seed is better in one arm; once for all classes and once for each class."""
    seeds: int = 5
    patients: int = 0
    """Number of people whom the test images are of; 0 when every image is somebody else's."""
    uneven: float = 0.5
    """Standard deviation of the logarithm of a patient's share of the images of each class."""
    patient: float = 0.0
    """Images of a patient are alike in difficulty; once for all classes and once for each class."""
    arm_patient: float = 0.0
    """What one arm finds easier about a patient than another, under all seeds."""
    chance_patient: float = 0.0
    """What one run of one arm makes of one patient."""

    @property
    def image_spread(self) -> float:
        """Standard deviation of all that belongs to an image, of one run."""
        parts = (self.image, self.arm_image, self.chance)
        parts += (self.patient, self.patient, self.arm_patient, self.chance_patient)
        return float(np.sqrt(np.square(parts).sum()))

    @property
    def spread(self) -> float:
        """Standard deviation of the whole sum."""
        parts = (self.image_spread, self.seed, self.seed_class, self.arm_seed, self.arm_seed)
        return float(np.sqrt(np.square(parts).sum()))

    @property
    def levels(self) -> Floats:
        """(C,): latent mean of each class that gives the expected recall."""
        return np.asarray(ndtri(self.recall)) * self.spread


def expected_metrics(truth: Truth, effect: float = 0.0, draws: int = 200_000) -> dict[str, float]:
    """Accuracy, macro F1 and weighted F1 expected over seeds, on infinitely many images of the same class shares.

    Args:
        truth: What varies.
        effect: Added to the latent sum of every image.
        draws: Seeds over which the expectation is taken.
    """
    rng = np.random.default_rng(7)
    shift = rng.standard_normal((draws, 1)) * np.hypot(truth.seed, truth.arm_seed)
    shift = shift + rng.standard_normal((draws, len(CLASSES))) * np.hypot(truth.seed_class, truth.arm_seed)
    recall = ndtr((truth.levels + effect + shift) / truth.image_spread)
    images = np.array(truth.images, dtype=np.float64)
    confusion = ((1 - recall) * images)[:, :, None] * CONFUSED_WITH
    diagonal = np.arange(len(CLASSES))
    confusion[:, diagonal, diagonal] = recall * images
    metrics = confusion_metrics(confusion)
    names = ("accuracy", "macro_f1", "weighted_f1")
    return {name: float(getattr(metrics, name).mean()) for name in names}


def effect_of(truth: Truth, accuracy: float) -> float:
    """Latent effect that raises the expected accuracy by the given share, e.g. 0.05 for 5 points."""
    base = expected_metrics(truth, draws=20_000)["accuracy"]
    return float(brentq(lambda effect: expected_metrics(truth, effect, 20_000)["accuracy"] - base - accuracy, -3, 3))


def simulate_study(
    truth: Truth,
    rng: np.random.Generator,
    settings: Mapping[tuple[str, str], float] | None = None,
    fractions: tuple[float, ...] = FRACTIONS,
    effects: Mapping[tuple[float, str, str], float] | None = None,
) -> Predictions:
    """Predictions of one study, as `analysis.statistics.predictions.read_predictions` reads them from records.

    Args:
        truth: What varies.
        rng: Random numbers of this study.
        settings: (fusion, control) of each arm -> effect added to its latent sum at every fraction; ``off`` and ``sum``
            without effect when None.
        fractions: Fractions of the arms, whose runs share test images but no luck of their seeds.
        effects: (fraction, fusion, control) -> effect at that fraction instead.
    """
    settings = settings if settings is not None else {("off", ""): 0.0, ("sum", ""): 0.0}
    labels = np.repeat(np.arange(len(CLASSES)), truth.images)
    number = len(labels)
    difficulty = rng.standard_normal(number) * truth.image
    mistaken = (rng.random(number)[:, None] > np.cumsum(CONFUSED_WITH, axis=1)[labels]).sum(axis=1)
    people = _draw_patients(truth, rng, labels) if truth.patients else None
    if people is not None:
        difficulty = difficulty + (rng.standard_normal(truth.patients) * truth.patient)[people]
        difficulty = difficulty + (rng.standard_normal((truth.patients, len(CLASSES))) * truth.patient)[people, labels]
    arms = []
    for fraction in fractions:
        shared = rng.standard_normal((truth.seeds, 1)) * truth.seed
        shared = shared + (rng.standard_normal((truth.seeds, len(CLASSES))) * truth.seed_class)[:, labels]
        for (fusion, control), effect in settings.items():
            own = rng.standard_normal((truth.seeds, 1)) * truth.arm_seed
            own = own + (rng.standard_normal((truth.seeds, len(CLASSES))) * truth.arm_seed)[:, labels]
            own = own + rng.standard_normal(number) * truth.arm_image
            own = own + rng.standard_normal((truth.seeds, number)) * truth.chance
            if people is not None:
                own = own + (rng.standard_normal(truth.patients) * truth.arm_patient)[people]
                own = own + (rng.standard_normal((truth.seeds, truth.patients)) * truth.chance_patient)[:, people]
            added = (effects or {}).get((fraction, fusion, control), effect)
            right = truth.levels[labels] + added + difficulty + shared + own > 0
            arms.append(
                ArmPredictions(
                    arm=arm_name(fraction, fusion, control),
                    fraction=fraction,
                    fusion=fusion,
                    encoders="" if fusion == "off" else "prcc+cam16",
                    control=control,
                    seeds=np.arange(truth.seeds),
                    predicted=np.where(right, labels, mistaken),
                )
            )
    return Predictions("test", CLASSES, labels, tuple(arms), people)


def _draw_patients(truth: Truth, rng: np.random.Generator, labels: Integers) -> Integers:
    """Patient of each image: some have more images than others, all have about the same shares of classes."""
    shares = np.exp(truth.uneven * rng.standard_normal(truth.patients))
    return rng.choice(truth.patients, len(labels), p=shares / shares.sum())


def with_spread_of_differences(truth: Truth, effect: float, points: float) -> Truth:
    """The truth with `arm_seed` such that the paired differences of accuracy vary over seeds by this many points (SD).

    Args:
        truth: Its `arm_seed` is replaced.
        effect: Effect of the first arm over the second.
        points: Standard deviation over seeds in percentage points, on given images, as a study shows it.

    Raises:
        ValueError: Chance alone makes more.
    """

    def deviation(arm_seed: float) -> float:
        each = replace(truth, arm_seed=arm_seed, seeds=400)
        predictions = simulate_study(each, np.random.default_rng(11), {("sum", ""): effect, ("off", ""): 0.0}, (1.0,))
        first, second = ((arm.predicted == predictions.labels).mean(axis=1) for arm in predictions.arms)
        return float(100 * np.std(first - second, ddof=1))

    if deviation(0.0) > points:
        raise ValueError(f"Chance alone makes {deviation(0.0):.2f} points, expected less than {points}.")
    return replace(truth, arm_seed=float(brentq(lambda value: deviation(value) - points, 0.0, 3.0, xtol=1e-3)))


def records_of(predictions: Predictions) -> dict[str, list[dict[str, Any]]]:
    """Return the rows of ``trials`` and ``predictions`` that runs with these predictions leave in a run directory."""
    trials: list[dict[str, Any]] = []
    rows: list[dict[str, Any]] = []
    for arm in predictions.arms:
        for index, (seed, predicted) in enumerate(zip(arm.seeds, arm.predicted, strict=True)):
            trial = f"{arm.arm}-{seed}"
            trials.append(
                {
                    "sequence": len(trials),
                    "trial_id": trial,
                    "phase": "confirm",
                    "arm": arm.arm,
                    "fraction": arm.fraction,
                    "fusion": arm.fusion,
                    "encoders": arm.encoders,
                    "control": arm.control,
                    "index": index,
                    "seed": int(seed),
                    "learning_rate": 1e-3,
                    "weight_decay": 1e-4,
                    "status": "completed",
                    "epochs": 1,
                    "train_images": 100,
                    "parameters": 1000,
                    "error": "",
                    "tune_id": "",
                    "host": "",
                    "time": 0.0,
                }
            )
            probabilities = np.full((len(predicted), len(predictions.classes)), 0.1)
            probabilities[np.arange(len(predicted)), predicted] = 0.6
            rows += [
                {
                    "sequence": len(rows) + image,
                    "trial_id": trial,
                    "epoch": 1,
                    "split": predictions.split,
                    "image": f"{image:06}",
                    "label": int(label),
                    "probabilities": each.tolist(),
                }
                for image, (label, each) in enumerate(zip(predictions.labels, probabilities, strict=True))
            ]
    return {"trials": trials, "predictions": rows}
