"""The files that `fedbus models pull` writes, for people and for each framework."""

from collections.abc import Mapping
from importlib import import_module
from pathlib import Path
from typing import Any, Final

from fedbus.cli.weights_file import write_bytes, write_weights
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
"""By format; `npz` and `safetensors` have the layout's own names and need no framework."""
_BY_SUFFIX: Final = {suffix: name for name, suffix in SUFFIXES.items()} | {".pth": "torch"}
_OTHERS: Final = "or pull --format npz and load it with fedbus.load_into(model, FILE)"


def format_of(said: str | None, output: Path | None) -> str:
    """Choose a format: what is said, else what the file's name ends in; npz where no file is named.

    Raises:
        SettingsError: there is no such format, the name says another one, or it says none.
    """
    named = None if output is None else _BY_SUFFIX.get(output.suffix.lower())
    if said is None:
        if output is not None and named is None:
            raise SettingsError(
                f"-o: {output} does not say its format; a file that ends in "
                f"{', '.join(_BY_SUFFIX)} does, or add --format {'|'.join(SUFFIXES)}"
            )
        return named or "npz"
    if said not in SUFFIXES:
        raise SettingsError(f"--format: {said!r}; there is {', '.join(SUFFIXES)}")
    if named not in {None, said} or (said == "keras" and named is None and output is not None):
        raise SettingsError(f"-o: a file for {said} ends in {SUFFIXES[said]}; {output} does not")
    return said


def write_model(path: Path, form: str, ref: ModelRef, spec: ModelSpec, weights: Weights) -> None:
    """Write a version of a model in one step.

    Raises:
        SettingsError: the format needs what is not here: a framework, the model's own package, a
            architecture that the spec does not have.
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
            data = _of_framework(form, spec, weights)
    except ImportError as error:
        package = "tensorflow" if form == "tflite" else form
        raise SettingsError(
            f"--format {form}: {package} is not installed here ({error}); install it, {_OTHERS}"
        ) from error
    except FedbusError as error:
        raise SettingsError(f"--format {form}: {error}; {_OTHERS}") from error
    write_bytes(path, data)


def _of_framework(form: str, spec: ModelSpec, weights: Weights) -> bytes:
    architecture = _architecture(form, spec)
    if form == "torch":
        made: bytes = import_module("fedbus.frameworks.torch.loading").file_of(
            architecture, weights
        )
        return made
    loading = import_module("fedbus.frameworks.keras.loading")
    if form == "keras":
        made = loading.file_of(architecture, weights)
    else:
        made = loading.tflite_of(architecture, weights, spec.answers)
    return made


def _architecture(form: str, spec: ModelSpec) -> Mapping[str, Any]:
    wanted = "torch" if form == "torch" else "keras"
    if wanted not in spec.architectures:
        there = ", ".join(sorted(spec.architectures)) or "none"
        more = " (a .tflite file is exported from it)" if form == "tflite" else ""
        raise LayoutError(
            f"model {spec.model} has no architecture for {wanted}{more}; it has {there}"
        )
    return spec.architectures[wanted]
