"""From a preset or a YAML file and ``--set`` overrides to a checked configuration."""

from __future__ import annotations

import difflib
from pathlib import Path
from typing import TYPE_CHECKING, Any, get_args

import yaml
from pydantic import BaseModel, ValidationError

from study.config.secrets import mask_password
from study.config.study import StudyConfig
from study.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence


_PRESETS = Path(__file__).parent / "presets"


def list_presets() -> list[str]:
    """Names of the presets."""
    return sorted(path.stem for path in _PRESETS.glob("*.yaml"))


def load_config(preset_or_file: str, overrides: Iterable[str] = (), name: str | None = None) -> StudyConfig:
    """Read a configuration.

    Args:
        preset_or_file: A preset's name or the path of a YAML file.
        overrides: Texts such as ``search.trials_per_arm=8``; values are read as YAML.
        name: Name of the study; that of the preset or file when None.

    Raises:
        UsageError: the preset or file does not exist, is not YAML, or holds a wrong key or value.
    """
    path = _PRESETS / f"{preset_or_file}.yaml"
    if not (preset_or_file in list_presets() and path.is_file()):
        path = Path(preset_or_file)
        if not path.is_file():
            known = list_presets()
            close = difflib.get_close_matches(preset_or_file, known, n=1)
            raise UsageError(
                f"{preset_or_file!r} is neither a preset nor a YAML file. Presets: {', '.join(known)}"
                + (f". Did you mean {close[0]!r}?" if close else "")
            )
    values = read_yaml(path)
    values.setdefault("name", path.stem if path.stem != "study" else path.resolve().parent.name)
    if name is not None:
        values["name"] = name
    for override in overrides:
        _apply(values, override)
    return check_config(values, str(path) if path.parent != _PRESETS else f"preset {path.stem}")


def read_yaml(path: Path) -> dict[str, Any]:
    """A YAML file that holds settings.

    Raises:
        UsageError: not readable, not YAML, or not a mapping.
    """
    try:
        values = yaml.safe_load(path.read_text())
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise UsageError(f"{path}: not readable as YAML ({mask_password(str(error))})") from error
    if values is None:
        return {}
    if not isinstance(values, dict):
        raise UsageError(f"{path}: found {type(values).__name__}, expected settings such as `search: {{mode: tpe}}`")
    return values


def check_config(values: Mapping[str, Any], origin: str) -> StudyConfig:
    """Validate settings.

    Raises:
        UsageError: one line for each wrong key or value: which, what was found, what was expected.
    """
    try:
        return StudyConfig.model_validate(values)
    except ValidationError as error:
        problems = [dict(problem) for problem in error.errors()]
        # When every item of a list is wrong, pydantic also says that the list is too short.
        lines = [
            _explain(problem)
            for problem in problems
            if problem["type"] != "too_short" or not any(_is_inside(other, problem) for other in problems)
        ]
        raise UsageError(
            f"{origin}: " + ("\n  ".join(["wrong configuration:", *lines]) if len(lines) > 1 else lines[0])
        ) from error


def dump_config(config: StudyConfig) -> str:
    """A configuration, complete, as YAML that `load_config` reads."""
    return str(yaml.safe_dump(config.model_dump(mode="json"), sort_keys=False, allow_unicode=True))


def _is_inside(problem: Mapping[str, Any], around: Mapping[str, Any]) -> bool:
    """Whether a problem is that of an item of another problem's value."""
    depth = len(around["loc"])
    return len(problem["loc"]) > depth and problem["loc"][:depth] == around["loc"]


def _apply(values: dict[str, Any], override: str) -> None:
    """Put the value of one ``--set`` into nested settings.

    Raises:
        UsageError: the override has no key or no value, or its key leads through a value.
    """
    key, separator, text = override.partition("=")
    if not separator or not key.strip():
        raise UsageError(f"--set {override!r}: expected key=value, such as search.trials_per_arm=8")
    try:
        value = yaml.safe_load(text)
    except yaml.YAMLError as error:
        raise UsageError(mask_password(f"--set {override!r}: the value is not readable ({error})")) from error
    # YAML 1.1 reads 1e-3 as text; nobody who writes it means that.
    value = _numbers(value)
    *parents, last = key.strip().split(".")
    place = values
    for parent in parents:
        inner = place.setdefault(parent, {})
        if not isinstance(inner, dict):
            raise UsageError(f"--set {override!r}: {parent!r} is a value, not a group of settings")
        place = inner
    place[last] = value


def _numbers(value: Any) -> Any:
    """A value of YAML in which texts such as ``1e-3`` are numbers."""
    if isinstance(value, list):
        return [_numbers(item) for item in value]
    if isinstance(value, str):
        try:
            return float(value) if "e" in value.lower() and value[:1] in "+-.0123456789" else value
        except ValueError:
            return value
    return value


def _explain(problem: dict[str, Any]) -> str:
    """One of pydantic's problems as a line: which key, what was found, what was expected."""
    location = ".".join(
        str(part) for part in problem["loc"] if not str(part).startswith(("function-", "literal[", "tagged-"))
    )
    if problem["type"] == "extra_forbidden":
        known = _keys_beside(problem["loc"])
        close = difflib.get_close_matches(str(problem["loc"][-1]), known, n=1)
        hint = f"did you mean {close[0]!r}?" if close else f"known keys here: {', '.join(known)}"
        return f"{location}: unknown key; {hint}"
    message = str(problem["msg"]).removeprefix("Value error, ")
    found = problem.get("input")
    shown = (
        ""
        if isinstance(found, dict | BaseModel) or message.startswith("found") or location in message
        else f"found {found!r}: "
    )
    return f"{location}: {shown}{message}" if location and not message.startswith(location) else message


def _keys_beside(location: Sequence[Any]) -> list[str]:
    """Known keys of the group of settings that an unknown key is in."""
    model: Any = StudyConfig
    for part in location[:-1]:
        if not (isinstance(model, type) and issubclass(model, BaseModel)) or part not in model.model_fields:
            return []
        annotation = model.model_fields[part].annotation
        model = next((kind for kind in get_args(annotation) if isinstance(kind, type)), annotation)
    return list(model.model_fields) if isinstance(model, type) and issubclass(model, BaseModel) else []
