"""A plug-in costs its author at most twenty lines."""

import ast
from pathlib import Path

import pytest

from fedbus.plugins.inspection import signature_faults
from tests.typing import plugin_examples

LINES = 20
SOURCE = Path(plugin_examples.__file__).read_text(encoding="utf-8")
EXAMPLES = {
    node.name: node
    for node in ast.parse(SOURCE).body
    if isinstance(node, ast.ClassDef | ast.FunctionDef)
}
KINDS = {
    "trainers": "LineTrainer",
    "models": "line",
    "loaders": "csv",
    "transforms": "Inverted",
    "aggregators": "Middle",
    "server_optimizers": "Momentum",
    "objectives": "Remembering",
    "update_transforms": "Halved",
    "strategies": "steady",
    "selectors": "rested",
    "runtimes": "LineRuntime",
}


def code_lines(node: ast.AST) -> int:
    """Count the lines that hold code: neither docstrings nor comments nor air."""
    texts = {
        line
        for each in ast.walk(node)
        if isinstance(each, ast.Expr) and isinstance(each.value, ast.Constant)
        for line in range(each.lineno, (each.end_lineno or 0) + 1)
    }
    lines = {getattr(each, "lineno", 0) for each in ast.walk(node)} - {0}
    return len(lines - texts)


@pytest.mark.parametrize("name", EXAMPLES)
def test_an_example_of_each_kind_has_at_most_twenty_lines(name: str) -> None:
    """Of code, as a reader counts it."""
    assert 1 <= code_lines(EXAMPLES[name]) <= LINES


@pytest.mark.parametrize(("kind", "name"), KINDS.items())
def test_nothing_is_wrong_with_the_examples(kind: str, name: str) -> None:
    """What mypy takes, `fedbus plugins` takes as well."""
    assert list(signature_faults(kind, getattr(plugin_examples, name))) == []  # type: ignore[arg-type] # a key is a group


EXAMPLE_FILES = sorted(
    (Path(__file__).parents[3] / "examples/own_trainer/src/own_trainer").glob("*.py")
)


@pytest.mark.parametrize("file", EXAMPLE_FILES, ids=lambda file: file.stem)
def test_the_example_package_is_as_short_as_its_page_says(file: Path) -> None:
    """Each function and each class, its optional powers included."""
    parts = [
        node
        for node in ast.parse(file.read_text(encoding="utf-8")).body
        if isinstance(node, ast.ClassDef | ast.FunctionDef)
    ]
    assert [part.name for part in parts if code_lines(part) > LINES] == []
