"""Files that `fedbus models pull` writes: named arrays, or a format of a framework."""

from collections.abc import Mapping
from importlib import import_module
from pathlib import Path
from typing import Any, Final

from fedbus.cli.output_files import write_bytes, write_weights
from fedbus.errors import FedbusError, LayoutError, SettingsError
from fedbus.frameworks.tensorflow_logs import suppressed_logs
from fedbus.model import safetensors
from fedbus.model.layout import Weights
from fedbus.training.options import FRAMEWORKS
from fedbus.wire.blobs import ModelRef
from fedbus.wire.documents import ModelSpec

SUFFIXES: Final[Mapping[str, str]] = {
    "npz": ".npz",
    "safetensors": ".safetensors",
    **{name: framework.suffix for name, framework in FRAMEWORKS.items()},
}
"""Suffix of each format; `npz` and `safetensors` have the layout's names."""
_BY_SUFFIX: Final = {suffix: name for name, suffix in SUFFIXES.items()} | {".pth": "torch"}
_OTHERS: Final = "or pull --format npz and load it with fedbus.load_into(model, FILE)"


def choose_format(given: str | None, output: Path | None) -> str:
    """Return the format that is given, else that of the file's suffix, else npz.

    Raises:
        SettingsError: the format is unknown, or contradicts the suffix, or the suffix is unknown.
    """
    named = None if output is None else _BY_SUFFIX.get(output.suffix.lower())
    if given is None:
        if output is not None and named is None:
            raise SettingsError(
                f"-o: {output} has no known suffix; use one of {', '.join(_BY_SUFFIX)}, or add "
                f"--format {'|'.join(SUFFIXES)}"
            )
        return named or "npz"
    if given not in SUFFIXES:
        raise SettingsError(f"--format: expected one of {', '.join(SUFFIXES)}, got {given!r}")
    if named not in {None, given} or (given == "keras" and named is None and output is not None):
        raise SettingsError(f"-o: expected suffix {SUFFIXES[given]} for {given}, got {output}")
    return given


def write_model(path: Path, form: str, ref: ModelRef, spec: ModelSpec, weights: Weights) -> None:
    """Write a version of a model atomically.

    Raises:
        SettingsError: the framework or the model's package is not installed, or the spec has no
            architecture for it.
        Failed: the disk is full.
    """
    if form == "npz":
        write_weights(path, weights)
        return
    if form == "safetensors":
        about = {"model": ref.model, "version": str(ref.version), "format": "fedbus"}
        write_bytes(path, safetensors.pack(weights, about))
        return
    try:
        with suppressed_logs():
            data = _framework_file(form, spec, weights)
    except ImportError as error:
        package = "tensorflow" if form == "tflite" else form
        raise SettingsError(
            f"--format {form}: {package} is not installed here ({error}); install it, {_OTHERS}"
        ) from error
    except FedbusError as error:
        raise SettingsError(f"--format {form}: {error}; {_OTHERS}") from error
    write_bytes(path, data)


def _framework_file(form: str, spec: ModelSpec, weights: Weights) -> bytes:
    architecture = _architecture(form, spec)
    if form == "torch":
        data: bytes = import_module("fedbus.frameworks.torch.loading").file_of(
            architecture, weights
        )
        return data
    loading = import_module("fedbus.frameworks.keras.loading")
    if form == "keras":
        data = loading.file_of(architecture, weights)
    else:
        data = loading.tflite_of(architecture, weights, spec.answers)
    return data


def _architecture(form: str, spec: ModelSpec) -> Mapping[str, Any]:
    framework = "torch" if form == "torch" else "keras"
    if framework not in spec.architectures:
        there = ", ".join(sorted(spec.architectures)) or "none"
        note = " (a .tflite file is exported from it)" if form == "tflite" else ""
        raise LayoutError(
            f"model {spec.model} has no architecture for {framework}{note}; it has {there}"
        )
    return spec.architectures[framework]
