"""Modules of messages, each imported by the first use of one of its names."""

import ast
from pathlib import Path

import pytest

from fedbus.wire import messages
from fedbus.wire.topics import Link


def test_the_names_that_are_loaded_are_those_that_types_are_checked_with() -> None:
    """Both lists name the same classes of the same modules."""
    tree = ast.parse(Path(str(messages.__file__)).read_text(encoding="utf-8"))
    checked = {
        name.name: node.module
        for node in ast.walk(tree)
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("fedbus.")
        for name in node.names
    }
    assert checked
    found = {name: getattr(messages, name).__module__ for name in checked}
    assert found == checked
    assert checked.keys() <= set(dir(messages))
    assert checked == messages._MODULES  # noqa: SLF001 - the list itself


def test_an_unknown_message_is_an_attribute_error() -> None:
    """A misspelt line of the topic table is reported by its name."""
    with pytest.raises(AttributeError, match="no attribute 'TrainTsk'"):
        _ = Link("TrainTsk", (), ()).message
