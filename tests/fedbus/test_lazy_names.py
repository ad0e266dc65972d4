"""Packages whose modules are imported by the first use of one of their names."""

import ast
import sys
from importlib import import_module
from pathlib import Path
from types import ModuleType

import pytest

import fedbus
from fedbus import client, data, plugins
from fedbus.lazy_names import names_on_first_use
from fedbus.wire import messages

PACKAGES = (fedbus, client, data, plugins, messages)


def checked_imports(package: ModuleType) -> dict[str, str]:
    """Return the module of each name that a package imports for type checks only."""
    tree = ast.parse(Path(str(package.__file__)).read_text(encoding="utf-8"))
    return {
        name.name: str(line.module)
        for block in tree.body
        if isinstance(block, ast.If)
        for line in block.body
        if isinstance(line, ast.ImportFrom)
        for name in line.names
    }


def test_these_are_all_packages_that_import_on_first_use() -> None:
    """No other module of the library has a `__getattr__`, which would hide misspelt names."""
    root = Path(str(fedbus.__file__)).parent
    found = {
        path
        for path in root.rglob("*.py")
        for line in ast.parse(path.read_text(encoding="utf-8")).body
        for node in ast.walk(line)
        if (isinstance(line, ast.FunctionDef) and line.name == "__getattr__")
        or (isinstance(node, ast.Name) and node.id == "__getattr__")
    }
    assert found == {Path(str(package.__file__)) for package in PACKAGES}


@pytest.mark.parametrize("package", PACKAGES, ids=lambda package: package.__name__)
def test_the_names_that_are_loaded_are_those_that_types_are_checked_with(
    package: ModuleType,
) -> None:
    """Both lists name the same objects of the same modules, and `dir` lists them."""
    checked = checked_imports(package)
    assert checked
    loaded = {name: module for module, names in package._NAMES.items() for name in names}  # noqa: SLF001 - the list itself
    assert loaded == checked
    for name, module in checked.items():
        assert getattr(package, name) is getattr(import_module(module), name)
    assert {*checked, *getattr(package, "__all__", ())} <= set(dir(package))


@pytest.mark.parametrize("package", PACKAGES, ids=lambda package: package.__name__)
def test_an_unknown_name_is_an_attribute_error(package: ModuleType) -> None:
    """With the names of the package and of the attribute, as for any module."""
    with pytest.raises(AttributeError, match=rf"'{package.__name__}' has no attribute 'TrainTsk'"):
        _ = package.TrainTsk


def test_a_module_is_imported_once_by_the_first_use(monkeypatch: pytest.MonkeyPatch) -> None:
    """Listing names imports nothing; a name that was used is kept."""
    monkeypatch.delitem(sys.modules, "this", raising=False)
    monkeypatch.setattr("builtins.print", lambda *_: None)  # the module prints its text
    package: dict[str, object] = {"__name__": "its"}
    attribute, directory = names_on_first_use(package, {"this": ("d", "s")})
    assert directory() == ["__name__", "d", "s"]
    assert "this" not in sys.modules
    assert attribute("s") is sys.modules["this"].s
    assert package.keys() == {"__name__", "s"}
