"""Source of noise and keys in what is shipped: always the system, so that no seed tells them."""

import ast
from collections.abc import Iterator
from pathlib import Path

REPOSITORY = Path(__file__).parents[3]
SHIPPED = [
    *(REPOSITORY / "libs").rglob("src/**/*.py"),
    *(REPOSITORY / "services").rglob("src/**/*.py"),
]
MOST_ARGUMENTS = {"EphemeralNoise": 0, "create_noise_key": 1, "keep_noise_key": 1}
"""Calls whose further argument is the source of random bytes; it is the system's if left out."""


def calls() -> Iterator[tuple[str, str, ast.Call]]:
    """Yield each call in what is shipped: (file, name, call)."""
    for path in SHIPPED:
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Call):
                function = node.func
                name = function.attr if isinstance(function, ast.Attribute) else ""
                name = function.id if isinstance(function, ast.Name) else name
                yield str(path.relative_to(REPOSITORY)), name, node


def test_only_the_system_draws_noise_and_keys() -> None:
    """A seeded source cannot come into a deployment by a setting, a job or a message."""
    found = [(file, name, call) for file, name, call in calls() if name in MOST_ARGUMENTS]
    assert {name for _, name, _ in found} == {*MOST_ARGUMENTS}
    chosen = [
        f"{file}:{call.lineno}"
        for file, name, call in found
        if len(call.args) > MOST_ARGUMENTS[name] or call.keywords
    ]
    assert chosen == []


def test_agents_are_built_with_the_source_of_the_system() -> None:
    """The parameter `noise` of `LocalTrainer` is for tests."""
    trainers = [(file, call) for file, name, call in calls() if name == "LocalTrainer"]
    assert trainers
    given = [
        f"{file}:{call.lineno}"
        for file, call in trainers
        if "noise" in {keyword.arg for keyword in call.keywords} or len(call.args) > 6
    ]
    assert given == []
