"""Modules whose content is loaded when it is first used."""

import sys
import threading
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path
from types import ModuleType

import pytest

from fedbus.runtime.lazy_modules import LazyModule, load_on_first_use


@pytest.fixture
def package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """Write a package that is loaded when it is used."""
    name = "slow_package"
    (tmp_path / name).mkdir()
    (tmp_path / name / "__init__.py").write_text(f"from {name} import beside\nanswer = 42\n")
    (tmp_path / name / "beside.py").write_text("")
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.setattr(sys, "meta_path", list(sys.meta_path))
    load_on_first_use({name, "no_such_module_anywhere"})
    yield name
    for loaded in [each for each in sys.modules if each.partition(".")[0] == name]:
        del sys.modules[loaded]


def test_content_is_loaded_with_the_first_access_to_a_name(package: str) -> None:
    """A submodule that the content imports is found while it is loaded."""
    module = import_module(package)
    assert type(module) is LazyModule
    assert f"{package}.beside" not in sys.modules
    assert module.answer == 42
    assert type(module) is ModuleType
    assert f"{package}.beside" in sys.modules
    assert not hasattr(module, "question")


def test_an_import_of_a_name_loads_the_content(package: str) -> None:
    """As `from module import name` does."""
    content: dict[str, object] = {}
    exec(f"from {package} import answer", content)  # noqa: S102 - the statement under test
    assert content["answer"] == 42


def test_content_that_fails_is_tried_again(package: str, tmp_path: Path) -> None:
    """An error of the content is raised by each access, until it is mended."""
    path = tmp_path / package / "__init__.py"
    path.write_text("raise ImportError('not built with it')\n")
    module = import_module(package)
    for _ in range(2):
        with pytest.raises(ImportError, match="not built with it"):
            _ = module.answer
    path.write_text("answer = 'mended, and longer than before'\n")
    assert module.answer.startswith("mended")


def test_threads_load_the_content_once_and_wait_for_it(package: str, tmp_path: Path) -> None:
    """A second thread sees no half of it."""
    path = tmp_path / package / "__init__.py"
    path.write_text(
        "import threading\n"
        "begun, go, times = threading.Event(), threading.Event(), []\n"
        "times.append(1)\n"
        "begun.set()\n"
        "assert go.wait(10)\n"
        "answer = 42\n"
    )
    module = import_module(package)
    found: list[int] = []
    threads = [threading.Thread(target=lambda: found.append(module.answer)) for _ in range(2)]
    for thread in threads:
        thread.start()
    while "begun" not in module.__dict__:
        threads[0].join(0.001)
    assert module.__dict__["begun"].wait(10)
    assert found == []
    module.__dict__["go"].set()
    for thread in threads:
        thread.join(10)
    assert found == [42, 42]
    assert module.times == [1]


def test_a_module_that_does_not_exist_is_not_found(package: str) -> None:  # noqa: ARG001 - its finder is asked
    """With the error that Python has for it."""
    with pytest.raises(ModuleNotFoundError, match="no_such_module_anywhere"):
        import_module("no_such_module_anywhere")
