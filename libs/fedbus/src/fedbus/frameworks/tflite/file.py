"""Opening of `.tflite` files with the installed runtime, and their signatures."""

import sys
import warnings
from importlib import import_module
from importlib.metadata import PackageNotFoundError
from typing import Any, Final, Protocol, cast

import numpy as np

from fedbus.distributions import version_of
from fedbus.errors import PluginError, TrainingError
from fedbus.frameworks.tensorflow_import import IMPORTING
from fedbus.frameworks.tflite.signatures import (
    NEEDED,
    TERM_SIGNATURES,
    TfliteFacts,
    check_signatures,
    check_terms,
)
from fedbus.frameworks.tflite.verify import verify
from fedbus.model.layout import Array
from fedbus.text import listed
from fedbus.training.params import Architecture

_RUNTIMES: Final = ("tflite_runtime", "ai_edge_litert", "tensorflow.lite.python")
"""Packages that have an `interpreter` module, the one with the least memory first."""
_FOR_NUMPY_1: Final = "2.14."
_MORE: Final = frozenset({"train_adam", "get_state", "set_state", *TERM_SIGNATURES})


class Signature(Protocol):
    """The part of TFLite's SignatureRunner that is used here."""

    def __call__(self, **inputs: Array | np.float32) -> dict[str, Array]: ...  # noqa: D102 - TFLite's
    def get_input_details(self) -> dict[str, dict[str, Any]]: ...  # noqa: D102 - TFLite's
    def get_output_details(self) -> dict[str, dict[str, Any]]: ...  # noqa: D102 - TFLite's


def open_architecture(architecture: Architecture) -> tuple[dict[str, Signature], TfliteFacts]:
    """Open an architecture's file; return its required and optional signatures, and its facts.

    Raises:
        PluginError: No TFLite runtime is installed, or none that works with this version of numpy.
        TrainingError: The architecture is no complete `.tflite` file with the four signatures.
    """
    file = architecture.get("blob")
    if not isinstance(file, bytes | bytearray):
        has = f"blob, a {type(file).__name__}" if "blob" in architecture else listed(architecture)
        raise TrainingError(
            f"a tflite architecture has a blob, bytes; this one has {has or 'nothing'}"
        )
    facts = verify(file)  # native code does not check a file's offsets
    found = open_file(file)
    check_signatures(
        {key: (each.get_input_details(), each.get_output_details()) for key, each in found.items()}
    )
    check_terms(facts.signatures)
    return {name: found[name] for name in found if name in NEEDED.keys() | _MORE}, facts


def open_file(file: bytes | bytearray) -> dict[str, Signature]:
    """Open a verified file in the installed runtime, and return all its signatures.

    Raises:
        PluginError: No TFLite runtime is installed, or none that works with this version of numpy.
        TrainingError: The runtime refuses the file.
    """
    return signatures_of(new_interpreter(file))


def signatures_of(interpreter: Any) -> dict[str, Signature]:  # noqa: ANN401 - a class without types
    """Return all signatures of an opened file; raise TrainingError if the runtime refuses one."""
    try:
        names = interpreter.get_signature_list()
        return {name: interpreter.get_signature_runner(name) for name in names}
    except (ValueError, RuntimeError) as error:
        raise TrainingError(f"not a .tflite file that runs here: {error}") from error


def new_interpreter(file: bytes | bytearray) -> Any:  # noqa: ANN401 - a class without types
    """Open a verified file in the installed runtime, in one thread; raise as `open_file` does."""
    runtime = find_interpreter()
    try:
        with warnings.catch_warnings():  # TensorFlow announces its successor each time
            warnings.simplefilter("ignore", UserWarning)
            return runtime(model_content=bytes(file), num_threads=1)
    except SystemError as error:  # raised by C code that was compiled for another numpy
        raise PluginError(_unfit(runtime.__module__, error)) from error
    except (ValueError, RuntimeError) as error:
        raise TrainingError(f"not a .tflite file that runs here: {error}") from error


def find_interpreter() -> Any:  # noqa: ANN401 - a class without types
    """Import the runtime's interpreter; raise PluginError if there is none that fits this numpy."""
    with IMPORTING:
        return _import_interpreter()


def _import_interpreter() -> Any:  # noqa: ANN401 - a class without types
    # Once TensorFlow is loaded, tflite_runtime cannot read any file: their symbols clash.
    there = _RUNTIMES[::-1] if "tensorflow" in sys.modules else _RUNTIMES
    broken = []
    for name in there:
        try:
            _check_numpy(name, np.__version__)
            return cast("Any", import_module(f"{name}.interpreter")).Interpreter
        except ModuleNotFoundError:
            continue
        except PluginError as error:
            broken.append(str(error))
        except Exception as error:  # noqa: BLE001 - whatever a broken installation may raise
            broken.append(_unfit(name, error))
    raise PluginError("; ".join(broken) or 'no TFLite runtime here; pip install "fedbus[tflite]"')


def _check_numpy(runtime: str, numpy: str) -> None:
    """Raise PluginError for tflite-runtime compiled for numpy 1: its import prints a long error."""
    if runtime != "tflite_runtime" or numpy.startswith("1."):
        return
    try:
        found = version_of("tflite-runtime")
    except PackageNotFoundError:
        return  # from elsewhere, or none at all
    if found.startswith(_FOR_NUMPY_1):
        raise PluginError(
            f"tflite-runtime {found} needs numpy 1, and numpy {numpy} is installed; "
            'pip install "numpy<2" mends it'
        )


def _unfit(runtime: str, error: Exception) -> str:
    return (
        f"{runtime.partition('.')[0]} does not load beside numpy {np.__version__}: "
        f'{type(error).__name__}: {error}; pip install "fedbus[tflite]" brings versions that fit'
    )
