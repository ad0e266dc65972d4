"""While one thread imports TensorFlow, no other imports a runtime that needs or disturbs it."""

import runpy
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import ModuleType, SimpleNamespace

import pytest

from fedbus import frameworks
from fedbus.frameworks.tensorflow_import import IMPORTING
from fedbus.frameworks.tflite import file as tflite_file


def is_free() -> bool:
    """Return whether another thread could begin to import now."""

    def take() -> bool:
        taken = IMPORTING.acquire(blocking=False)
        if taken:
            IMPORTING.release()
        return taken

    with ThreadPoolExecutor(1) as other:
        return other.submit(take).result()


def test_a_tflite_runtime_is_imported_under_the_lock(monkeypatch: pytest.MonkeyPatch) -> None:
    """Else it would be taken from a TensorFlow that is half imported."""
    found = []

    def imported(_: str) -> object:
        found.append(is_free())
        return SimpleNamespace(Interpreter=int)

    monkeypatch.setattr(tflite_file, "import_module", imported)
    assert tflite_file.find_interpreter() is int
    assert found == [False]
    assert is_free()


def test_tensorflow_is_imported_under_the_lock(monkeypatch: pytest.MonkeyPatch) -> None:
    """By the only package that does; here another module has its name."""
    found = []
    tensorflow, trainer = ModuleType("tensorflow"), ModuleType("trainer")
    devices = SimpleNamespace(list_physical_devices=lambda: found.append(is_free()))
    vars(tensorflow)["config"], vars(trainer)["KerasTrainer"] = devices, int
    monkeypatch.setitem(sys.modules, "tensorflow", tensorflow)
    monkeypatch.setitem(sys.modules, "fedbus.frameworks.keras", ModuleType("keras"))
    monkeypatch.setitem(sys.modules, "fedbus.frameworks.keras.trainer", trainer)
    for name in ("KERAS_BACKEND", "TF_FORCE_GPU_ALLOW_GROWTH", "TF_CPP_MIN_LOG_LEVEL"):
        monkeypatch.setenv(name, "2")
    (folder,) = frameworks.__path__
    runpy.run_path(str(Path(folder) / "keras/__init__.py"))
    assert found == [False]
    assert is_free()
