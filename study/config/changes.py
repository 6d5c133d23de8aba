"""How two configurations differ, and whether one only extends the other."""

from __future__ import annotations

from functools import cache, reduce
from typing import TYPE_CHECKING, Any

from pydantic import BaseModel

from data_utils.config import FREE, MOVABLE, Continuation
from study.config.settings import BUDGET, CHOICES, CONTROLS, COUNT, MASK_WEIGHT, NETWORKS
from study.config.study import StudyConfig

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    Rule = Callable[[str, StudyConfig, StudyConfig], dict[str, str]]
    """Key of a marked setting, configurations before and after -> key of a change that is no difference -> what it adds, in
    words; empty when it adds nothing."""


def compare_configs(old: StudyConfig, new: StudyConfig) -> list[str]:
    """Settings that differ, one line each. Changes that a study may be continued with are left out."""
    before, after = (_flatten_named(config) for config in (old, new))
    allowed = _allowed_changes(old, new)
    return [
        f"{key}: {_shown(before.get(key))} -> {_shown(after.get(key))}"
        for key in dict.fromkeys([*before, *after])
        if before.get(key) != after.get(key) and key not in allowed
    ]


def grown_settings(old: StudyConfig, new: StudyConfig) -> dict[str, str]:
    """Settings by which `new` asks for more of the same than `old`: they extend a study, what it did stays valid.

    Returns:
        Key of the setting -> what changed.
    """
    return {key: added for key, added in _allowed_changes(old, new).items() if added}


@cache
def marked_settings() -> Mapping[Continuation, tuple[str, ...]]:
    """Every setting that may change when a study is continued: what a change means -> keys in the order of declaration."""
    keys: dict[Continuation, list[str]] = {}
    for key, mark in _marks(StudyConfig):
        keys.setdefault(mark, []).append(key)
    return {mark: tuple(found) for mark, found in keys.items()}


def flatten(values: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Nested settings by their whole names, such as ``data.root``."""
    flat: dict[str, Any] = {}
    for key, value in values.items():
        flat |= flatten(value, f"{prefix}{key}.") if isinstance(value, dict) else {prefix + key: value}
    return flat


def _marks(model: type[BaseModel], prefix: str = "") -> Iterator[tuple[str, Continuation]]:
    for name, field in model.model_fields.items():
        key = prefix + name
        yield from ((key, mark) for mark in field.metadata if isinstance(mark, Continuation))
        if isinstance(field.annotation, type) and issubclass(field.annotation, BaseModel):
            yield from _marks(field.annotation, f"{key}.")


def _allowed_changes(old: StudyConfig, new: StudyConfig) -> dict[str, str]:
    """Changes that are no difference, by the key of `_flatten_named` or of the setting -> what they add, in words."""
    allowed: dict[str, str] = {}
    for mark, rule in _RULES.items():
        for key in marked_settings().get(mark, ()):
            allowed |= rule(key, old, new)
    return allowed


def _movable(key: str, old: StudyConfig, new: StudyConfig) -> dict[str, str]:
    return {} if None in (_value(old, key), _value(new, key)) else {key: ""}


def _budget(key: str, old: StudyConfig, new: StudyConfig) -> dict[str, str]:
    before, after = old.search.budget, new.search.budget
    if before == after:
        return {key: ""}  # written out, or left to the default
    return {key: f"{key}: {before} -> {after}"} if after > before and new.search.mode != "grid" else {}


def _count(key: str, old: StudyConfig, new: StudyConfig) -> dict[str, str]:
    before, after = _value(old, key), _value(new, key)
    return {key: f"{key}: {before} -> {after}"} if after > before else {}


def _choices(key: str, old: StudyConfig, new: StudyConfig) -> dict[str, str]:
    before, after = set(_value(old, key)), set(_value(new, key))
    return {key: _added(key, after - before)} if before <= after else {}


def _networks(key: str, old: StudyConfig, new: StudyConfig) -> dict[str, str]:
    before, after = _value(old, key), _value(new, key)
    allowed = {f"{key}.{name}": "" for name, path in before.items() if path and after.get(name)}
    added = after.keys() - before.keys()
    if added and before.keys() <= after.keys():
        allowed |= {key: _added(key, added)} | {f"{key}.{name}": "" for name in added}
    return allowed


def _controls(key: str, old: StudyConfig, new: StudyConfig) -> dict[str, str]:
    allowed = {}
    for name, fractions in new.controls.items():
        before, after = (
            {fraction for fraction in config.arms.fractions if config.has_control(name, fraction)}
            for config in (old, new)
        )
        if fractions != old.controls.get(name) and before <= after:
            added = ", ".join(str(fraction) for fraction in sorted(after - before))
            allowed[f"{key}.{name}"] = f"{key}.{name}: {f'added at {added}' if added else 'the same arms'}"
    return allowed


def _mask_weight(key: str, old: StudyConfig, new: StudyConfig) -> dict[str, str]:
    # Without an arm that learns from masks the weight said nothing.
    first = not any(old.arms.segmentation) and set(old.arms.segmentation) < set(new.arms.segmentation)
    return {key: f"{key}: {_value(new, key):g}"} if first and key not in new.search.also else {}


_RULES: Mapping[Continuation, Rule] = {
    FREE: lambda key, *_: {key: ""},
    MOVABLE: _movable,
    BUDGET: _budget,
    COUNT: _count,
    CHOICES: _choices,
    NETWORKS: _networks,
    CONTROLS: _controls,
    MASK_WEIGHT: _mask_weight,
}
"""What a mark allows. What a study is extended by is told in this order."""


def _value(config: StudyConfig, key: str) -> Any:
    """A setting's value by its whole name."""
    return reduce(getattr, key.split("."), config)


def _added(key: str, values: set[Any]) -> str:
    return f"{key}: {', '.join(_shown_choice(value) for value in sorted(values))} added" if values else ""


def _shown_choice(value: Any) -> str:
    return "+".join(value) if isinstance(value, tuple) else str(value)


def _shown(value: Any) -> str:
    return "(none)" if value is None else str(value)


def _flatten_named(config: StudyConfig) -> dict[str, Any]:
    """Every setting by its name; a network without weights says so, or it would look like one that is not there."""
    flat = flatten(config.model_dump(mode="json"))
    for name, path in config.arms.networks.items():
        flat[f"arms.networks.{name}"] = "no weights" if path is None else str(path)
    return flat
