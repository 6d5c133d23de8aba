"""A study in words: how far it is, what it asks, what was done."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from analysis.arms import OFF, compared_settings, control_settings, majority_floor, setting_title
from analysis.metrics import metric_title
from analysis.records.errors import StudyError
from analysis.records.schema import Phase, TrialStatus
from analysis.statistics.verdicts import study_verdicts
from analysis.wording.controls import describe_controls
from analysis.wording.formats import MISSING

if TYPE_CHECKING:
    from analysis.records.study import Study


def state(study: Study) -> str:
    """One sentence on how far the study is, from its records alone."""
    trials = study.trials
    counts = trials["status"].value_counts()
    confirmed = len(study.confirmed)
    parts = [f"{len(trials):,} trials so far"] if counts.get(TrialStatus.RUNNING, 0) else [f"{len(trials):,} trials"]
    parts += [f"{counts[status]:,} {status}" for status in counts.index.sort_values()]
    sentence = ", ".join(parts) + f"; {confirmed:,} confirmed runs"
    phases = study.manifest.get("phases")
    if isinstance(phases, Mapping):
        states = {name: phases[name] for name in Phase if name in phases}
        words = [
            f"{name} {value.get('state', MISSING) if isinstance(value, Mapping) else value}"
            for name, value in states.items()
        ]
        if words:
            sentence += f". Phases: {', '.join(words)}"
    return sentence + "."


def purpose(study: Study) -> str:
    """What its author says about a study, on one line; empty where nothing is said."""
    return " ".join(str(study.config.get("about", "")).split())


def summary(study: Study) -> list[str]:
    """The study in words, one paragraph each: question, data, arms, budget, what is shown and what is not."""
    trials, images = study.trials, study.images
    data = study.config.get("data")
    source = str(data.get("wbc_source") or data.get("source", "")) if isinstance(data, Mapping) else ""
    told = {"synthetic": " The images are generated: results on them say that the program works, nothing about cells."}
    paragraphs = [
        "Question: how much do features pretrained on histology (PRCC, CAM16) help to classify white blood cells, at "
        "each amount of labelled data?"
    ]
    if said := purpose(study):
        paragraphs.append(f"About this study: {said}")
    if len(images):
        counts = images["split"].value_counts()
        splits = [f"{counts[split]:,} {split}" for split in ("train", "val", "test") if split in counts]
        floor = majority_floor(study)
        words = f"Data: {len(images):,} images ({', '.join(splits)}) of {len(study.classes)} classes"
        words += f", source {source!r}." if source else "."
        if floor:
            words += (
                f" Always answering {floor['class']} is right for {100 * float(floor['accuracy']):.2f} % of the validation "
                "images: the floor."
            )
        if "test" not in counts:
            words += " There is no test split: every value is one of validation, and optimistic."
        absent = _classes_without_images(study)
        if absent:
            words += f" No image of {absent}: these classes have no recall there."
        paragraphs.append(words + told.get(source, ""))
    settings = [
        setting_title(setting).replace("without", "without pretraining").replace("with (", "with pretraining (")
        for setting in compared_settings(study)
    ]
    controls = control_settings(study)
    words = f"Arms: {trials.loc[trials['control'] == '', 'arm'].nunique()}"
    if settings:
        words += f", namely {' and '.join(settings)} at {_count(trials['fraction'].nunique(), 'fraction')}"
        words += " of the labelled images"
    words += f"; controls: {', '.join(controls)}." if controls else "; no control arms."
    paragraphs.append(words)
    paragraphs.append(
        f"Budget: {len(trials):,} trials, {int(trials['epochs'].sum()):,} epochs, "
        f"{int(trials['gradient_steps'].sum()):,} gradient steps, {trials['seconds'].sum() / 3600:,.2f} hours of "
        "training and validation summed over trials."
    )
    paragraphs.append(_what_is_shown(study))
    return paragraphs


def control_notes(study: Study) -> tuple[tuple[str, str], ...]:
    """The controls that the study has, each with what it is for."""
    trials = study.trials
    return describe_controls(trials.loc[trials["control"] != "", "control"].unique())


def _what_is_shown(study: Study) -> str:
    if not len(study.selected()):
        ended = study.trials["status"].value_counts()
        reasons = [
            f"{ended[status]:,} {status}"
            for status in (TrialStatus.STOPPED, TrialStatus.DIVERGED, TrialStatus.FAILED)
            if status in ended
        ]
        counted = f" ({', '.join(reasons)})" if reasons else ""
        return (
            f"Shown: no results, since no full-length run has ended yet{counted}. What there is is shown all the same."
        )
    shown = "results on validation and test images"
    if not study.confirmed["test_accuracy"].notna().any():
        shown = "results on validation images only, which are optimistic"
    return (
        f"Shown: {shown}, with their spread over seeds. A difference of means is no evidence of a gain until an interval and "
        "the controls say so."
    )


def verdict_sentences(study: Study) -> list[str]:
    """One sentence for each fraction and arm with pretraining: is there a gain in accuracy? Or one that says why not to ask.

    Returns:
        Sentences of the verdicts, in the order of the fractions; the reason why there are no verdicts yet.
    """
    try:
        verdicts = study_verdicts(study)
    except StudyError as error:
        return [f"No verdicts: {str(error).removeprefix(f'{study.path}: ').replace(f'{study.path}/', '')}"]
    rows = verdicts[(verdicts["metric"] == "accuracy") & (verdicts["kind"] == "transfer")]
    return [str(sentence) for sentence in rows.sort_values("fraction", kind="stable")["sentence"]]


def _classes_without_images(study: Study) -> str:
    counts = study.images.groupby(["split", "label"])["image"].count()
    splits = study.images["split"].unique()
    absent = [
        f"{name} in {split}"
        for split in ("val", "test")
        if split in splits
        for label, name in enumerate(study.classes)
        if not counts.get((split, label), 0)
    ]
    return ", ".join(absent)


def methods(study: Study) -> list[str]:
    """Methods of the study as a text to begin a paper's section from, made from the resolved configuration.

    Returns:
        Paragraphs; only what the configuration says. Empty for a configuration without training and search.
    """
    config = study.config
    paragraphs = [_methods_data(config), _methods_model(config), _methods_search(study), _methods_confirm(config)]
    return [paragraph for paragraph in paragraphs if paragraph]


def _methods_data(config: Mapping[str, Any]) -> str:
    data = _part(config, "data")
    if "image_size" not in data:
        return ""
    size = data["image_size"]
    words = f"Training images were random crops resized to {size} x {size} pixels"
    if "crop_scale" in data:
        low, high = data["crop_scale"]
        words += f" ({100 * low:.10g} to {100 * high:.10g} % of the image's area)"
    words += f", flipped horizontally with probability {data['flip']}" if data.get("flip") else ""
    validation = data.get("validation_size")
    at = {"crop": f"resized to {size} x {size} pixels", "original": "at their original size"}
    words += (
        f". Validation and test images were used whole, {at.get(str(validation), f'resized to {validation} pixels')}."
    )
    fractions = _part(config, "arms").get("fractions")
    if fractions:
        named = ", ".join(f"{100 * float(fraction):.10g} %" for fraction in sorted(fractions))
        words += (
            f" Classifiers were trained on {named} of the labelled training images; subsets are nested, stratified by class, "
            "and drawn anew for every seed."
        )
    return words


def _methods_model(config: Mapping[str, Any]) -> str:
    training, arms = _part(config, "training"), _part(config, "arms")
    if "epochs" not in training:
        return ""
    words = "The classifier is a residual network of three stages of two blocks"
    width = _part(config, "model").get("width")
    words += f" ({width}, {2 * width} and {4 * width} channels)" if isinstance(width, int) else ""
    length = f"{training['epochs']} epochs"
    if training.get("steps_per_epoch"):
        length += f" of {training['steps_per_epoch']} gradient steps each (whatever the fraction)"
    words += f", trained for {length} with Adam in batches of {training.get('batch_size', MISSING)}"
    words += f" (schedule: {training['schedule']})" if training.get("schedule") else ""
    words += ", minimising cross-entropy."
    jitters = {"stain_jitter": "stains", **{name: name for name in ("brightness", "contrast", "saturation", "hue")}}
    moved = [f"{word} (± {training[name]})" for name, word in jitters.items() if training.get(name)]
    words += f" Colours of training images were moved at random: {', '.join(moved)}." if moved else ""
    networks = {str(name): weights for name, weights in (arms.get("networks") or {}).items()}
    if networks:
        given = [name for name, weights in networks.items() if weights]
        start = f" (given weights: {', '.join(given)}; all but the head)" if given else ""
        words += (
            f" In arms of their own other classifiers stand in its place: {', '.join(networks)} of torchvision{start}, which see"
            " images normalised as ImageNet's."
        )
    modes = [str(mode) for mode in arms.get("fusion", ()) if mode not in (OFF, False)]
    if modes:
        encoders = arms.get("encoders", ())
        named = " and ".join(str(encoder).upper() for encoder in encoders)
        words += (
            f" In the arms with pretraining ({', '.join(modes)}) features of the image itself from frozen encoders ({named}) "
            "join the classifier, in training and in validation alike."
        )
    return words


def _methods_search(study: Study) -> str:
    search = _part(study.config, "search")
    if "mode" not in search:
        return ""
    trials = study.trials
    counts = trials[trials["phase"] == Phase.SEARCH].groupby("arm")["trial_id"].count()
    budget = f"{counts.min():,}" if len(counts) and counts.min() == counts.max() else "the same budget of"
    budget = f"{budget} trials" if len(counts) else "its own budget of trials"
    how = {
        "grid": "a grid",
        "random": "random search",
        "qmc": "quasi-random search (scrambled Sobol points)",
        "tpe": "a tree-structured Parzen estimator (Optuna)",
    }
    startup = search.get("tpe_startup")
    if search["mode"] == "tpe" and isinstance(startup, int) and len(counts):
        how["tpe"] = (
            f"{startup} quasi-random point{'s' if startup > 1 else ''}, then a tree-structured Parzen estimator (Optuna),"
            if counts.max() > startup
            else "quasi-random points (as many trials as come before a tree-structured Parzen estimator suggests any)"
        )
    words = f"Learning rate and weight decay of every arm were tuned separately with {how.get(search['mode'], search['mode'])}"
    words += f" and {budget}"
    grid = search["mode"] == "grid"
    rates, decays = (search.get(f"grid_{name}" if grid else name) for name in ("learning_rate", "weight_decay"))
    joined = ", " if grid else " to "
    if isinstance(rates, Sequence) and isinstance(decays, Sequence):
        words += f" (learning rate {joined.join(map(str, rates))}; weight decay {joined.join(map(str, decays))})"
    words += (
        "; trials were stopped early by asynchronous successive halving" if search.get("scheduler") == "asha" else ""
    )
    metric = metric_title(study.metric)
    return f"{words}. Winners and epochs were chosen by {metric} among full-length trials."


def _methods_confirm(config: Mapping[str, Any]) -> str:
    seeds = _part(config, "confirm").get("seeds")
    if not seeds:
        return ""
    return (
        f"The winner of each arm was trained again with {_count(int(seeds), 'seed')} that the search had not used; subset, "
        "initial weights and order of the images vary with the seed and are shared by the compared arms. Test images were "
        "scored once, at the epoch chosen on validation."
    )


def _part(config: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    part = config.get(name)
    return part if isinstance(part, Mapping) else {}


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"
