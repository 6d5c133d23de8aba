"""The walls of the house: which room may use which, where Ray and torch may be, and how large a room may grow.

A room is a folder of modules, or a module that lies in its package's own folder. Every import counts, also one inside a
function or under ``TYPE_CHECKING``.
"""

import ast
from collections.abc import Iterator, Mapping, Sequence
from graphlib import CycleError, TopologicalSorter
from itertools import pairwise
from pathlib import Path

import pytest

FLOORS: Mapping[str, Sequence[Sequence[str]]] = {
    "study": (
        ("commands",),
        ("pipeline", "cluster"),
        ("terminal", "inference", "execution"),
        ("training", "search"),
        ("storage",),
        ("design",),
        ("config",),
        ("errors",),
    ),
    "analysis": (
        ("explorer",),
        ("report", "api"),
        ("tables", "figures"),
        ("wording", "statistics"),
        ("arms", "tracking"),
        ("records",),
        ("metrics", "hyperparameters"),
    ),
    "data_utils": (
        ("audit", "preview"),
        ("fractions",),
        ("cache",),
        ("cache_building",),
        ("image_storing", "splits", "leaks"),
        ("sources",),
        ("drawing", "decoding", "arrays", "prefetch", "augmentation"),
        ("config", "errors"),
    ),
    "models": (
        ("torchvision_classifiers", "gradcam", "handcrafted"),
        ("checkpoints", "encoders", "fusion"),
        ("autoencoder", "classifier", "segmentation"),
        ("initialisation", "nested_state", "optimiser", "errors"),
    ),
}
"""The rooms of every package, the highest floor first. A room may use those below it, and on its own floor those before it.

The package's own ``__init__`` and ``__main__`` are its door, above all rooms: no room comes in through it.
"""

USES: Mapping[str, set[str]] = {
    "study": {"analysis", "data_utils", "models"},
    "analysis": set(),
    "data_utils": set(),
    "models": set(),
}
"""Which other packages a package may use."""

HOMES: Mapping[str, tuple[str, ...]] = {
    "ray": ("study/execution", "study/cluster"),
    "torch": (
        "models",
        "data_utils",
        "study/training",
        "study/inference",
        "study/execution",
        "study/pipeline",
        "study/commands",
    ),
}
"""The only places that may import a heavy library."""

SAME_LIBRARY = {"torchvision": "torch"}
MOST_MODULES = 20
VAGUE = {"utils", "helpers", "common", "misc"}


class House:
    """All modules of the packages below a folder, and the arrows between them.

    Attributes:
        files: Module name -> its file relative to the folder.
        arrows: (importing module, imported module) within the packages.
        outside: (file, name of the imported library) for everything else.
    """

    def __init__(self, folder: Path) -> None:
        self.files = {
            _module_name(file.relative_to(folder)): file.relative_to(folder)
            for package in FLOORS
            for file in sorted((folder / package).rglob("*.py"))
        }
        self.arrows: set[tuple[str, str]] = set()
        self.outside: set[tuple[Path, str]] = set()
        for module, file in self.files.items():
            for name in _imported_names((folder / file).read_text(encoding="utf-8"), module, file.name):
                if name.partition(".")[0] not in FLOORS:
                    self.outside.add((file, name.partition(".")[0]))
                elif (target := self._module_of(name)) != module:
                    self.arrows.add((module, target))

    def _module_of(self, name: str) -> str:
        """The module that a dotted name is, or that holds it."""
        while name not in self.files:
            name = name.rpartition(".")[0]
        return name

    def room(self, module: str) -> str:
        """``study/config``: the folder of a module, or the module itself where it lies in its package's folder."""
        return "/".join(module.split(".")[:2])

    def room_arrows(self) -> dict[tuple[str, str], tuple[str, str]]:
        """(importing room, imported room) -> one pair of modules, doors left out."""
        found: dict[tuple[str, str], tuple[str, str]] = {}
        for source, target in sorted(self.arrows):
            rooms = self.room(source), self.room(target)
            if rooms[0] != rooms[1] and not any(_is_door(room) for room in rooms):
                found.setdefault(rooms, (source, target))
        return found


def _module_name(file: Path) -> str:
    parts = file.with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def _is_door(room: str) -> bool:
    return "/" not in room or room.endswith("/__main__")


def _imported_names(text: str, module: str, file_name: str) -> Iterator[str]:
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            home = node.module or ""
            if node.level:
                parents = module.split(".")
                kept = len(parents) - node.level + (file_name == "__init__.py")
                home = ".".join([*parents[:kept], *([home] if home else [])])
            yield from (f"{home}.{alias.name}" for alias in node.names)


def _circle(arrows: Mapping[tuple[str, str], tuple[Path, Path]]) -> list[str]:
    """One circle among the arrows, if there is any: mend it and ask again for the next."""
    sorter: TopologicalSorter[str] = TopologicalSorter()
    for source, target in arrows:
        sorter.add(source, target)
    try:
        sorter.prepare()
    except CycleError as error:
        ring = error.args[1][::-1]
        return ["a circle: " + ", ".join("{} imports {}".format(*arrows[pair]) for pair in pairwise(ring))]
    return []


def circles_of_modules(house: House) -> list[str]:
    return _circle({arrow: (house.files[arrow[0]], house.files[arrow[1]]) for arrow in house.arrows})


def circles_of_rooms(house: House) -> list[str]:
    pairs = house.room_arrows().items()
    return _circle({rooms: (house.files[pair[0]], house.files[pair[1]]) for rooms, pair in pairs})


def arrows_upwards(house: House) -> list[str]:
    place = {
        f"{package}/{room}": (height, number)
        for package, floors in FLOORS.items()
        for height, floor in enumerate(reversed(floors))
        for number, room in enumerate(floor)
    }
    found = [
        f"{file}: room {house.room(module)} stands on no floor"
        for module, file in house.files.items()
        if house.room(module) not in place and not _is_door(house.room(module))
    ]
    for (source, target), pair in house.room_arrows().items():
        is_inside = source.partition("/")[0] == target.partition("/")[0]
        if is_inside and source in place and target in place and place[target] > place[source]:
            found.append("{} imports {}, which lies higher".format(*(house.files[module] for module in pair)))
    return found + _forbidden_packages(house)


def _forbidden_packages(house: House) -> list[str]:
    found = []
    for source, target in sorted(house.arrows):
        package, used = source.partition(".")[0], target.partition(".")[0]
        files = f"{house.files[source]} imports {house.files[target]}"
        if package != used and used not in USES[package]:
            found.append(f"{files}: {package} may not use {used}")
        if package == used and _is_door(house.room(target)) and not _is_door(house.room(source)):
            found.append(f"{files}, the door of its own package")
    return found


def heavy_imports(house: House, library: str) -> list[str]:
    return [
        f"{file} imports {name}"
        for file, name in sorted(house.outside)
        if SAME_LIBRARY.get(name, name) == library and not any(file.is_relative_to(home) for home in HOMES[library])
    ]


def crowded_rooms(house: House) -> list[str]:
    modules: dict[Path, int] = {}
    for file in house.files.values():
        modules[file.parent] = modules.get(file.parent, 0) + (file.name != "__init__.py")
    return [f"{folder} has {count} modules" for folder, count in modules.items() if count > MOST_MODULES]


def vague_names(house: House) -> list[str]:
    return [f"{file}: what does it hold?" for file in house.files.values() if VAGUE & {file.stem, file.parent.name}]


RULES = {
    "circle of modules": circles_of_modules,
    "circle of rooms": circles_of_rooms,
    "arrow upwards": arrows_upwards,
    "Ray": lambda house: heavy_imports(house, "ray"),
    "torch": lambda house: heavy_imports(house, "torch"),
    "crowded room": crowded_rooms,
    "vague name": vague_names,
}


@pytest.fixture(scope="module")
def house() -> House:
    return House(Path())


@pytest.mark.parametrize("rule", RULES)
def test_the_house_keeps_its_rules(house, rule):
    assert RULES[rule](house) == []


PLANTED = {
    "circle of modules": {
        "study/search/rungs.py": "from study.search.plans import plan",
        "study/search/plans.py": "def f():\n    from study.search import rungs",
    },
    "circle of rooms": {
        "study/search/rungs.py": "from study.training.run import run",
        "study/training/run.py": "",
        "study/training/device.py": "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    from study.search.plans import p",
        "study/search/plans.py": "",
    },
    "arrow upwards": {
        "analysis/records/study.py": "def tables():\n    from analysis.tables.registry import tables",
        "analysis/tables/registry.py": "",
    },
    "Ray": {"study/search/queue.py": "def f():\n    import ray.tune"},
    "torch": {"analysis/tables/table.py": "from torchvision.transforms import functional"},
    "crowded room": {f"study/design/part{number}.py": "" for number in range(MOST_MODULES + 1)},
    "vague name": {"study/design/common.py": ""},
}


@pytest.mark.parametrize("rule", RULES)
def test_a_planted_violation_is_found_and_its_files_are_named(rule, tmp_path):
    for name, text in PLANTED[rule].items():
        file = tmp_path / name
        file.parent.mkdir(parents=True, exist_ok=True)
        (file.parent / "__init__.py").touch()
        (tmp_path / file.parts[len(tmp_path.parts)] / "__init__.py").touch()
        file.write_text(text)
    found = "\n".join(RULES[rule](House(tmp_path)))
    if rule == "crowded room":
        assert "study/design has 21 modules" in found
    else:
        assert all(name in found for name, text in PLANTED[rule].items() if "import" in text or rule == "vague name"), (
            found
        )


@pytest.mark.parametrize("package", sorted(FLOORS))
def test_every_room_says_what_lives_there(package):
    for folder in {file.parent for file in Path(package).rglob("*.py")}:
        assert (folder / "__init__.py").is_file(), f"{folder} has no __init__.py"
        assert ast.get_docstring(ast.parse((folder / "__init__.py").read_text())), f"{folder}/__init__.py says nothing"


@pytest.mark.parametrize("package", sorted(FLOORS))
def test_every_test_file_mirrors_a_module(package):
    special = {"test_package.py"}
    for path in Path("tests", package).rglob("test_*.py"):
        module = Path(package) / path.relative_to(Path("tests", package)).with_name(path.name.removeprefix("test_"))
        assert module.is_file() or path.name in special, f"{path} mirrors no module"
