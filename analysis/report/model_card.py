"""What somebody who is handed an exported model must know, from the records of its study.

The sections follow Mitchell et al. 2019, "Model Cards for Model Reporting".
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from analysis.arms import majority_floor
from analysis.metrics import METRIC_TITLES, SPLIT_TITLES, confusion_metrics, count_confusion
from analysis.records.schema import Fusion, subset_name
from analysis.report.methods import methods
from analysis.report.prose import count_images, purpose
from analysis.statistics.calibration import calibration_error, run_probabilities, temper
from analysis.statistics.estimates import arm_intervals
from analysis.statistics.evaluations import read_evaluations
from analysis.statistics.predictions import Predictions, study_predictions
from analysis.statistics.scores import METRICS

if TYPE_CHECKING:
    from analysis.records.study import Study

_USE = """\
```python
import numpy as np, onnxruntime
from PIL import Image

session = onnxruntime.InferenceSession("model.onnx")
image = np.asarray(Image.open("cell.jpg").convert("RGB"))  # uint8, height x width x 3, any size
probabilities, calibrated = session.run(None, {{"image": image}})
print(dict(zip({classes}, calibrated.round(3).tolist())))
```"""


def model_card(study: Study, arm: str, seeds: Sequence[int], temperature: float) -> str:
    """The card of an arm's exported models.

    Args:
        study: With confirmed runs of the arm.
        arm: Its name.
        seeds: Seeds of the models; the file gives the mean of their probabilities.
        temperature: Number that the logits of ``calibrated`` are divided by.

    Returns:
        Markdown.
    """
    run = study.confirmed[(study.confirmed["arm"] == arm) & study.confirmed["seed"].isin(seeds)].iloc[0]
    many = len(seeds) > 1
    lines = [
        f"# {arm} of the study {study.name}",
        "**Not for diagnosis.** A research model; nobody has examined it as a medical device.",
        "## What it is",
        f"{'The mean probabilities of ' + str(len(seeds)) + ' networks' if many else 'One network'} (seed"
        f"{'s' if many else ''} {', '.join(map(str, seeds))}) that tell {_listed(study.classes)} apart"
        f" in pictures of single white blood cells. Pretraining: {_pretraining(run)}. Learning rate {run['learning_rate']:.3g},"
        f" weight decay {run['weight_decay']:.3g}, chosen on validation images among the trials of the search.",
        *methods(study)[:2],
        "## How to use it",
        _USE.format(classes=list(study.classes)),
        f"`probabilities` are as trained, `calibrated` with temperature {temperature:.3f}, fitted on the validation images. The"
        " image is prepared inside as the study prepared its validation images.",
        "## Data",
        _data(study),
        "## Results",
        *_results(study, arm, seeds, temperature),
        "## Limits",
        "\n".join(_limits(study, arm)),
        "## Provenance",
        _provenance(study),
    ]
    return "\n\n".join(line for line in lines if line) + "\n"


def _listed(names: Sequence[str]) -> str:
    return f"{', '.join(name.lower() for name in names[:-1])} and {names[-1].lower()}" if len(names) > 1 else names[0]


def _pretraining(run: Any) -> str:
    if run["network"]:
        start = "started from given weights, all but the head" if run["encoders"] else "none"
        return f"{start} (the classifier is {run['network']} of torchvision)"
    if run["fusion"] == Fusion.OFF:
        return "none"
    control = f" (control: {run['control']})" if run["control"] else ""
    return f"{run['fusion']}, encoders {run['encoders'].replace('+', ' and ')}{control}; they are part of the file"


def _data(study: Study) -> str:
    head = f"| Split | {' | '.join(study.classes)} |\n|---|{'---:|' * len(study.classes)}"
    rows = [
        f"| {split} | {' | '.join(f'{count:,}' for count in counts)} |" for split, counts in count_images(study).items()
    ]
    source = (study.config.get("data") or {}).get("wbc_source") or (study.config.get("data") or {}).get(
        "source", "unknown"
    )
    told = " They are generated: nothing here says anything about cells." if source == "synthetic" else ""
    if said := purpose(study):
        told += f" {said}"
    return f"Source `{source}`.{told}\n\n" + "\n".join([head, *rows])


def _results(study: Study, arm: str, seeds: Sequence[int], temperature: float) -> list[str]:
    own = study_predictions(study)
    runs = int((study.confirmed["arm"] == arm).sum())
    places = [
        (f"own {SPLIT_TITLES[own.split]} images", own),
        *((e.name, e.predictions) for e in read_evaluations(study)),
    ]
    head = "| Images | n | Metric | Mean over seeds | 95 % interval |\n|---|---:|---|---:|---:|"
    rows = [
        f"| {name} | {row['images']:,} | {METRIC_TITLES[row['metric']]} | {row['value']:.4f} | {_interval(row)} |"
        for name, predictions in places
        for row in arm_intervals(predictions).to_dict("records")
        if row["arm"] == arm and row["metric"] in METRICS
    ]
    recalls = [_recalls(name, predictions, arm) for name, predictions in places]
    part = "of which the file gives the mean" if len(seeds) > 1 else "of which the file has one"
    paragraphs = [
        *_results_of_the_file(study, arm, seeds, temperature),
        f"Means over all {runs} confirmed networks of the arm, {part}; in the intervals both seeds and images vary:",
        "\n".join([head, *rows]),
        "Recall of each class, mean over seeds:",
        "\n".join([f"| Images | {' | '.join(own.classes)} |\n|---|{'---:|' * len(own.classes)}", *recalls]),
    ]
    floor = majority_floor(study, own.split)
    if floor:
        paragraphs.append(
            f"Always answering {floor['class']} scores an accuracy of {floor['accuracy']:.4f} and a macro F1 of"
            f" {floor['macro_f1']:.4f} on the own {SPLIT_TITLES[own.split]} images."
        )
    return paragraphs


def _results_of_the_file(study: Study, arm: str, seeds: Sequence[int], temperature: float) -> list[str]:
    """What exactly this file answers, on the study's own images."""
    own = study_predictions(study)
    chosen = study.confirmed[(study.confirmed["arm"] == arm) & study.confirmed["seed"].isin(seeds)]
    found = run_probabilities(study, own.split)
    runs = [found[trial] for trial in chosen["trial_id"] if trial in found]
    if not runs:
        return []
    labels, probabilities = runs[0][0], np.mean([each for _, each in runs], axis=0)
    metrics = confusion_metrics(count_confusion(labels, probabilities.argmax(axis=1), len(own.classes))[0])
    optimistic = " Validation images chose settings and epochs: optimistic." if own.split == "val" else ""
    return [
        f"This file, on the {len(labels):,} own {SPLIT_TITLES[own.split]} images: accuracy {metrics.accuracy:.4f}, macro F1"
        f" {metrics.macro_f1:.4f}; expected calibration error {calibration_error(labels, probabilities):.3f} as trained,"
        f" {calibration_error(labels, temper(probabilities, temperature)):.3f} calibrated.{optimistic}"
    ]


def _interval(row: Any) -> str:
    return "one seed: none" if np.isnan(row["low"]) else f"{row['low']:.4f} to {row['high']:.4f}"


def _recalls(name: str, predictions: Predictions, arm: str) -> str:
    predicted = next(each.predicted for each in predictions.arms if each.arm == arm)
    size = len(predictions.classes)
    recall = np.mean(
        [confusion_metrics(count_confusion(predictions.labels, run, size)[0]).recall for run in predicted], axis=0
    )
    shown = ["no image" if np.isnan(value) else f"{value:.3f}" for value in recall]
    return f"| {name} | {' | '.join(shown)} |"


def _limits(study: Study, arm: str) -> list[str]:
    fraction = float(study.confirmed.loc[study.confirmed["arm"] == arm, "fraction"].iloc[0])
    evaluated = [evaluation.name for evaluation in read_evaluations(study)]
    other = (
        f"On other data it was scored on {', '.join(evaluated)}, see above."
        if evaluated
        else "It was scored on no other data set: expect less on another microscope, stain, camera or laboratory."
    )
    return [
        f"- Trained on {100 * fraction:.10g} % ({subset_name(fraction)}) of the study's labelled images. {other}",
        f"- It knows {len(study.classes)} classes and names one of them whatever it is shown: an artefact, a blast or an empty"
        " field too.",
        "- It expects one cell in the middle of the picture, about as large as in the study's images.",
        "- Images of one patient count as independent: the study was told no groups."
        if not (study.config.get("data") or {}).get("groups")
        else "- Patients or smears are those that the study was told of (`data.groups`).",
    ]


def _provenance(study: Study) -> str:
    manifest = study.manifest
    versions = manifest.get("versions") or {}
    shown = {
        "wbc-study": versions.get("wbc-study", ""),
        "revision": manifest.get("git_revision", ""),
        "torch": versions.get("torch", ""),
        "fingerprint of the images": (manifest.get("fingerprints") or {}).get("wbc", ""),
    }
    for name, network in (manifest.get("networks") or {}).items():
        shown[f"network {name}"] = f"{network.get('origin', '')}, SHA-256 {network.get('sha256', '')}"
    return "\n".join(f"- {name}: {value}" for name, value in shown.items() if value)
