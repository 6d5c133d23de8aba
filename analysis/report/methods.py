"""The methods of a study as a text, made from its resolved configuration."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from jinja2 import Environment, PackageLoader, StrictUndefined

from analysis.arms import OFF
from analysis.metrics import metric_title
from analysis.records.schema import Phase
from analysis.wording.formats import MISSING, counted

if TYPE_CHECKING:
    from analysis.records.study import Study

_JITTERS = {"stain_jitter": "stains", **{name: name for name in ("brightness", "contrast", "saturation", "hue")}}
"""Settings of the training that move colours -> what they move."""

_WAYS = {
    "grid": "a grid",
    "random": "random search",
    "qmc": "quasi-random search (scrambled Sobol points)",
    "tpe": "a tree-structured Parzen estimator (Optuna)",
}
"""Mode of the search -> words for it."""


def methods(study: Study) -> list[str]:
    """Methods of the study as a text to begin a paper's section from, made from the resolved configuration.

    Returns:
        Paragraphs; only what the configuration says. Empty for a configuration without training and search.
    """
    environment = Environment(
        loader=PackageLoader("analysis.report", "templates"),
        autoescape=False,  # plain text; the page escapes it
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["percent"] = lambda share: f"{100 * float(share):.10g}"
    config = study.config
    words = {**_data_words(config), **_model_words(config), **_search_words(study), **_confirmation_words(config)}
    text = environment.get_template("methods.txt.j2").render(words)
    return [" ".join(paragraph.split("\n")) for paragraph in text.strip().split("\n\n") if paragraph]


def _data_words(config: Mapping[str, Any]) -> dict[str, Any]:
    data = _part(config, "data")
    size, validation = data.get("image_size"), data.get("validation_size")
    at = {"crop": f"resized to {size} x {size} pixels", "original": "at their original size"}
    return {
        "data": data,
        "whole_images": at.get(str(validation), f"resized to {validation} pixels"),
        "fractions": sorted(_part(config, "arms").get("fractions") or ()),
    }


def _model_words(config: Mapping[str, Any]) -> dict[str, Any]:
    training, arms = _part(config, "training"), _part(config, "arms")
    networks = {str(name): weights for name, weights in (arms.get("networks") or {}).items()}
    return {
        "training": training,
        "width": _part(config, "model").get("width"),
        "missing": MISSING,
        "jitters": [f"{word} (± {training[name]})" for name, word in _JITTERS.items() if training.get(name)],
        "networks": list(networks),
        "given": [name for name, weights in networks.items() if weights],
        "fusions": [str(mode) for mode in arms.get("fusion") or () if mode not in (OFF, False)],
        "encoders": [str(encoder).upper() for encoder in arms.get("encoders") or ()],
    }


def _search_words(study: Study) -> dict[str, Any]:
    search = _part(study.config, "search")
    if "mode" not in search:
        return {"search": search}
    trials = study.trials
    counts = trials[trials["phase"] == Phase.SEARCH].groupby("arm")["trial_id"].count().tolist()
    grid = search["mode"] == "grid"
    values: list[Any] = [search.get(f"grid_{name}" if grid else name) for name in ("learning_rate", "weight_decay")]
    known = all(isinstance(each, Sequence) for each in values)
    return {
        "search": search,
        "way": _way(search, counts),
        "budget": _budget(counts),
        "ranges": [(", " if grid else " to ").join(map(str, each)) for each in values] if known else [],
        "metric": metric_title(study.metric),
    }


def _way(search: Mapping[str, Any], counts: Sequence[int]) -> str:
    """How points were found; a Parzen estimator suggests none before it has seen enough of them."""
    startup = search.get("tpe_startup")
    if search["mode"] != "tpe" or not isinstance(startup, int) or not counts:
        return _WAYS.get(search["mode"], str(search["mode"]))
    if max(counts) > startup:
        return f"{counted(startup, 'quasi-random point')}, then a tree-structured Parzen estimator (Optuna),"
    return "quasi-random points (as many trials as come before a tree-structured Parzen estimator suggests any)"


def _budget(counts: Sequence[int]) -> str:
    """How many trials an arm had."""
    if not counts:
        return "its own budget of trials"
    return f"{counts[0]:,} trials" if min(counts) == max(counts) else "the same budget of trials"


def _confirmation_words(config: Mapping[str, Any]) -> dict[str, Any]:
    seeds = _part(config, "confirm").get("seeds")
    return {"seeds": counted(int(seeds), "seed") if seeds else ""}


def _part(config: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    part = config.get(name)
    return part if isinstance(part, Mapping) else {}
