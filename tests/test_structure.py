"""Arrows between the packages run one way, and only one package knows Ray."""

import ast
from pathlib import Path

import pytest

ALLOWED = {
    "analysis": {"analysis"},
    "data_utils": {"data_utils"},
    "models": {"models"},
    "study": {"analysis", "data_utils", "models", "study"},
}
HEAVY = {"analysis": {"torch", "torchvision", "ray"}, "data_utils": {"ray"}, "models": {"ray"}, "study": set()}


@pytest.mark.parametrize("package", sorted(ALLOWED))
def test_imports_follow_the_arrows(package):
    for path in Path(package).rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            names += [node.module] if isinstance(node, ast.ImportFrom) and node.module else []
            for top in {name.partition(".")[0] for name in names}:
                assert top not in set(ALLOWED) - ALLOWED[package], f"{path} imports {top}"
                assert top not in HEAVY[package], f"{path} imports {top}"


@pytest.mark.parametrize("package", sorted(ALLOWED))
def test_every_test_file_mirrors_a_module(package):
    special = {"test_package.py"}
    for path in Path("tests", package).rglob("test_*.py"):
        module = Path(package) / path.relative_to(Path("tests", package)).with_name(path.name.removeprefix("test_"))
        assert module.is_file() or path.name in special, f"{path} mirrors no module"
