"""How two configurations differ, and whether one only extends the other."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from study.config.study import StudyConfig

if TYPE_CHECKING:
    from collections.abc import Mapping


def compare_configs(old: StudyConfig, new: StudyConfig) -> list[str]:
    """Settings that differ, one line each. What only says where and how fast a study runs is left out."""
    before, after = (_flatten_named(config) for config in (old, new))
    ignored = {
        "name",
        "about",
        "resources.address",
        "resources.workers",
        "resources.gpu",
        "resources.accelerator",
        "resources.pretraining_gpu",
        "data.cache_dir",
        "data.downloads",
        "search.storage",
        "tracking.tensorboard",
        "tracking.mlflow",
        "tracking.wandb",
    }
    # Images and given weights are compared by their fingerprints, wherever they lie; what an earlier study gives is kept.
    moved = {"data.root", "data.groups", "pretrain.prcc.weights", "pretrain.cam16.weights", "search.warm_start"}
    moved |= {
        f"arms.networks.{name}" for name, path in old.arms.networks.items() if path and new.arms.networks.get(name)
    }
    ignored |= {key for key in moved if before.get(key) is not None and after.get(key) is not None}
    grown = grown_settings(old, new)
    ignored |= set(grown)
    if "arms.networks" in grown:
        ignored |= {f"arms.networks.{name}" for name in new.arms.networks if name not in old.arms.networks}
    if old.search.budget == new.search.budget:
        ignored.add("search.trials_per_arm")  # written out, or left to the default
    # The same arms in whatever order they are named.
    ignored |= {
        f"arms.{name}"
        for name in ("fractions", "fusion", "encoder_sets", "segmentation")
        if set(getattr(old.arms, name)) == set(getattr(new.arms, name))
    }
    return [
        f"{key}: {_shown(before.get(key))} -> {_shown(after.get(key))}"
        for key in dict.fromkeys([*before, *after])
        if before.get(key) != after.get(key) and key not in ignored
    ]


def grown_settings(old: StudyConfig, new: StudyConfig) -> dict[str, str]:
    """Settings by which `new` asks for more of the same than `old`: they extend a study, what it did stays valid.

    Returns:
        Key of the setting -> what changed.
    """
    grown = {}
    for key, before, after in (
        ("search.trials_per_arm", old.search.budget, new.search.budget),
        ("confirm.seeds", old.confirm.seeds, new.confirm.seeds),
    ):
        # A grid has the size that it has.
        if after > before and not (key.startswith("search") and new.search.mode == "grid"):
            grown[key] = f"{key}: {before} -> {after}"
    for key, earlier, later in (
        ("arms.fractions", set(old.arms.fractions), set(new.arms.fractions)),
        ("arms.fusion", set(old.arms.fusion), set(new.arms.fusion)),
        ("arms.encoder_sets", set(old.arms.encoder_sets), set(new.arms.encoder_sets)),
        ("arms.segmentation", set(old.arms.segmentation), set(new.arms.segmentation)),
        ("arms.networks", set(old.arms.networks), set(new.arms.networks)),
    ):
        if later > earlier:
            grown[key] = f"{key}: {', '.join(_shown_value(value) for value in sorted(later - earlier))} added"
    for name, fractions in new.controls.items():
        arms_before, arms_after = (
            {fraction for fraction in config.arms.fractions if config.has_control(name, fraction)}
            for config in (old, new)
        )
        if fractions != old.controls.get(name) and arms_after >= arms_before:
            added = ", ".join(str(fraction) for fraction in sorted(arms_after - arms_before))
            grown[f"controls.{name}"] = f"controls.{name}: {f'added at {added}' if added else 'the same arms'}"
    weight = "training.segmentation_weight"
    if "arms.segmentation" in grown and not any(old.arms.segmentation) and weight not in new.search.also:
        # Said nothing before: no arm learnt from masks.
        grown[weight] = f"{weight}: {new.training.segmentation_weight:g}"
    return grown


def _shown_value(value: Any) -> str:
    return "+".join(value) if isinstance(value, tuple) else str(value)


def _shown(value: Any) -> str:
    return "(none)" if value is None else str(value)


def flatten(values: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Nested settings by their whole names, such as ``data.root``."""
    flat: dict[str, Any] = {}
    for key, value in values.items():
        flat |= flatten(value, f"{prefix}{key}.") if isinstance(value, dict) else {prefix + key: value}
    return flat


def _flatten_named(config: StudyConfig) -> dict[str, Any]:
    """Every setting by its name; a network without weights says so, or it would look like one that is not there."""
    flat = flatten(config.model_dump(mode="json"))
    for name, path in config.arms.networks.items():
        flat[f"arms.networks.{name}"] = "no weights" if path is None else str(path)
    return flat
